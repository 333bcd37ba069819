"""The detection process, as the front sees it: asked, and answering in the order of asking."""

import asyncio
from pathlib import Path
from typing import Any

from trainer.service.errors import CallError
from trainer.service.processes import ProcessLostError
from trainer.service.supervisor import Supervisor
from trainer.workers.wire import Failed, Found, Scored, ScoreRequest


class Scoring:
    """Questions that wait for their answers."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._waiting: dict[int, asyncio.Future[tuple[Found, ...] | Failed]] = {}
        self._asked = 0

    async def run(self) -> None:
        """Hands out the answers, until cancelled."""
        while True:
            child = await self._supervisor.ready()
            try:
                while True:
                    scored: Scored = await child.receive()
                    self._answer(scored.number, scored.outcome)
            except ProcessLostError as error:
                for number in list(self._waiting):
                    self._answer(number, Failed("TRAINER_LOST", f"the detection process {error}"))

    async def score(
        self, weights: str, model_config: str, features: Path, duration_ms: int, config: dict[str, Any]
    ) -> tuple[Found, ...]:
        """Detections by start; `config` as in ScoreRequest. Raises CallError."""
        child = await self._supervisor.ready()
        self._asked += 1
        request = ScoreRequest(self._asked, weights, model_config, features, duration_ms, config)
        waiting = self._waiting[request.number] = asyncio.get_running_loop().create_future()
        try:
            await child.send(request)
            outcome = await waiting
        finally:
            self._waiting.pop(request.number, None)
        if isinstance(outcome, Failed):
            raise CallError(outcome.reason, outcome.message)
        return outcome

    def _answer(self, number: int, outcome: tuple[Found, ...] | Failed) -> None:
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(outcome)
