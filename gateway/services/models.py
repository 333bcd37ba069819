"""earmark.v1.ModelService."""

from typing import Any
from uuid import UUID

from earmark.v1 import metrics_pb2, model_service_pb2_grpc, training_config_pb2
from earmark.v1 import model_service_pb2 as pb

from gateway import convert
from gateway.app import App
from gateway.caller import tenant
from gateway.errors import AlreadyExistsError, NotFoundError, wrong_state
from gateway.mutations import once
from gateway.paging import PageRequest
from gateway.updates import check_etag, masked
from storage import models
from storage.database import Connection
from storage.records import Model

EDITABLE = ("name", "description", "is_active")


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Models: what completed training jobs leave behind."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def GetModel(self, request: pb.GetModelRequest, _: Any) -> pb.GetModelResponse:
        async with self._app.database.connection() as connection:
            model = await existing(connection, UUID(request.model_id))
        return pb.GetModelResponse(model=message(model))

    async def ListModels(self, request: pb.ListModelsRequest, _: Any) -> pb.ListModelsResponse:
        wanted = PageRequest.of(request)
        async with self._app.database.connection() as connection:
            rows = await models.page(
                connection,
                tenant(),
                wanted.after,
                wanted.limit,
                is_active=request.is_active if request.HasField("is_active") else None,
                artifact_type=request.artifact_type or None,
                dataset_id=UUID(request.dataset_id) if request.dataset_id else None,
                show_deleted=request.show_deleted,
            )
        page = wanted.cut(rows, key=lambda model: model.id)
        return pb.ListModelsResponse(models=map(message, page.rows), next_page_token=page.next_page_token)

    async def UpdateModel(self, request: pb.UpdateModelRequest, _: Any) -> pb.UpdateModelResponse:
        paths = masked(request.update_mask, EDITABLE)

        async def update(connection: Connection) -> pb.UpdateModelResponse:
            model = await _locked(connection, UUID(request.model.id))
            check_etag("model", request.model, model.version)
            _check_not_archived(model)
            await models.update(
                connection,
                tenant(),
                model.id,
                request.model.name if "name" in paths else model.name,
                request.model.description if "description" in paths else model.description,
                is_active=request.model.is_active if "is_active" in paths else model.is_active,
            )
            return pb.UpdateModelResponse(model=message(await existing(connection, model.id)))

        return await once(self._app.database, request, pb.UpdateModelResponse, update)

    async def DeleteModel(self, request: pb.DeleteModelRequest, _: Any) -> pb.DeleteModelResponse:
        async def delete(connection: Connection) -> pb.DeleteModelResponse:
            model = await _locked(connection, UUID(request.model_id))
            await models.archive(connection, tenant(), model.id)
            return pb.DeleteModelResponse()

        return await once(self._app.database, request, pb.DeleteModelResponse, delete)

    async def UndeleteModel(self, request: pb.UndeleteModelRequest, _: Any) -> pb.UndeleteModelResponse:
        async def undelete(connection: Connection) -> pb.UndeleteModelResponse:
            model = await _locked(connection, UUID(request.model_id))
            _check_archived(model)
            await models.restore(connection, tenant(), model.id)
            return pb.UndeleteModelResponse(model=message(await existing(connection, model.id)))

        return await once(self._app.database, request, pb.UndeleteModelResponse, undelete)


async def existing(connection: Connection, model_id: UUID) -> Model:
    """Archived or not. Raises NotFoundError."""
    model = await models.get(connection, tenant(), model_id)
    if model is None:
        raise NotFoundError("model", str(model_id))
    return model


async def unarchived(connection: Connection, model_id: UUID) -> Model:
    """Active or not. Raises NotFoundError, PreconditionError for an archived one."""
    model = await existing(connection, model_id)
    if model.deleted_at is not None:
        raise wrong_state(
            "model",
            str(model_id),
            "archived",
            f"model {model_id} is archived: undelete it with UndeleteModel",
        )
    return model


async def usable(connection: Connection, model_id: UUID) -> Model:
    """A model that may detect. Raises NotFoundError, PreconditionError for one archived or inactive."""
    model = await unarchived(connection, model_id)
    if not model.is_active:
        raise wrong_state(
            "model",
            str(model_id),
            "inactive",
            f"model {model_id} is not active: set is_active with UpdateModel first",
        )
    return model


def message(model: Model) -> pb.Model:
    """As callers see it."""
    return pb.Model(
        id=str(model.id),
        training_job_id=str(model.training_job_id),
        dataset_id=str(model.dataset_id),
        name=model.name,
        description=model.description,
        artifact_types=model.artifact_types,
        eval_metrics=convert.from_json(model.eval_metrics, metrics_pb2.EvalMetrics),
        recommended_thresholds=model.recommended_thresholds,
        is_active=model.is_active,
        created_at=convert.timestamp(model.created_at),
        updated_at=convert.timestamp(model.updated_at),
        deleted_at=convert.timestamp(model.deleted_at),
        etag=convert.etag(model.version),
        size_bytes=model.size_bytes,
        sha256=model.sha256,
        config=convert.from_json(model.config, training_config_pb2.TrainingConfig),
        best_epoch=model.best_epoch,
    )


async def _locked(connection: Connection, model_id: UUID) -> Model:
    model = await models.get_for_update(connection, tenant(), model_id)
    if model is None:
        raise NotFoundError("model", str(model_id))
    return model


def _check_not_archived(model: Model) -> None:
    if model.deleted_at is not None:
        raise wrong_state(
            "model",
            str(model.id),
            "archived",
            f"model {model.id} is archived and cannot be changed: undelete it with UndeleteModel first",
        )


def _check_archived(model: Model) -> None:
    if model.deleted_at is None:
        raise AlreadyExistsError("model", str(model.id), f"model {model.id} is not deleted")
