"""The topics of the bus. A topic says that something may have changed, never what."""

from hashlib import sha256
from uuid import UUID

# Jobs may be waiting for a trainer.
QUEUE = "queue"
# Audio files may be waiting for a trainer.
AUDIO = "audio"
# Audio files that a trainer may be processing were deleted.
AUDIO_DELETIONS = "audio-deletions"


def events(tenant_id: str) -> str:
    """The tenant's log has new events."""
    # A tenant's name is free text, but a topic must be one short word.
    return f"events:{sha256(tenant_id.encode()).hexdigest()[:32]}"


def cancel(training_job_id: UUID) -> str:
    """A user requested the job's cancellation."""
    return f"cancel:{training_job_id}"
