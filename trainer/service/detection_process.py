"""Requests to the detection process. Those for the files of jobs do not delay others."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from earmark.trainer.service.detection_job import DetectionJob
from earmark.trainer.service.errors import CallError
from earmark.trainer.service.processes import Child, ProcessLostError
from earmark.trainer.service.supervisor import Supervisor
from earmark.trainer.workers.wire import (
    DetectedArtifact,
    DetectionReply,
    DetectionRequest,
    Exported,
    ExportRequest,
    Failed,
    FileRequest,
    LiveClosed,
    LiveFeatures,
    LiveProgress,
    LiveStart,
    ModelRequest,
    Outcome,
    Scored,
    Unreadable,
)

START_SECONDS = 60.0  # a new process imports JAX and starts the device, mostly in 2 to 10 s

Request: TypeAlias = DetectionRequest | ModelRequest | FileRequest | LiveStart | LiveFeatures | ExportRequest


class DetectionProcess:
    """Sends requests to the supervised process and matches its replies to them by number."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._pending: dict[int, asyncio.Future[Outcome]] = {}
        self._last_number = 0

    async def run(self) -> None:
        """Delivers replies until cancelled. If no more can be delivered, every pending request fails."""
        while True:
            child = await self._supervisor.wait_until_warm()
            try:
                while True:
                    reply: DetectionReply = await child.receive()
                    self._resolve(reply.number, reply.outcome)
                    if isinstance(reply.outcome, Failed) and reply.outcome.ends_process:
                        child.kill()  # it ends by itself, but takes no more requests
            except ProcessLostError as error:
                self._fail_all(f"the detection process {error}")
            except Exception:
                self._fail_all("a reply of the detection process is damaged")
                raise

    async def detect(
        self,
        weights: str,
        model_config: str,
        sha256: str,
        features: Path,
        duration_ms: int,
        config: dict[str, Any],
    ) -> tuple[DetectedArtifact, ...]:
        """Returns the detections by start. The arguments are those of DetectionRequest. Raises CallError."""
        found: tuple[DetectedArtifact, ...] = await self._answer(
            lambda number: DetectionRequest(
                number, weights, model_config, sha256, features, duration_ms, config
            )
        )
        return found

    async def load(self, job: DetectionJob) -> None:
        """Has the job's model loaded. Raises CallError if it cannot be used."""
        await self._answer(lambda number: ModelRequest(number, job.weights, job.model_config, job.sha256))

    async def score(
        self, job: DetectionJob, features: Path, scores: Path, duration_ms: int
    ) -> Scored | Unreadable:
        """Has the scores of a file of the job written into the file `scores`. Raises CallError."""
        outcome: Scored | Unreadable = await self._answer(
            lambda number: FileRequest(
                number,
                job.weights,
                job.model_config,
                job.sha256,
                features,
                scores,
                duration_ms,
                job.config,
            )
        )
        return outcome

    @asynccontextmanager
    async def live(
        self, weights: str, model_config: str, sha256: str, config: dict[str, Any], begun: tuple[bool, ...]
    ) -> AsyncIterator["LiveDetection"]:
        """Opens a stream for the block. The arguments are those of LiveStart. Raises CallError."""
        child, number = await self._warm(), self._next_number()
        try:
            request = LiveStart(number, weights, model_config, sha256, config, begun)
            yield LiveDetection(self, child, number, await self.ask(child, request))
        finally:
            await child.send(LiveClosed(number))

    async def export(
        self, weights: str, model_config: str, sha256: str, file: Path, onnx_rate: int | None
    ) -> Exported:
        """Writes the file. The arguments are those of ExportRequest. Raises CallError."""
        exported: Exported = await self._answer(
            lambda number: ExportRequest(number, weights, model_config, sha256, file, onnx_rate)
        )
        return exported

    async def _answer(self, request: Callable[[int], Request]) -> Any:
        """Sends the request that has a new number. Returns the outcome. Raises CallError."""
        return await self.ask(await self._warm(), request(self._next_number()))

    async def _warm(self) -> Child:
        try:
            async with asyncio.timeout(START_SECONDS):
                return await self._supervisor.wait_until_warm()
        except TimeoutError:
            raise CallError(
                "DEVICE_FAILED",
                f"the detection process of this trainer has not started within {START_SECONDS:g} s: "
                "the trainer's log says why",
            ) from None

    def _next_number(self) -> int:
        self._last_number += 1
        return self._last_number

    async def ask(self, child: Child, request: Request) -> Any:
        """Returns the outcome. Raises CallError if it is a failure, or if the process has ended."""
        if not child.alive:
            raise CallError("TRAINER_LOST", "the detection process has ended")
        pending: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._pending[request.number] = pending
        try:
            await child.send(request)
            outcome = await pending
        finally:
            self._pending.pop(request.number, None)
        if isinstance(outcome, Failed):
            raise CallError(outcome.reason, outcome.message)
        return outcome

    def _fail_all(self, message: str) -> None:
        for number in list(self._pending):
            self._resolve(number, Failed("TRAINER_LOST", message))

    def _resolve(self, number: int, outcome: Outcome) -> None:
        pending = self._pending.get(number)
        if pending is not None and not pending.done():
            pending.set_result(outcome)


@dataclass(frozen=True, slots=True)
class LiveDetection:
    """An open stream in the detection process. `start` is its progress before any audio."""

    process: DetectionProcess
    child: Child
    number: int
    start: LiveProgress

    async def judge(self, features: bytes, duration_ms: int | None = None) -> LiveProgress:
        """Returns the progress with the next features; see LiveFeatures. Raises CallError."""
        part = LiveFeatures(self.number, features, duration_ms)
        progress: LiveProgress = await self.process.ask(self.child, part)
        return progress
