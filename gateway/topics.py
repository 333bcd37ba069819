"""What the bus tells about. A topic says that something may have changed, never what."""

from uuid import UUID

# Jobs may be waiting for a trainer.
QUEUE = "queue"
# Audio files may be waiting for a trainer.
AUDIO = "audio"


def job(training_job_id: UUID) -> str:
    """The job has new events."""
    return f"job:{training_job_id}"


def cancel(training_job_id: UUID) -> str:
    """The job was asked to stop."""
    return f"cancel:{training_job_id}"


def dataset(dataset_id: UUID) -> str:
    """Files of the dataset have changed."""
    return f"dataset:{dataset_id}"
