"""Following a dataset's files: a watcher is a cursor over their revisions.

Nothing is buffered for a watcher: it reads what has changed since once it has sent what it has.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from uuid import UUID

from gateway.app import App
from gateway.errors import NotFoundError, revision_out_of_range
from gateway.watching import topics
from storage.queries import audio
from storage.records import AudioFile

BATCH = 200


class AudioWatch:
    """One watcher of one dataset."""

    def __init__(self, app: App, tenant_id: str, dataset_id: UUID) -> None:
        self._app = app
        self._tenant_id = tenant_id
        self._dataset_id = dataset_id

    async def follow(self, cursor: int) -> AsyncIterator[AudioFile | int]:
        """The files that changed after `cursor` and as they change, until none is unsettled.

        In between, a number alone: a heartbeat with how many are unsettled, while nothing happens. Raises
        NotFoundError and CursorOutOfRangeError.
        """
        with self._app.bus.subscribe(topics.dataset(self._dataset_id)) as woken:
            await self._check(cursor)
            while True:
                woken.clear()
                self._app.check_serving()
                files, unsettled = await self._read(cursor)
                for file in files:
                    yield file
                    cursor = file.revision
                if _all_settled(files, unsettled):
                    return
                if len(files) < BATCH and not await self._is_woken(woken):
                    yield unsettled

    async def _check(self, cursor: int) -> None:
        async with self._app.database.connection() as connection:
            latest = await audio.latest_revision(connection, self._tenant_id, self._dataset_id)
        if latest is None:
            raise NotFoundError("dataset", str(self._dataset_id))
        if cursor > latest:
            raise revision_out_of_range(cursor, 1, latest)

    async def _read(self, cursor: int) -> tuple[list[AudioFile], int]:
        async with self._app.database.connection() as connection:
            return await audio.changed(connection, self._dataset_id, cursor, BATCH)

    async def _is_woken(self, woken: asyncio.Event) -> bool:
        """False where nothing happened for the time of a heartbeat."""
        with suppress(TimeoutError):
            await asyncio.wait_for(woken.wait(), self._app.settings.heartbeat_seconds)
        return woken.is_set()


def _all_settled(files: Sequence[AudioFile], unsettled: int) -> bool:
    """Whether these were the last changes: see `audio.changed`."""
    none_new = all(file.processing_status not in audio.IN_PROGRESS for file in files)
    return unsettled == 0 and none_new and len(files) < BATCH
