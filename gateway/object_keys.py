"""Keys in the object store. They begin with the tenant, and are made of ids, never of a client's names."""

from uuid import UUID


def all_audio(tenant_id: str) -> str:
    """Prefix of all objects of a tenant's audio files."""
    return f"{tenant_id}/audio"


def all_recordings(tenant_id: str) -> str:
    """Prefix of all objects of a tenant's recordings for detection jobs."""
    return f"{tenant_id}/recordings"


def all_jobs(tenant_id: str) -> str:
    """Prefix of all objects that a tenant's jobs write."""
    return f"{tenant_id}/jobs"


def audio(tenant_id: str, audio_file_id: UUID) -> str:
    """Prefix of all objects of an audio file."""
    return f"{all_audio(tenant_id)}/{audio_file_id}"


def source(tenant_id: str, audio_file_id: UUID) -> str:
    """Key of the bytes as they were uploaded."""
    return f"{audio(tenant_id, audio_file_id)}/source"


def normalized(tenant_id: str, audio_file_id: UUID) -> str:
    """Key of the decoded audio."""
    return f"{audio(tenant_id, audio_file_id)}/normalized.flac"


def features(tenant_id: str, audio_file_id: UUID) -> str:
    """Key of the features, which are the network's input."""
    return f"{audio(tenant_id, audio_file_id)}/features"


def audio_objects(tenant_id: str, audio_file_id: UUID) -> tuple[str, str, str]:
    """Keys of all objects of an audio file."""
    return (
        source(tenant_id, audio_file_id),
        normalized(tenant_id, audio_file_id),
        features(tenant_id, audio_file_id),
    )


def recording(tenant_id: str, recording_id: UUID) -> str:
    """Prefix of all objects of a recording that was uploaded for a detection job."""
    return f"{all_recordings(tenant_id)}/{recording_id}"


def recording_source(tenant_id: str, recording_id: UUID) -> str:
    """Key of a recording's bytes as they were uploaded."""
    return f"{recording(tenant_id, recording_id)}/source"


def job(tenant_id: str, training_job_id: UUID) -> str:
    """Prefix of all objects that a job's attempts write."""
    return f"{all_jobs(tenant_id)}/{training_job_id}"


def attempt(tenant_id: str, training_job_id: UUID, number: int) -> str:
    """Prefix of all objects that one attempt writes; no other attempt writes there."""
    return f"{job(tenant_id, training_job_id)}/attempt-{number}"


def is_checkpoint(key: str) -> bool:
    """Whether the object is a checkpoint, which only a later attempt needs, and not a model's file."""
    return "/checkpoint-" in key
