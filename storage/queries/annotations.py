"""Annotation sets and annotations.

A transaction that edits annotations locks the dataset's row FOR KEY SHARE and then the set's row FOR UPDATE.
A transaction that removes types or files locks the dataset's row FOR UPDATE, so the two never overlap.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from earmark.storage import sql
from earmark.storage.database import Connection
from earmark.storage.queries import datasets
from earmark.storage.records import Annotation, AnnotationSet, TypeTotals

SQL = sql.load("annotations")

# Each new id takes about 10 us on the event loop, so a copy is split into batches.
COPY_BATCH = 500
ADD_BATCH = 500
OBSTACLES = 100
ROUNDING_MS = 1  # how far beyond its file an annotation may end


@dataclass(frozen=True, slots=True)
class LockedSet:
    """The columns that decide whether a locked set may be edited."""

    id: UUID
    dataset_id: UUID
    version: int
    status: str
    revision: int


@dataclass(frozen=True, slots=True)
class AnnotatedFile:
    """The columns of a file that annotations are checked against.

    `duration_ms` and `channels` are 0 until they are known.
    """

    id: UUID
    processing_status: str
    duration_ms: int
    channels: int
    error_message: str


@dataclass(frozen=True, slots=True)
class OutsideAudio:
    """An annotation that is outside its file, which lasts `duration_ms` and has so many `channels`."""

    id: UUID
    audio_file_id: UUID
    start_ms: int
    end_ms: int
    channel: int | None
    duration_ms: int
    channels: int


@dataclass(frozen=True, slots=True)
class ChannelSpans:
    """Where a file's annotations of one type and channel are, by onset. `channel` may be None."""

    audio_file_id: UUID
    artifact_type: str
    channel: int | None
    starts_ms: list[int]
    ends_ms: list[int]


@dataclass(frozen=True, slots=True)
class Facts:
    """A dataset's type names in order, and those of the requested files that belong to it."""

    types: Sequence[str]
    files: dict[UUID, AnnotatedFile]


async def create_set(connection: Connection, tenant_id: str, set_id: UUID, dataset_id: UUID) -> bool:
    """Adds an empty draft with the next version, in a transaction. False if no such dataset exists."""
    if not await datasets.lock_for_key_share(connection, tenant_id, dataset_id):
        return False
    await connection.execute(SQL["lock_versions"], dataset_id)
    await connection.execute(SQL["create_set"], set_id, tenant_id, dataset_id)
    return True


async def get_set(connection: Connection, tenant_id: str, set_id: UUID) -> AnnotationSet | None:
    row = await connection.fetchrow(SQL["get_set"], tenant_id, set_id)
    return row and _set(row)


async def set_exists(connection: Connection, tenant_id: str, set_id: UUID) -> bool:
    return await connection.fetchval(SQL["set_exists"], tenant_id, set_id) is not None


async def share_set(connection: Connection, tenant_id: str, set_id: UUID) -> LockedSet | None:
    """Prevents edits and the deletion of the set until the transaction ends. None if no such set exists."""
    row = await connection.fetchrow(SQL["share_set"], tenant_id, set_id)
    return row and LockedSet(**row)


async def page_of_sets(
    connection: Connection,
    tenant_id: str,
    dataset_id: UUID,
    statuses: Sequence[str],
    below_version: int | None,
    limit: int,
) -> list[AnnotationSet]:
    """A page, newest version first. `statuses`: empty for all."""
    rows = await connection.fetch(SQL["list_sets"], tenant_id, dataset_id, statuses, below_version, limit)
    return [_set(row) for row in rows]


async def lock_dataset(connection: Connection, tenant_id: str, set_id: UUID) -> None:
    """Locks the set's dataset, its sets and its files until the transaction ends."""
    await connection.execute(SQL["lock_dataset"], tenant_id, set_id)


async def lock_set(connection: Connection, tenant_id: str, set_id: UUID) -> LockedSet | None:
    """Locks the set until the transaction ends: nobody else edits it, and its types and files remain.

    Returns None if no such set exists.
    """
    await connection.execute(SQL["lock_dataset_of_set"], tenant_id, set_id)
    row = await connection.fetchrow(SQL["lock_set"], tenant_id, set_id)
    return row and LockedSet(**row)


async def publish(connection: Connection, set_id: UUID) -> None:
    """Publishes a set without obstacles. Ends up to ROUNDING_MS beyond their file are cut to it."""
    await connection.execute(SQL["cut_ends"], set_id, ROUNDING_MS)
    await connection.execute(SQL["publish"], set_id)


