"""earmark.v1.ModelService."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from grpc import aio

from earmark.gateway import lookup
from earmark.gateway.app import App
from earmark.gateway.caller import tenant
from earmark.gateway.convert.models import export_request, export_response, model_message
from earmark.gateway.field_masks import check_etag, masked_paths
from earmark.gateway.fleet.failures import error_of_model, failure_of
from earmark.gateway.fleet.trainers import unavailable
from earmark.gateway.idempotency import run_once
from earmark.gateway.paging import PageRequest
from earmark.gateway.rules import models as rules
from earmark.gateway.rules.deletions import check_deletable
from earmark.internal.v1 import trainer_service_pb2
from earmark.storage.database import Connection
from earmark.storage.queries import deletions, models
from earmark.storage.records import Model
from earmark.v1 import model_service_pb2 as pb
from earmark.v1 import model_service_pb2_grpc

log = structlog.get_logger("gateway")

EDITABLE = ("name", "description", "is_active")


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Reads, changes, archives, restores and exports models, which completed training jobs produce."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def GetModel(self, request: pb.GetModelRequest, _: Any) -> pb.GetModelResponse:
        async with self._app.database.connection() as connection:
            model = await lookup.model(connection, UUID(request.model_id))
        return pb.GetModelResponse(model=model_message(model))

    async def ListModels(self, request: pb.ListModelsRequest, _: Any) -> pb.ListModelsResponse:
        page_request = PageRequest.of(request)
        async with self._app.lane_for(page_request.size).connection() as connection:
            read = partial(
                models.page,
                connection,
                tenant(),
                is_active=request.is_active if request.HasField("is_active") else None,
                artifact_types=list(request.artifact_types),
                dataset_ids=[UUID(dataset_id) for dataset_id in request.dataset_ids],
                show_deleted=request.show_deleted,
            )
            convert = partial(model_message, view=request.view)
            page = await page_request.page(read, convert, lambda model: model.id)
        return pb.ListModelsResponse(models=page.messages, next_page_token=page.next_page_token)

    async def UpdateModel(self, request: pb.UpdateModelRequest, _: Any) -> pb.UpdateModelResponse:
        paths = masked_paths(request.update_mask, EDITABLE)

        async def update(connection: Connection) -> pb.UpdateModelResponse:
            model = await lookup.lock_model(connection, UUID(request.model.id))
            check_etag("model", request.model.id, request.model.etag, model.version)
            rules.check_not_archived(model)
            await _update(connection, model, request.model, paths)
            return pb.UpdateModelResponse(model=model_message(await lookup.model(connection, model.id)))

        return await run_once(self._app.database, request, pb.UpdateModelResponse, update)

    async def DeleteModel(self, request: pb.DeleteModelRequest, _: Any) -> pb.DeleteModelResponse:
        async def delete(connection: Connection) -> pb.DeleteModelResponse:
            if request.force:
                # As the deletions of the job and of its dataset do, so that none of them is a deadlock.
                await models.lock_job(connection, tenant(), UUID(request.model_id))
            model = await lookup.lock_model(connection, UUID(request.model_id))
            if not request.force:
                await models.archive(connection, tenant(), model.id)
                return pb.DeleteModelResponse()
            removal = deletions.of_model(model.id)
            unfinished = await deletions.unfinished_jobs(connection, tenant(), removal)
            check_deletable(removal, unfinished, force=True)
            return pb.DeleteModelResponse(deleted_counts=await deletions.delete(connection, removal))

        return await run_once(self._app.database, request, pb.DeleteModelResponse, delete)

    async def UndeleteModel(self, request: pb.UndeleteModelRequest, _: Any) -> pb.UndeleteModelResponse:
        async def undelete(connection: Connection) -> pb.UndeleteModelResponse:
            model = await lookup.lock_model(connection, UUID(request.model_id))
            rules.check_archived(model)
            await models.restore(connection, tenant(), model.id)
            return pb.UndeleteModelResponse(model=model_message(await lookup.model(connection, model.id)))

        return await run_once(self._app.database, request, pb.UndeleteModelResponse, undelete)

    async def ExportModel(
        self, request: pb.ExportModelRequest, _: Any
    ) -> AsyncIterator[pb.ExportModelResponse]:
        async with self._app.database.connection() as connection:
            model = await lookup.model(connection, UUID(request.model_id))
        call = self._app.trainers.pick_for_detection().stub.ExportModel(export_request(model, request))
        try:
            async for response in call:
                yield export_response(model, request, response)
        except aio.AioRpcError as error:
            raise _export_error(error, model) from None
        finally:
            call.cancel()


def _export_error(error: aio.AioRpcError, model: Model) -> Exception:
    """The caller's error for a trainer's status; the status itself if no trainer should return it."""
    details, failure = error.details() or "", failure_of(error)
    if (of_model := error_of_model(model, failure, details)) is not None:
        return of_model
    if failure.kind == trainer_service_pb2.FAILURE_KIND_ATTEMPT and failure.reason == "INTERNAL":
        return error
    log.warning("trainer lost during an export", cause=details)
    return unavailable("the trainer was lost during the export: begin it again")


async def _update(connection: Connection, old: Model, new: pb.Model, paths: frozenset[str]) -> None:
    name = new.name if "name" in paths else old.name
    description = new.description if "description" in paths else old.description
    is_active = new.is_active if "is_active" in paths else old.is_active
    await models.update(connection, tenant(), old.id, name, description, is_active=is_active)
