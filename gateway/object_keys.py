"""Keys in the object store. They are made of ids only, never of names that a client sent."""

from uuid import UUID

# What the keys of all audio files, recordings and jobs are below.
AUDIO = "audio"
RECORDINGS = "recordings"
JOBS = "jobs"


def audio(audio_file_id: UUID) -> str:
    """Prefix of all objects of an audio file."""
    return f"{AUDIO}/{audio_file_id}"


def source(audio_file_id: UUID) -> str:
    """Key of the bytes as they were uploaded."""
    return f"{audio(audio_file_id)}/source"


def normalized(audio_file_id: UUID) -> str:
    """Key of the decoded audio."""
    return f"{audio(audio_file_id)}/normalized.flac"


def features(audio_file_id: UUID) -> str:
    """Key of the features, which are the network's input."""
    return f"{audio(audio_file_id)}/features"


def audio_objects(audio_file_id: UUID) -> tuple[str, str, str]:
    """Keys of all objects of an audio file."""
    return source(audio_file_id), normalized(audio_file_id), features(audio_file_id)


def recording(recording_id: UUID) -> str:
    """Prefix of all objects of a recording that was uploaded for a detection job."""
    return f"{RECORDINGS}/{recording_id}"


def recording_source(recording_id: UUID) -> str:
    """Key of a recording's bytes as they were uploaded."""
    return f"{recording(recording_id)}/source"


def job(training_job_id: UUID) -> str:
    """Prefix of all objects that a job's attempts write."""
    return f"{JOBS}/{training_job_id}"


def attempt(training_job_id: UUID, number: int) -> str:
    """Prefix of all objects that one attempt writes; no other attempt writes there."""
    return f"{job(training_job_id)}/attempt-{number}"


def is_checkpoint(key: str) -> bool:
    """Whether the object is a checkpoint, which only a later attempt needs, and not a model's file."""
    return "/checkpoint-" in key
