"""Rows of models as completed jobs create them, without any training."""

from uuid import UUID

from uuid_utils.compat import uuid7

from earmark.storage.database import Connection, Database
from earmark.storage.queries import models, training
from tests.gateway import rows

CONFIG = {"artifact_types": ["glitch"], "epochs": 2, "learning_rate": 0.001, "seed": 7}
METRICS = {"overall": {"precision": 0.9, "recall": 0.5, "support": 4}, "macro_f1_score": 0.6}


async def model(
    connection: Connection,
    *,
    tenant: str = rows.TENANT,
    active: bool = False,
    types: tuple[str, ...] = ("glitch",),
    **columns,
) -> UUID:
    """Inserts a model with its own job; `columns` as in storage.queries.models.create. Returns its id."""
    built = await rows.dataset(connection, tenant=tenant, types=types)
    job_id, model_id = uuid7(), uuid7()
    set_id = built.annotation_set_id
    await training.create(connection, tenant, job_id, built.dataset_id, set_id, CONFIG, {}, {"created": {}})
    values = {
        "id": model_id,
        "training_job_id": job_id,
        "dataset_id": built.dataset_id,
        "name": ", ".join(types),
        "artifact_types": types,
        "eval_metrics": METRICS,
        "recommended_thresholds": {"glitch": 0.4},
        "merge_windows_ms": dict.fromkeys(types, 30),
        "min_durations_ms": dict.fromkeys(types, 0),
        "weights": f"default/jobs/{job_id}/model.safetensors",
        "model_config": f"default/jobs/{job_id}/model.json",
        "size_bytes": 1234,
        "sha256": "ab" * 32,
        "config": CONFIG,
        "best_epoch": 2,
        "audio_file_count": 3,
        "audio_duration_ms": 360_000,
        "earmark_version": "0.1.0",
        "frontend_version": "3",
    }
    values |= columns
    await models.create(connection, tenant, **values)
    if active:
        await models.update(connection, tenant, model_id, values["name"], "", is_active=True)
    return model_id


async def one_model(database_url: str, **columns) -> str:
    """Inserts a model; returns its id."""
    async with Database(database_url) as database, database.transaction() as connection:
        return str(await model(connection, **columns))
