"""earmark.v1.DatasetService."""

from typing import Any
from uuid import UUID

from earmark.v1 import dataset_service_pb2 as pb
from earmark.v1 import dataset_service_pb2_grpc
from uuid_utils.compat import uuid7

from gateway import lookup, object_keys
from gateway.app import App
from gateway.caller import tenant
from gateway.convert.datasets import artifact_type_record, dataset_message
from gateway.errors import in_use
from gateway.field_masks import check_etag, masked
from gateway.idempotency import run_once
from gateway.paging import PageRequest
from gateway.watching import topics
from storage.database import Connection
from storage.queries import datasets
from storage.records import ArtifactType, Dataset

EDITABLE = ("name", "description", "artifact_types")


class DatasetService(dataset_service_pb2_grpc.DatasetServiceServicer):
    """Datasets and their artifact types."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def CreateDataset(self, request: pb.CreateDatasetRequest, _: Any) -> pb.CreateDatasetResponse:
        async def create(connection: Connection) -> pb.CreateDatasetResponse:
            dataset_id = uuid7()
            types = [artifact_type_record(t) for t in request.artifact_types]
            await datasets.create(connection, tenant(), dataset_id, request.name, request.description, types)
            return pb.CreateDatasetResponse(
                dataset=dataset_message(await lookup.dataset(connection, dataset_id))
            )

        return await run_once(self._app.database, request, pb.CreateDatasetResponse, create)

    async def GetDataset(self, request: pb.GetDatasetRequest, _: Any) -> pb.GetDatasetResponse:
        async with self._app.database.connection() as connection:
            dataset = await lookup.dataset(connection, UUID(request.dataset_id))
        return pb.GetDatasetResponse(dataset=dataset_message(dataset))

    async def ListDatasets(self, request: pb.ListDatasetsRequest, _: Any) -> pb.ListDatasetsResponse:
        wanted = PageRequest.of(request)
        async with self._app.database.connection() as connection:
            rows = await datasets.page(connection, tenant(), wanted.after, wanted.limit)
        page = wanted.cut(rows, key=lambda dataset: dataset.id)
        return pb.ListDatasetsResponse(
            datasets=map(dataset_message, page.rows), next_page_token=page.next_page_token
        )

    async def UpdateDataset(self, request: pb.UpdateDatasetRequest, _: Any) -> pb.UpdateDatasetResponse:
        paths = masked(request.update_mask, EDITABLE)

        async def update(connection: Connection) -> pb.UpdateDatasetResponse:
            dataset_id = UUID(request.dataset.id)
            await lookup.lock_dataset(connection, dataset_id)
            dataset = await lookup.dataset(connection, dataset_id)
            check_etag("dataset", request.dataset, dataset.version)
            if "artifact_types" in paths:
                await _replace_types(
                    connection, dataset, [artifact_type_record(t) for t in request.dataset.artifact_types]
                )
            await datasets.update(
                connection,
                tenant(),
                dataset_id,
                request.dataset.name if "name" in paths else dataset.name,
                request.dataset.description if "description" in paths else dataset.description,
            )
            return pb.UpdateDatasetResponse(
                dataset=dataset_message(await lookup.dataset(connection, dataset_id))
            )

        return await run_once(self._app.database, request, pb.UpdateDatasetResponse, update)

    async def DeleteDataset(self, request: pb.DeleteDatasetRequest, _: Any) -> pb.DeleteDatasetResponse:
        audio: list[UUID] = []

        async def delete(connection: Connection) -> pb.DeleteDatasetResponse:
            dataset_id = UUID(request.dataset_id)
            await lookup.lock_dataset(connection, dataset_id)
            await _check_unused(connection, dataset_id)
            audio.extend(await datasets.delete(connection, dataset_id))
            return pb.DeleteDatasetResponse()

        response = await run_once(self._app.database, request, pb.DeleteDatasetResponse, delete)
        # Whoever follows its files looks again: none is left, and the watch ends.
        self._app.bus.publish(topics.dataset(UUID(request.dataset_id)))
        for audio_file_id in audio:
            await self._app.objects.delete_async(*object_keys.audio_objects(audio_file_id))
        return response


async def _replace_types(connection: Connection, dataset: Dataset, types: list[ArtifactType]) -> None:
    gone = [t.name for t in dataset.artifact_types if t.name not in {kept.name for kept in types}]
    used = await datasets.types_in_use(connection, dataset.id, gone)
    if used:
        raise in_use(
            "dataset",
            str(dataset.id),
            f"annotations have the types {', '.join(used)}: keep them, or delete those annotations first",
        )
    await datasets.put_types(connection, dataset.id, types)


async def _check_unused(connection: Connection, dataset_id: UUID) -> None:
    published, jobs = await datasets.dependents(connection, dataset_id)
    if published or jobs:
        raise in_use(
            "dataset",
            str(dataset_id),
            f"{published} published annotation sets and {jobs} training jobs belong to the dataset, "
            "and stay as the record of what models were trained on: it cannot be deleted",
        )
