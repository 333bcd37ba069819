"""Keeps one worker process warm: the training process or the detection process."""

import asyncio
from collections.abc import Mapping

import structlog

from earmark.trainer.service.changes import Changes
from earmark.trainer.service.processes import Child, ProcessLostError
from earmark.trainer.settings import TrainerSettings
from earmark.trainer.workers.wire import Ready, WorkerSettings

BACKOFF_SECONDS = (
    0.0,
    1.0,
    2.0,
    5.0,
    10.0,
    30.0,
)  # before a start, by failed starts in a row

log = structlog.get_logger()


class Supervisor:
    """Starts one process of `module`, and starts it again when it exits.

    `device` is what the process computes on, such as "cpu"; empty until the process has been warm once.
    """

    def __init__(
        self, module: str, settings: TrainerSettings, environment: Mapping[str, str], changes: Changes
    ) -> None:
        self._module = module
        self._settings = WorkerSettings(
            settings.object_store_url, settings.log_level, settings.network, settings.precompile
        )
        self._environment = environment
        self._changes = changes
        self._child: Child | None = None
        self.device = ""

    @property
    def warm_child(self) -> Child | None:
        """The process if it is warm and alive, otherwise None."""
        return self._child if self._child is not None and self._child.alive else None

    async def wait_until_warm(self) -> Child:
        """Returns the process as soon as it is warm."""
        while (child := self.warm_child) is None:
            await self._changes.next.wait()
        return child

    async def run(self) -> None:
        """Keeps the process running until cancelled. Ends the process before returning."""
        failures = 0
        while True:
            await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
            try:
                child = Child(self._module, self._settings, self._environment)
            except OSError as error:
                log.error("cannot start a process", module=self._module, error=str(error))  # noqa: TRY400
                failures += 1
                continue
            try:
                failures = 0 if await self._wait_until_exit(child) else failures + 1
            finally:
                await child.close()

    async def _wait_until_exit(self, child: Child) -> bool:
        """Publishes the process once it is warm. Returns after its exit whether it ever became warm."""
        try:
            ready: Ready = await child.receive()
        except ProcessLostError as error:
            log.error("a process did not start", module=self._module, child=child.pid, error=str(error))  # noqa: TRY400
            return False
        self._child, self.device = child, ready.device
        log.info("a process is warm", module=self._module, child=child.pid, device=ready.device)
        self._changes.notify()
        await child.exited.wait()
        log.warning("a process exited", module=self._module, child=child.pid)
        self._changes.notify()
        return True
