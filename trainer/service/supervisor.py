"""Keeping a process warm, as the training and the detection process are."""

import asyncio
from collections.abc import Mapping

import structlog

from trainer.service.changes import Changes
from trainer.service.processes import Child, ProcessLostError
from trainer.settings import TrainerSettings
from trainer.workers.wire import Ready

BACKOFF_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # before the next start, by starts that failed in a row

log = structlog.get_logger()


class Supervisor:
    """One process of `module`: started, and started again when it is gone."""

    def __init__(
        self, module: str, settings: TrainerSettings, environment: Mapping[str, str], changes: Changes
    ) -> None:
        self._start = lambda: Child(module, settings, environment)
        self._module = module
        self._changes = changes
        self._child: Child | None = None
        self.device = ""

    @property
    def child(self) -> Child | None:
        """The process, once it is warm and as long as it lives."""
        return self._child if self._child is not None and self._child.alive else None

    async def ready(self) -> Child:
        """Waits until the process is warm."""
        while (child := self.child) is None:
            await self._changes.next.wait()
        return child

    async def run(self) -> None:
        """Until cancelled; then the process is gone."""
        failures = 0
        while True:
            await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
            try:
                child = self._start()
            except OSError as error:
                log.error("a process cannot be started", module=self._module, error=str(error))  # noqa: TRY400
                failures += 1
                continue
            try:
                failures = 0 if await self._attend(child) else failures + 1
            finally:
                await child.close()

    async def _attend(self, child: Child) -> bool:
        """Whether it ever got warm. Returns when the process is gone."""
        try:
            ready: Ready = await child.receive()
        except ProcessLostError as error:
            log.error("a process did not start", module=self._module, child=child.pid, error=str(error))  # noqa: TRY400
            return False
        self._child, self.device = child, ready.device
        log.info("a process is warm", module=self._module, child=child.pid, device=ready.device)
        self._changes.notify()
        await child.exited.wait()
        log.warning("a process is gone", module=self._module, child=child.pid)
        self._changes.notify()
        return True
