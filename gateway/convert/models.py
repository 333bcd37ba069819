"""Converts models from records to messages, and their exports between the two contracts."""

from collections.abc import Mapping

from earmark.gateway.convert.metrics import MetricsView, eval_metrics_message
from earmark.gateway.convert.values import etag, from_json, timestamp
from earmark.internal.v1 import trainer_service_pb2 as trainer_pb
from earmark.storage.records import Model, ModelAlias, ModelAliasMove, ModelUsage
from earmark.v1 import metrics_pb2, training_config_pb2
from earmark.v1 import model_service_pb2 as pb

DEFAULT_SAMPLE_RATE_HZ = 16_000
# The ending of an exported file's name, and its media type.
_FILES: Mapping[pb.ModelFormat, tuple[str, str]] = {
    pb.MODEL_FORMAT_NATIVE: ("zip", "application/zip"),
    pb.MODEL_FORMAT_ONNX: ("onnx", "application/octet-stream"),
}


def model_message(model: Model, view: MetricsView = metrics_pb2.METRICS_VIEW_FULL) -> pb.Model:
    """The model as the API shows it."""
    return pb.Model(
        id=str(model.id),
        training_job_id=str(model.training_job_id),
        dataset_id=str(model.dataset_id),
        name=model.name,
        description=model.description,
        artifact_types=model.artifact_types,
        eval_metrics=eval_metrics_message(model.eval_metrics, view),
        recommended_thresholds=model.recommended_thresholds,
        merge_windows_ms=model.merge_windows_ms,
        min_durations_ms=model.min_durations_ms,
        is_active=model.is_active,
        created_at=timestamp(model.created_at),
        updated_at=timestamp(model.updated_at),
        deleted_at=timestamp(model.deleted_at),
        etag=etag(model.version),
        size_bytes=model.size_bytes,
        sha256=model.sha256,
        config=from_json(model.config, training_config_pb2.TrainingConfig),
        best_epoch=model.best_epoch,
        aliases=model.aliases,
        annotation_set_id=str(model.annotation_set_id),
        annotation_set_version=model.annotation_set_version,
        audio_file_count=model.audio_file_count,
        audio_duration_ms=model.audio_duration_ms,
        earmark_version=model.earmark_version,
        frontend_version=model.frontend_version,
    )


def model_alias_message(alias: ModelAlias) -> pb.ModelAlias:
    """The alias as the API shows it."""
    return pb.ModelAlias(
        alias=alias.alias,
        model_id=str(alias.model_id),
        etag=etag(alias.version),
        moved_at=timestamp(alias.moved_at),
    )


def model_alias_move_message(move: ModelAliasMove) -> pb.ModelAliasMove:
    """The move of an alias as the API shows it."""
    return pb.ModelAliasMove(
        from_model_id=str(move.from_model_id or ""),
        to_model_id=str(move.to_model_id or ""),
        etag=etag(move.version),
        moved_at=timestamp(move.moved_at),
        moved_by=move.moved_by,
    )


def model_usage_message(model: Model, usage: ModelUsage) -> pb.ModelUsage:
    """Who uses the model, as the API shows it."""
    return pb.ModelUsage(
        model_id=str(model.id),
        aliases=model.aliases,
        training_job_ids=map(str, usage.training_job_ids),
        training_job_count=usage.training_job_count,
        detection_job_ids=map(str, usage.detection_job_ids),
        detection_job_count=usage.detection_job_count,
        derived_model_ids=map(str, usage.derived_model_ids),
        derived_model_count=usage.derived_model_count,
        detection_count=usage.detection_count,
        last_detected_at=timestamp(usage.last_detected_at),
    )


def export_request(model: Model, request: pb.ExportModelRequest) -> trainer_pb.ExportModelRequest:
    """What a trainer is asked for: the model's objects, and what the caller wants to have."""
    return trainer_pb.ExportModelRequest(
        weights=model.weights,
        model_config=model.model_config,
        sha256=model.sha256,
        format=request.format,
        sample_rate_hz=request.sample_rate_hz or DEFAULT_SAMPLE_RATE_HZ,
    )


def export_response(
    model: Model, request: pb.ExportModelRequest, response: trainer_pb.ExportModelResponse
) -> pb.ExportModelResponse:
    """A trainer's message as the caller gets it: the file with a name and a media type, or its next bytes."""
    if not response.HasField("file"):
        return pb.ExportModelResponse(data=response.data)
    ending, media_type = _FILES[request.format]
    return pb.ExportModelResponse(
        file=pb.ExportModelResponse.File(
            filename=f"{model.id}.{ending}",
            size_bytes=response.file.size_bytes,
            sha256=response.file.sha256,
            media_type=media_type,
        )
    )
