"""The spans of one attempt at a training job: what it has taken the trainer's time for."""

import asyncio
from time import time_ns
from types import TracebackType
from typing import Self

from earmark.tracing import NO_ATTRIBUTES, Attributes, Metadata, Span, Tracer
from earmark.trainer.events import Completed, EpochCompleted, Event, Loading, Progress
from earmark.trainer.service.errors import CallError, StoppingError

METHOD = "/earmark.internal.v1.TrainerService/Train"


class AttemptSpans:
    """Makes a part of the attempt's span of each phase, when an event tells that it is over.

    As a context manager, it ends the span. What an error cuts off has no part of its own.
    """

    def __init__(self, span: Span) -> None:
        self._span = span
        self._phase_began = time_ns()
        self._has_begun_epochs = False

    @classmethod
    def of(cls, tracer: Tracer, metadata: Metadata, job_id: str, attempt: int) -> Self:
        """Those of the call of Train with this metadata, which begins now."""
        attributes: Attributes = {"earmark.training_job_id": job_id, "earmark.attempt": attempt}
        return cls(tracer.serve(METHOD, metadata, attributes))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._span.end(_fault(error))

    def see(self, event: Event) -> None:
        """This event has arrived from the training process."""
        match event:
            case Loading(files, total) if files == total:
                self._phase_is_over("load files", {"earmark.files": total})
            case Progress() if not self._has_begun_epochs:
                self._has_begun_epochs = True
                self._phase_is_over("prepare")
            case EpochCompleted():
                self._has_begun_epochs = True
                self._phase_is_over("epoch", {"earmark.epoch": event.epoch})
            case Completed():
                self._phase_is_over("store model")

    def _phase_is_over(self, name: str, attributes: Attributes = NO_ATTRIBUTES) -> None:
        self._span.part(name, self._phase_began, attributes)
        self._phase_began = time_ns()


def _fault(error: BaseException | None) -> str:
    """The name of what went wrong; empty if the attempt ended well, or was asked to end."""
    if error is None or isinstance(error, StoppingError | asyncio.CancelledError):
        return ""
    return error.reason if isinstance(error, CallError) else type(error).__name__
