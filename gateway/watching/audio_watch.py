"""Watches a dataset's files: a watcher is a cursor over their revisions.

Nothing is buffered for a watcher: it reads the next changes once it has sent the last ones.
"""

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from earmark.gateway.app import App
from earmark.gateway.errors import NotFoundError, revision_out_of_range
from earmark.gateway.waits import wait_for_event
from earmark.gateway.watching import topics
from earmark.storage.queries import audio
from earmark.storage.records import AudioFile

BATCH = 200


class AudioWatch:
    """One watcher of one dataset."""

    def __init__(self, app: App, tenant_id: str, dataset_id: UUID) -> None:
        self._app = app
        self._tenant_id = tenant_id
        self._dataset_id = dataset_id

    async def follow(self, cursor: int) -> AsyncIterator[AudioFile | int]:
        """Yields the files that changed after `cursor`, and then each change, until no file is in progress.

        While nothing changes, yields the number of files in progress as a heartbeat. Raises NotFoundError and
        CursorOutOfRangeError.
        """
        heartbeat = self._app.settings.heartbeat_seconds
        with self._app.bus.subscribe(topics.dataset(self._dataset_id)) as woken:
            await self._check(cursor)
            while True:
                woken.clear()
                self._app.check_serving()
                files, in_progress = await self._read(cursor)
                for file in files:
                    yield file
                    cursor = file.revision
                if _all_finished(files, in_progress):
                    return
                # The count was read before the files, so it is out of date if any of them changed.
                if not files and not await wait_for_event(woken, heartbeat):
                    yield in_progress

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


def _all_finished(files: Sequence[AudioFile], in_progress: int) -> bool:
    """Whether no change follows these: see `audio.changed`."""
    none_returned = all(file.processing_status not in audio.IN_PROGRESS for file in files)
    return in_progress == 0 and none_returned and len(files) < BATCH
