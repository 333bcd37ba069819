"""earmark.v1.DatasetService."""

from functools import partial
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from earmark.gateway import lookup
from earmark.gateway.app import App
from earmark.gateway.caller import caller, tenant
from earmark.gateway.convert.datasets import artifact_type_record, dataset_message
from earmark.gateway.errors import in_use
from earmark.gateway.field_masks import check_etag, masked_paths
from earmark.gateway.idempotency import run_once
from earmark.gateway.paging import PageRequest
from earmark.gateway.rules.deletions import check_deletable
from earmark.gateway.watching import topics
from earmark.storage.database import Connection
from earmark.storage.queries import datasets, deletions
from earmark.storage.records import ArtifactType, Dataset
from earmark.v1 import dataset_service_pb2 as pb
from earmark.v1 import dataset_service_pb2_grpc

EDITABLE = ("name", "description", "artifact_types")


class DatasetService(dataset_service_pb2_grpc.DatasetServiceServicer):
    """Creates, reads, changes and deletes datasets and their artifact types."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def CreateDataset(self, request: pb.CreateDatasetRequest, _: Any) -> pb.CreateDatasetResponse:
        async def create(connection: Connection) -> pb.CreateDatasetResponse:
            dataset_id = uuid7()
            types = [artifact_type_record(t) for t in request.artifact_types]
            await datasets.create(connection, tenant(), dataset_id, request.name, request.description, types)
            created = await lookup.dataset(connection, dataset_id)
            return pb.CreateDatasetResponse(dataset=dataset_message(created))

        return await run_once(self._app.database, request, pb.CreateDatasetResponse, create)

    async def GetDataset(self, request: pb.GetDatasetRequest, _: Any) -> pb.GetDatasetResponse:
        async with self._app.database.connection() as connection:
            dataset = await lookup.dataset(connection, UUID(request.dataset_id))
        return pb.GetDatasetResponse(dataset=dataset_message(dataset))

    async def ListDatasets(self, request: pb.ListDatasetsRequest, _: Any) -> pb.ListDatasetsResponse:
        page_request = PageRequest.of(request)
        async with self._app.lane_for(page_request.size).connection() as connection:
            read = partial(datasets.page, connection, tenant())
            page = await page_request.page(read, dataset_message, lambda dataset: dataset.id)
        return pb.ListDatasetsResponse(datasets=page.messages, next_page_token=page.next_page_token)

    async def UpdateDataset(self, request: pb.UpdateDatasetRequest, _: Any) -> pb.UpdateDatasetResponse:
        paths = masked_paths(request.update_mask, EDITABLE)

        async def update(connection: Connection) -> pb.UpdateDatasetResponse:
            dataset_id = UUID(request.dataset.id)
            await lookup.lock_dataset(connection, dataset_id)
            dataset = await lookup.dataset(connection, dataset_id)
            check_etag("dataset", request.dataset.id, request.dataset.etag, dataset.version)
            await _update(connection, dataset, request.dataset, paths)
            updated = await lookup.dataset(connection, dataset_id)
            return pb.UpdateDatasetResponse(dataset=dataset_message(updated))

        return await run_once(self._app.database, request, pb.UpdateDatasetResponse, update)

    async def DeleteDataset(self, request: pb.DeleteDatasetRequest, _: Any) -> pb.DeleteDatasetResponse:
        dataset_id = UUID(request.dataset_id)

        async def delete(connection: Connection) -> pb.DeleteDatasetResponse:
            await lookup.lock_dataset(connection, dataset_id)
            removal = await deletions.of_dataset(connection, dataset_id)
            unfinished = await deletions.unfinished_jobs(connection, tenant(), removal)
            searches = await deletions.unfinished_searches(connection, tenant(), removal)
            check_deletable(removal, unfinished, searches, force=request.force)
            return pb.DeleteDatasetResponse(
                deleted_counts=await deletions.delete(connection, tenant(), removal, caller())
            )

        response = await run_once(self._app.lane, request, pb.DeleteDatasetResponse, delete)
        self._app.bus.publish(topics.events(tenant()), topics.AUDIO_DELETIONS)
        return response


async def _update(connection: Connection, old: Dataset, new: pb.Dataset, paths: frozenset[str]) -> None:
    if "artifact_types" in paths:
        await _replace_types(connection, old, [artifact_type_record(t) for t in new.artifact_types])
    name = new.name if "name" in paths else old.name
    description = new.description if "description" in paths else old.description
    await datasets.update(connection, tenant(), old.id, name, description)


async def _replace_types(connection: Connection, dataset: Dataset, types: list[ArtifactType]) -> None:
    removed = [t.name for t in dataset.artifact_types if t.name not in {kept.name for kept in types}]
    used = await datasets.types_in_use(connection, dataset.id, removed)
    if used:
        raise in_use(
            "dataset",
            str(dataset.id),
            f"annotations have the types {', '.join(used)}: keep them, or delete those annotations first",
        )
    await datasets.put_types(connection, tenant(), dataset.id, types)
