"""earmark.v1.ModelService."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from grpc import aio

from earmark.gateway import lookup
from earmark.gateway.app import App
from earmark.gateway.caller import caller, tenant
from earmark.gateway.convert.models import (
    export_request,
    export_response,
    model_alias_message,
    model_alias_move_message,
    model_message,
    model_usage_message,
)
from earmark.gateway.errors import NotFoundError
from earmark.gateway.field_masks import check_etag, masked_paths
from earmark.gateway.fleet.failures import error_of_model, failure_of
from earmark.gateway.fleet.trainers import unavailable
from earmark.gateway.idempotency import run_once
from earmark.gateway.paging import PageRequest
from earmark.gateway.reports.model import model_report
from earmark.gateway.rules import models as rules
from earmark.gateway.rules.deletions import check_deletable
from earmark.gateway.services.error_strips import worst_errors
from earmark.internal.v1 import trainer_service_pb2
from earmark.storage.database import Connection
from earmark.storage.queries import deletions, events, model_aliases, model_usage, models
from earmark.storage.records import Model
from earmark.v1 import model_service_pb2 as pb
from earmark.v1 import model_service_pb2_grpc

log = structlog.get_logger("gateway")

EDITABLE = ("name", "description", "is_active")
# How many users of a model of each kind GetModelUsage names.
MOST_USERS = 100


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Reads, names, changes, archives, restores and exports models, which completed training jobs produce."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def GetModel(self, request: pb.GetModelRequest, _: Any) -> pb.GetModelResponse:
        async with self._app.database.connection() as connection:
            model = await lookup.named_model(connection, request.model_id)
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
                names=list(request.names),
                name_prefix=request.name_prefix,
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
            if "is_active" in paths and not request.model.is_active:
                rules.check_unnamed(model)
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
                rules.check_unnamed(model)
                await models.archive(connection, tenant(), model.id)
                return pb.DeleteModelResponse()
            removal = await deletions.of_model(connection, model.id)
            unfinished = await deletions.unfinished_jobs(connection, tenant(), removal)
            searches = await deletions.unfinished_searches(connection, tenant(), removal)
            check_deletable(removal, unfinished, searches, force=True)
            counts = await deletions.delete(connection, tenant(), removal, caller())
            return pb.DeleteModelResponse(deleted_counts=counts)

        return await run_once(self._app.database, request, pb.DeleteModelResponse, delete)

    async def UndeleteModel(self, request: pb.UndeleteModelRequest, _: Any) -> pb.UndeleteModelResponse:
        async def undelete(connection: Connection) -> pb.UndeleteModelResponse:
            model = await lookup.lock_model(connection, UUID(request.model_id))
            rules.check_archived(model)
            await models.restore(connection, tenant(), model.id)
            return pb.UndeleteModelResponse(model=model_message(await lookup.model(connection, model.id)))

        return await run_once(self._app.database, request, pb.UndeleteModelResponse, undelete)

    async def GetModelReport(self, request: pb.GetModelReportRequest, _: Any) -> pb.GetModelReportResponse:
        async with self._app.lane.connection() as connection:
            model = await lookup.named_model(connection, request.model_id)
            epochs = await events.of_kind(connection, model.training_job_id, "epoch_completed")
            worst = await worst_errors(connection, model)
        return pb.GetModelReportResponse(html=await asyncio.to_thread(model_report, model, epochs, worst))

    async def GetModelUsage(self, request: pb.GetModelUsageRequest, _: Any) -> pb.GetModelUsageResponse:
        async with self._app.database.connection() as connection:
            model = await lookup.named_model(connection, request.model_id)
            usage = await model_usage.of_model(connection, tenant(), model.id, MOST_USERS)
        return pb.GetModelUsageResponse(usage=model_usage_message(model, usage))

    async def SetModelAlias(self, request: pb.SetModelAliasRequest, _: Any) -> pb.SetModelAliasResponse:
        async def set_alias(connection: Connection) -> pb.SetModelAliasResponse:
            named = await lookup.named_model(connection, request.model_id)
            model = await lookup.lock_model(connection, named.id)
            rules.check_usable(model)
            rules.check_room_for_alias(model, request.alias)
            if request.etag:
                current = await lookup.lock_model_alias(connection, request.alias)
                check_etag("model_alias", request.alias, request.etag, current.version)
            await model_aliases.set_model(connection, tenant(), request.alias, model.id, caller())
            alias = await lookup.model_alias(connection, request.alias)
            return pb.SetModelAliasResponse(model_alias=model_alias_message(alias))

        return await run_once(self._app.database, request, pb.SetModelAliasResponse, set_alias)

    async def DeleteModelAlias(
        self, request: pb.DeleteModelAliasRequest, _: Any
    ) -> pb.DeleteModelAliasResponse:
        async def delete(connection: Connection) -> pb.DeleteModelAliasResponse:
            current = await lookup.lock_model_alias(connection, request.alias)
            check_etag("model_alias", request.alias, request.etag, current.version)
            await model_aliases.remove(connection, tenant(), request.alias, caller())
            return pb.DeleteModelAliasResponse()

        return await run_once(self._app.database, request, pb.DeleteModelAliasResponse, delete)

    async def ListModelAliases(
        self, request: pb.ListModelAliasesRequest, _: Any
    ) -> pb.ListModelAliasesResponse:
        page_request = PageRequest.by_name(request)
        async with self._app.database.connection() as connection:
            read = partial(
                model_aliases.page,
                connection,
                tenant(),
                model_ids=[UUID(model_id) for model_id in request.model_ids],
                aliases=list(request.aliases),
            )
            page = await page_request.page(read, model_alias_message, lambda alias: alias.alias)
        return pb.ListModelAliasesResponse(model_aliases=page.messages, next_page_token=page.next_page_token)

    async def ListModelAliasMoves(
        self, request: pb.ListModelAliasMovesRequest, _: Any
    ) -> pb.ListModelAliasMovesResponse:
        page_request = PageRequest.by_number(request)
        async with self._app.database.connection() as connection:
            read = partial(model_aliases.moves, connection, tenant(), request.alias)
            page = await page_request.page(read, model_alias_move_message, lambda move: move.version)
        if not page.messages:
            raise NotFoundError("model_alias", request.alias, "it never existed; see ListModelAliases")
        return pb.ListModelAliasMovesResponse(moves=page.messages, next_page_token=page.next_page_token)

    async def ExportModel(
        self, request: pb.ExportModelRequest, _: Any
    ) -> AsyncIterator[pb.ExportModelResponse]:
        async with self._app.database.connection() as connection:
            model = await lookup.named_model(connection, request.model_id)
        trainer, exported = self._app.trainers.pick_for_detection(), export_request(model, request)
        grant = trainer.signer.metadata(
            "ExportModel", exported.SerializeToString(), reads=(model.weights, model.model_config)
        )
        call = trainer.stub.ExportModel(exported, metadata=grant)
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
