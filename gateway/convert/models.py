"""Converts models from records to messages, and their exports between the two contracts."""

from collections.abc import Mapping

from earmark.gateway.convert.metrics import MetricsView, eval_metrics_message
from earmark.gateway.convert.values import etag, from_json, timestamp
from earmark.internal.v1 import trainer_service_pb2 as trainer_pb
from earmark.storage.records import Model
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
