"""Models, the results of completed training jobs."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from earmark.storage import sql
from earmark.storage.database import Connection
from earmark.storage.records import Model

SQL = sql.load("models")

_LIKE_SIGNS = re.compile(r"[\\%_]")


async def create(
    connection: Connection,
    tenant_id: str,
    *,
    id: UUID,  # noqa: A002 - the column's name
    training_job_id: UUID,
    dataset_id: UUID,
    name: str,
    artifact_types: Sequence[str],
    eval_metrics: Mapping[str, Any],
    recommended_thresholds: Mapping[str, float],
    merge_windows_ms: Mapping[str, int],
    min_durations_ms: Mapping[str, int],
    weights: str,
    model_config: str,
    size_bytes: int,
    sha256: str,
    config: Mapping[str, Any],
    best_epoch: int,
    audio_file_count: int,
    audio_duration_ms: int,
    earmark_version: str,
    frontend_version: str,
) -> None:
    """Adds the job's one model, in the transaction that completes the job, with its set and the version.

    `eval_metrics` and `config` are the JSON forms of their messages; `weights` and `model_config` are object
    keys. Raises asyncpg.UniqueViolationError (models_one_per_job) if the job already has a model.
    """
    await connection.execute(
        SQL["create"],
        id,
        tenant_id,
        training_job_id,
        dataset_id,
        name,
        list(artifact_types),
        dict(eval_metrics),
        dict(recommended_thresholds),
        dict(merge_windows_ms),
        dict(min_durations_ms),
        weights,
        model_config,
        size_bytes,
        sha256,
        dict(config),
        best_epoch,
        audio_file_count,
        audio_duration_ms,
        earmark_version,
        frontend_version,
        _name_key(name),
    )


async def get(connection: Connection, tenant_id: str, model_id: UUID) -> Model | None:
    row = await connection.fetchrow(SQL["get"], tenant_id, model_id)
    return row and Model(**row)


async def get_by_alias(connection: Connection, tenant_id: str, alias: str) -> Model | None:
    row = await connection.fetchrow(SQL["get_by_alias"], tenant_id, alias)
    return row and Model(**row)


async def lock_for_update(connection: Connection, tenant_id: str, model_id: UUID) -> None:
    """Prevents other changes of the model, if it exists, until the transaction ends. Read it afterwards."""
    await connection.execute(SQL["lock_for_update"], tenant_id, model_id)


async def lock_job(connection: Connection, tenant_id: str, model_id: UUID) -> None:
    """Locks the job that the model comes from, if it exists, until the transaction ends."""
    await connection.execute(SQL["lock_job"], tenant_id, model_id)


async def lock_for_key_share(connection: Connection, tenant_id: str, model_id: UUID) -> None:
    """Prevents the deletion of the model, if it exists, until the transaction ends."""
    await connection.execute(SQL["lock_for_key_share"], tenant_id, model_id)


async def page(
    connection: Connection,
    tenant_id: str,
    after: UUID | None,
    limit: int,
    *,
    is_active: bool | None = None,
    artifact_types: Sequence[str] = (),
    dataset_ids: Sequence[UUID] = (),
    show_deleted: bool = False,
    names: Sequence[str] = (),
    name_prefix: str = "",
) -> list[Model]:
    """A page of models, newest first. A filter that is None or empty matches every model.

    `names` and `name_prefix` match in upper and lower case.
    """
    keys = [_name_key(name) for name in names]
    like = _LIKE_SIGNS.sub(r"\\\g<0>", _name_key(name_prefix)) + "%" if name_prefix else None
    filters = (is_active, artifact_types, dataset_ids, show_deleted, keys, like)
    rows = await connection.fetch(SQL["list"], tenant_id, after, limit, *filters)
    return [Model(**row) for row in rows]


async def update(
    connection: Connection, tenant_id: str, model_id: UUID, name: str, description: str, *, is_active: bool
) -> None:
    await connection.execute(
        SQL["update"], tenant_id, model_id, name, description, is_active, _name_key(name)
    )


async def archive(connection: Connection, tenant_id: str, model_id: UUID) -> None:
    """Archives the model. Does nothing if it is already archived."""
    await connection.execute(SQL["archive"], tenant_id, model_id)


async def restore(connection: Connection, tenant_id: str, model_id: UUID) -> None:
    await connection.execute(SQL["restore"], tenant_id, model_id)


def _name_key(name: str) -> str:
    return name.casefold()
