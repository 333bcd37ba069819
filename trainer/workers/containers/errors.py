"""What is said of a file that cannot be used."""

CONVERT = "convert it, for example: ffmpeg -i INPUT -c:a flac OUTPUT.flac"
DAMAGED = f"the file is damaged, decoding stopped: {CONVERT}"


class UnusableAudioError(Exception):
    """The file cannot be used. The message says what is wrong with it and what to do."""


def unreadable(container: str) -> UnusableAudioError:
    """The error for a file that begins like one of this container, which no decoder opens."""
    return UnusableAudioError(
        f"the file begins like {container} but cannot be read: it is damaged, cut short or of a codec that "
        f"is not supported; {CONVERT}"
    )


def cut_short(what: str) -> UnusableAudioError:
    """The error for a file whose end is missing. `what` says how that shows."""
    return UnusableAudioError(f"the file is cut short: {what}; upload the whole file")
