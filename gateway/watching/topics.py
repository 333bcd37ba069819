"""What the bus tells about. A topic says that something may have changed, never what."""

from hashlib import sha256
from uuid import UUID

# Jobs may be waiting for a trainer.
QUEUE = "queue"
# Audio files may be waiting for a trainer.
AUDIO = "audio"


def of_job(tenant_id: str, training_job_id: UUID) -> tuple[str, str]:
    """Both topics of a job that has new events."""
    return job(training_job_id), jobs(tenant_id)


def job(training_job_id: UUID) -> str:
    """The job has new events."""
    return f"job:{training_job_id}"


def jobs(tenant_id: str) -> str:
    """A job of the tenant has new events."""
    # A tenant's name is free text, a topic a short word.
    return f"jobs:{sha256(tenant_id.encode()).hexdigest()[:32]}"


def cancel(training_job_id: UUID) -> str:
    """The job was asked to stop."""
    return f"cancel:{training_job_id}"


def dataset(dataset_id: UUID) -> str:
    """Files of the dataset have changed."""
    return f"dataset:{dataset_id}"
