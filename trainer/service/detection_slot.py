"""The detection slot: a detection job claims it for as long as its call lasts."""

from collections.abc import Iterator
from contextlib import contextmanager

from earmark.trainer.service.changes import Changes
from earmark.trainer.service.errors import CallError
from earmark.trainer.service.supervisor import Supervisor


class DetectionSlot:
    """A trainer runs one detection job at a time, beside a training job."""

    def __init__(self, process: Supervisor, changes: Changes) -> None:
        self._process = process
        self._changes = changes
        self._claimed_by = ""

    @property
    def free(self) -> bool:
        """Whether a claim would succeed now."""
        return self._process.warm_child is not None and not self._claimed_by

    @contextmanager
    def claim(self, job_id: str) -> Iterator[str]:
        """Claims the slot for this job. Yields the device. Raises CallError if the slot is not free."""
        if not self.free:
            why = f"job {self._claimed_by} has it" if self._claimed_by else "its process is starting"
            raise CallError("NO_FREE_SLOT", f"the trainer has no free detection slot: {why}")
        self._claimed_by = job_id
        self._changes.notify()
        try:
            yield self._process.device
        finally:
            self._claimed_by = ""
            self._changes.notify()