async def copy(connection: Connection, from_set_id: UUID, to_set_id: UUID) -> None:
    """Copies every annotation under a new id, in the same order."""
    last: UUID | None = None
    while rows := await connection.fetch(SQL["ids_to_copy"], from_set_id, last, COPY_BATCH):
        ids = [row["id"] for row in rows]
        await connection.execute(SQL["copy"], to_set_id, ids, [uuid7() for _ in ids])
        last = ids[-1]


async def facts(connection: Connection, dataset_id: UUID, audio_file_ids: Sequence[UUID]) -> Facts:
    types = await connection.fetch(SQL["types"], dataset_id)
    files = await connection.fetch(SQL["files"], dataset_id, audio_file_ids)
    return Facts([row["name"] for row in types], {row["id"]: AnnotatedFile(**row) for row in files})


async def obstacles(
    connection: Connection, locked: LockedSet
) -> tuple[Sequence[AnnotatedFile], Sequence[OutsideAudio]]:
    """What prevents publishing: annotated files that failed or are not decoded, annotations outside theirs.

    At most OBSTACLES of each: an error has room for fewer.
    """
    files = await connection.fetch(SQL["unusable_files"], locked.dataset_id, locked.id, OBSTACLES)
    outside = await connection.fetch(SQL["outside_audio"], locked.id, ROUNDING_MS, OBSTACLES)
    return [AnnotatedFile(**row) for row in files], [OutsideAudio(**row) for row in outside]


async def add(
    connection: Connection, tenant_id: str, dataset_id: UUID, set_id: UUID, new: Sequence[Annotation]
) -> None:
    """Inserts all annotations. The caller must have locked the set and checked them.

    A thread converts free-form data to JSON.
    """
    for first in range(0, len(new), ADD_BATCH):
        batch = new[first : first + ADD_BATCH]
        columns = (
            [a.id for a in batch],
            [a.audio_file_id for a in batch],
            [a.artifact_type for a in batch],
            [a.start_ms for a in batch],
            [a.end_ms for a in batch],
            [a.confidence for a in batch],
            await asyncio.to_thread(_extra_data_texts, batch),
            [a.channel for a in batch],
        )
        await connection.execute(SQL["add"], tenant_id, set_id, dataset_id, *columns)
    await connection.execute(SQL["touch_set"], set_id)


async def get(connection: Connection, tenant_id: str, annotation_id: UUID) -> Annotation | None:
    row = await connection.fetchrow(SQL["get"], tenant_id, annotation_id)
    return row and Annotation(**row)


async def page(
    connection: Connection,
    tenant_id: str,
    set_id: UUID,
    audio_file_ids: Sequence[UUID],
    artifact_types: Sequence[str],
    channels: Sequence[int],
    after: UUID | None,
    limit: int,
) -> list[Annotation]:
    """A page in order of creation. `audio_file_ids`, `artifact_types`, `channels`: empty for all."""
    filters = (audio_file_ids, artifact_types, channels)
    rows = await connection.fetch(SQL["list"], tenant_id, set_id, *filters, after, limit)
    return [Annotation(**row) for row in rows]


async def spans(
    connection: Connection, set_id: UUID, file_ids: Sequence[UUID], min_confidence: float
) -> list[ChannelSpans]:
    """Where the set's annotations in these files are that are at least so sure."""
    rows = await connection.fetch(SQL["spans"], set_id, file_ids, min_confidence)
    return [ChannelSpans(**row) for row in rows]


async def update(connection: Connection, new: Annotation) -> None:
    """Stores everything but the annotation's file. The caller must have locked its set and checked it."""
    columns = (new.artifact_type, new.start_ms, new.end_ms, new.confidence, new.extra_data, new.channel)
    await connection.execute(SQL["update"], new.id, *columns)
    await connection.execute(SQL["touch_set"], new.annotation_set_id)


async def delete(connection: Connection, annotation: Annotation) -> None:
    """Deletes the annotation. The caller must have locked its set."""
    await connection.execute(SQL["delete"], annotation.id)
    await connection.execute(SQL["touch_set"], annotation.annotation_set_id)


def _extra_data_texts(batch: Sequence[Annotation]) -> list[str | None]:
    return [None if a.extra_data is None else json.dumps(a.extra_data) for a in batch]


def _set(row: asyncpg.Record) -> AnnotationSet:
    columns = dict(row)
    columns["totals"] = {name: TypeTotals(**totals) for name, totals in columns["totals"].items()}
    return AnnotationSet(**columns)
