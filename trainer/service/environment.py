"""Watches what the trainer stands on, its object store and its disk: it offers no slots while one fails."""

import asyncio
from pathlib import Path

import structlog

from earmark import disk
from earmark.storage.objects import ObjectStore, ObjectStoreError
from earmark.storage.store_check import PROBES
from earmark.trainer.service.changes import Changes

# Between two checks while something fails, and while all is well.
RETRY_SECONDS = 0.5
CHECK_SECONDS = 30.0
# Every check of every trainer writes it again: nothing is left behind, and no right to delete is needed.
PROBE = f"{PROBES}/trainer"

log = structlog.get_logger()


class Environment:
    """`problem` is what fails, in words; empty while all is well. `store_id` is the id that the store has."""

    def __init__(self, objects: ObjectStore, scratch: Path, reserve_bytes: int, changes: Changes) -> None:
        """`reserve_bytes`: the free space below which the disk of the folder `scratch` counts as full."""
        self.problem = "its object store has not been checked yet"
        self.store_id = ""
        self._objects = objects
        self._scratch = scratch
        self._reserve_bytes = reserve_bytes
        self._changes = changes
        self._suspected = asyncio.Event()

    def suspect(self, problem: str) -> None:
        """Offers no slots until a check finds that all is well."""
        self._report(problem)
        self._suspected.set()

    async def run(self) -> None:
        """Checks until cancelled: at once after `suspect`, and often while something fails."""
        while True:
            self._suspected.clear()
            self._report(await self._check())
            try:
                async with asyncio.timeout(RETRY_SECONDS if self.problem else CHECK_SECONDS):
                    await self._suspected.wait()
            except TimeoutError:
                continue

    async def _check(self) -> str:
        try:
            store = await asyncio.to_thread(self._objects.identified)
            await self._objects.put_async(PROBE, b"")
            full = disk.problem(self._scratch, self._reserve_bytes)
        except ObjectStoreError as error:
            return str(error)
        except OSError as error:
            if disk.is_of_disk(error):
                return f"the disk of {self._scratch} fails: {error}"
            raise
        self.store_id = store.store_id
        return full

    def _report(self, problem: str) -> None:
        if problem == self.problem:
            return
        if problem:
            log.warning("the trainer takes no work", problem=problem)
        else:
            log.info("the trainer takes work", store=self.store_id)
        self.problem = problem
        self._changes.notify()
