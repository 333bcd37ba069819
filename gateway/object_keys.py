"""Where objects lie: keys made of ids, never of names that a client sent."""

from uuid import UUID


def source(audio_file_id: UUID) -> str:
    """The bytes as they were uploaded."""
    return f"audio/{audio_file_id}/source"


def normalized(audio_file_id: UUID) -> str:
    """The decoded audio."""
    return f"audio/{audio_file_id}/normalized.flac"


def features(audio_file_id: UUID) -> str:
    """What the network sees."""
    return f"audio/{audio_file_id}/features"


def audio_objects(audio_file_id: UUID) -> tuple[str, str, str]:
    """All objects of one file."""
    return source(audio_file_id), normalized(audio_file_id), features(audio_file_id)


def job(training_job_id: UUID) -> str:
    """Everything that a job's attempts write."""
    return f"jobs/{training_job_id}"


def attempt(training_job_id: UUID, number: int) -> str:
    """Everything that one attempt at one job writes; no other attempt writes there."""
    return f"{job(training_job_id)}/attempt-{number}"


def is_checkpoint(key: str) -> bool:
    """Whether a trainer stored it for a later attempt, and not for good."""
    return "/checkpoint-" in key
