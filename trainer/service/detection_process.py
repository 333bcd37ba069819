"""Requests to the detection process. It answers them in the order in which they were sent."""

import asyncio
from pathlib import Path
from typing import Any

from earmark.trainer.service.errors import CallError
from earmark.trainer.service.processes import ProcessLostError
from earmark.trainer.service.supervisor import Supervisor
from earmark.trainer.workers.wire import (
    DetectedArtifact,
    DetectionReply,
    DetectionRequest,
    Exported,
    ExportRequest,
    Failed,
)

START_SECONDS = 60.0  # a new process imports JAX and starts the device, mostly in 2 to 10 s

Outcome = tuple[DetectedArtifact, ...] | Exported | Failed


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
        outcome = await self._ask(
            DetectionRequest(
                self._next_number(), weights, model_config, sha256, features, duration_ms, config
            )
        )
        assert isinstance(outcome, tuple)
        return outcome

    async def export(
        self, weights: str, model_config: str, sha256: str, file: Path, onnx_rate: int | None
    ) -> Exported:
        """Writes the file. The arguments are those of ExportRequest. Raises CallError."""
        outcome = await self._ask(
            ExportRequest(self._next_number(), weights, model_config, sha256, file, onnx_rate)
        )
        assert isinstance(outcome, Exported)
        return outcome

    def _next_number(self) -> int:
        self._last_number += 1
        return self._last_number

    async def _ask(
        self, request: DetectionRequest | ExportRequest
    ) -> tuple[DetectedArtifact, ...] | Exported:
        """Returns the reply to a request. Raises CallError."""
        try:
            async with asyncio.timeout(START_SECONDS):
                child = await self._supervisor.wait_until_warm()
        except TimeoutError:
            raise CallError(
                "DEVICE_FAILED",
                f"the detection process of this trainer has not started within {START_SECONDS:g} s: "
                "the trainer's log says why",
            ) from None
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
