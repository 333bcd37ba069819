"""Following a job: a watcher is a cursor over its events.

Nothing is buffered for a watcher, so that a slow one costs nobody anything: it takes what it has not seen
when it has sent what it has. Revisions are drawn under the job's row lock: in order, they have no gap.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Generic

from gateway.app import App
from gateway.errors import CursorOutOfRangeError, revision_out_of_range
from gateway.watching.job_feeds import BATCH, Feed, Feeds, Message, Told
from storage.queries import events, training
from storage.records import TrainingEvent, TrainingJob


class JobWatches(Generic[Message]):
    """The watches of this process; those of the same job share their reader."""

    def __init__(self, app: App, convert: Callable[[TrainingEvent], Message]) -> None:
        """`convert`: an event as watchers are told it."""
        self._app = app
        self._feeds = Feeds(app, convert)

    async def follow(self, job: TrainingJob, cursor: int) -> AsyncIterator[Message | int]:
        """The events behind `cursor` as they come, to the job's last one.

        In between, a revision alone: a heartbeat, while nothing happens. Raises CursorOutOfRangeError.
        """
        if not job.compacted_revision <= cursor <= job.revision:
            raise _out_of_range(job, cursor)
        if cursor == job.revision and job.finished_at is not None:
            return
        with self._feeds.joined(job, cursor) as feed:
            while True:
                batch = await self._next(job, feed, cursor)
                if batch is None:
                    yield cursor
                    continue
                for told in batch:
                    yield told.message
                    cursor = told.revision
                    if told.is_last:
                        return

    async def _next(
        self, job: TrainingJob, feed: Feed[Message], cursor: int
    ) -> Iterable[Told[Message]] | None:
        """Some of the events behind the cursor; None where nothing happened for the time of a heartbeat."""
        while not feed.is_ahead_of(cursor):
            if told := feed.next(cursor):
                return [told]
            if not await feed.news(self._app.settings.heartbeat_seconds):
                return None
        return map(self._feeds.told, await self._read(job, cursor))

    async def _read(self, job: TrainingJob, cursor: int) -> list[TrainingEvent]:
        async with self._app.database.connection() as connection:
            batch = await events.of_job(connection, job.id, cursor, BATCH)
            if batch[0].revision == cursor + 1:
                return batch
            # Removed for its age in the meantime.
            now = await training.get(connection, job.tenant_id, job.id)
        raise _out_of_range(now or job, cursor)


def _out_of_range(job: TrainingJob, cursor: int) -> CursorOutOfRangeError:
    return revision_out_of_range(cursor, job.compacted_revision + 1, job.revision)
