"""Watches a job: a watcher is a cursor over the job's events.

Nothing is buffered for a watcher, so a slow one delays nobody: it reads its next events once it has sent the
last ones. Revisions are assigned under the job's row lock, in order of commit and without gaps.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Generic

from gateway.app import App
from gateway.errors import CursorOutOfRangeError, revision_out_of_range
from gateway.watching.job_feeds import BATCH, Feed, FeedItem, Feeds, Message
from storage.queries import events, training
from storage.records import TrainingEvent, TrainingJob


class JobWatches(Generic[Message]):
    """The watches in this process. Those of the same job share a reader."""

    def __init__(self, app: App, convert: Callable[[TrainingEvent], Message]) -> None:
        """`convert`: makes the message that watchers receive for an event."""
        self._app = app
        self._feeds = Feeds(app, convert)

    async def follow(self, job: TrainingJob, cursor: int) -> AsyncIterator[Message | int]:
        """Yields the events after `cursor` as they are recorded, up to the job's last one.

        While no event is recorded, yields the current revision as a heartbeat. Raises CursorOutOfRangeError.
        """
        if not job.compacted_revision <= cursor <= job.revision:
            raise _out_of_range(job, cursor)
        if cursor == job.revision and job.finished_at is not None:
            return
        with self._feeds.subscribe(job, cursor) as feed:
            while True:
                batch = await self._next(job, feed, cursor)
                if batch is None:
                    yield cursor
                    continue
                for item in batch:
                    yield item.message
                    cursor = item.revision
                    if item.is_last:
                        return

    async def _next(
        self, job: TrainingJob, feed: Feed[Message], cursor: int
    ) -> Iterable[FeedItem[Message]] | None:
        """Some of the events after the cursor; None if there was none for a heartbeat interval."""
        while not feed.has_dropped(cursor):
            if item := feed.next(cursor):
                return [item]
            if not await feed.wait_for_change(self._app.settings.heartbeat_seconds):
                return None
        return map(self._feeds.to_item, await self._read(job, cursor))

    async def _read(self, job: TrainingJob, cursor: int) -> list[TrainingEvent]:
        async with self._app.database.connection() as connection:
            batch = await events.of_job(connection, job.id, cursor, BATCH)
            if batch[0].revision == cursor + 1:
                return batch
            # The event was removed for its age in the meantime.
            current = await training.get(connection, job.tenant_id, job.id)
        raise _out_of_range(current or job, cursor)


def _out_of_range(job: TrainingJob, cursor: int) -> CursorOutOfRangeError:
    return revision_out_of_range(cursor, job.compacted_revision + 1, job.revision)
