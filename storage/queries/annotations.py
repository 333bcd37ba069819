"""Annotation sets and annotations.

Whoever edits annotations holds the dataset's row FOR KEY SHARE and the set's FOR UPDATE, in this order;
whoever takes away types or files locks the dataset's row FOR UPDATE. So neither sees half of the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from storage import sql
from storage.database import Connection
from storage.queries import datasets
from storage.records import Annotation, AnnotationSet, TypeTotals

SQL = sql.load("annotations")

# Drawing ids takes the event loop some 10 us each.
COPY_BATCH = 1000


@dataclass(frozen=True, slots=True)
class LockedSet:
    """What decides whether a set may be edited."""

    id: UUID
    dataset_id: UUID
    version: int
    status: str


@dataclass(frozen=True, slots=True)
class MarkedFile:
    """What an annotation is judged by. `duration_ms` is 0 while it is not known."""

    id: UUID
    processing_status: str
    duration_ms: int
    error_message: str


@dataclass(frozen=True, slots=True)
class Misplaced:
    """An annotation that ends after its file does."""

    id: UUID
    audio_file_id: UUID
    end_ms: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Facts:
    """A dataset's types in order, and those of its files that were asked for."""

    types: Sequence[str]
    files: dict[UUID, MarkedFile]


async def create_set(connection: Connection, tenant_id: str, set_id: UUID, dataset_id: UUID) -> bool:
    """An empty draft with the next version, in a transaction. False where there is no such dataset."""
    if not await datasets.lock_for_key_share(connection, tenant_id, dataset_id):
        return False
    await connection.execute(SQL["lock_versions"], dataset_id)
    await connection.execute(SQL["create_set"], set_id, tenant_id, dataset_id)
    return True


async def get_set(connection: Connection, tenant_id: str, set_id: UUID) -> AnnotationSet | None:
    row = await connection.fetchrow(SQL["get_set"], tenant_id, set_id)
    return row and _set(row)


async def page_of_sets(
    connection: Connection, tenant_id: str, dataset_id: UUID, below_version: int | None, limit: int
) -> list[AnnotationSet]:
    rows = await connection.fetch(SQL["list_sets"], tenant_id, dataset_id, below_version, limit)
    return [_set(row) for row in rows]


async def lock_set(connection: Connection, tenant_id: str, set_id: UUID) -> LockedSet | None:
    """Until the end of the transaction nobody else edits the set, and its types and files stay."""
    await connection.execute(SQL["share_dataset_of_set"], tenant_id, set_id)
    row = await connection.fetchrow(SQL["lock_set"], tenant_id, set_id)
    return row and LockedSet(**row)


async def publish(connection: Connection, set_id: UUID) -> None:
    await connection.execute(SQL["publish"], set_id)


async def delete_set(connection: Connection, set_id: UUID) -> None:
    await connection.execute(SQL["delete_set"], set_id)


async def copy(connection: Connection, from_set_id: UUID, to_set_id: UUID) -> None:
    """Copies every annotation, in order, under new ids."""
    last: UUID | None = None
    while rows := await connection.fetch(SQL["ids_to_copy"], from_set_id, last, COPY_BATCH):
        ids = [row["id"] for row in rows]
        await connection.execute(SQL["copy"], to_set_id, ids, [uuid7() for _ in ids])
        last = ids[-1]


async def facts(connection: Connection, dataset_id: UUID, audio_file_ids: Sequence[UUID]) -> Facts:
    types = await connection.fetch(SQL["types"], dataset_id)
    files = await connection.fetch(SQL["files"], dataset_id, audio_file_ids)
    return Facts([row["name"] for row in types], {row["id"]: MarkedFile(**row) for row in files})


async def obstacles(
    connection: Connection, locked: LockedSet
) -> tuple[Sequence[MarkedFile], Sequence[Misplaced]]:
    """What forbids publishing: marked files that failed or are not decoded, annotations beyond the end."""
    files = await connection.fetch(SQL["unusable_files"], locked.dataset_id, locked.id)
    marks = await connection.fetch(SQL["beyond_end"], locked.id)
    return [MarkedFile(**row) for row in files], [Misplaced(**row) for row in marks]


async def add(
    connection: Connection, tenant_id: str, dataset_id: UUID, set_id: UUID, new: Sequence[Annotation]
) -> None:
    """All of them in one statement. The caller has locked the set and checked them."""
    columns = (
        [a.id for a in new],
        [a.audio_file_id for a in new],
        [a.artifact_type for a in new],
        [a.start_ms for a in new],
        [a.end_ms for a in new],
        [a.confidence for a in new],
        [a.extra_data for a in new],
    )
    await connection.execute(SQL["add"], tenant_id, set_id, dataset_id, *columns)


async def get(connection: Connection, tenant_id: str, annotation_id: UUID) -> Annotation | None:
    row = await connection.fetchrow(SQL["get"], tenant_id, annotation_id)
    return row and Annotation(**row)


async def page(
    connection: Connection,
    tenant_id: str,
    set_id: UUID,
    audio_file_id: UUID | None,
    artifact_type: str | None,
    after: UUID | None,
    limit: int,
) -> list[Annotation]:
    """`audio_file_id`, `artifact_type`: None for all."""
    rows = await connection.fetch(SQL["list"], tenant_id, set_id, audio_file_id, artifact_type, after, limit)
    return [Annotation(**row) for row in rows]


async def update(
    connection: Connection,
    annotation_id: UUID,
    artifact_type: str,
    start_ms: int,
    end_ms: int,
    confidence: float,
    extra_data: dict[str, Any] | None,
) -> None:
    facts = (artifact_type, start_ms, end_ms, confidence, extra_data)
    await connection.execute(SQL["update"], annotation_id, *facts)


async def delete(connection: Connection, annotation_id: UUID) -> None:
    await connection.execute(SQL["delete"], annotation_id)


def _set(row: asyncpg.Record) -> AnnotationSet:
    columns = dict(row)
    columns["totals"] = {name: TypeTotals(**totals) for name, totals in columns["totals"].items()}
    return AnnotationSet(**columns)
