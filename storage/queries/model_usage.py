"""Who uses a model: the jobs and models that start from it, and its detections."""

from collections.abc import Sequence
from uuid import UUID

from earmark.storage import sql
from earmark.storage.database import Connection
from earmark.storage.records import ModelUsage

SQL = sql.load("model_usage")


async def of_model(connection: Connection, tenant_id: str, model_id: UUID, most_ids: int) -> ModelUsage:
    """`most_ids`: how many ids of each kind are read, the newest."""
    return ModelUsage(**await connection.fetchrow(SQL["of_model"], tenant_id, model_id, most_ids))


async def add_detections(
    connection: Connection, model_ids: Sequence[UUID], counts: Sequence[int], seconds: Sequence[float]
) -> None:
    """Adds the counts of models. `seconds`: how long ago the last detection of each ended."""
    await connection.execute(SQL["add_detections"], model_ids, counts, seconds)
