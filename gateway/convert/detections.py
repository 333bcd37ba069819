"""Converts between the public messages of detection and those of the trainer."""

from earmark.internal.v1 import trainer_service_pb2 as trainer_pb
from earmark.storage.records import Model
from earmark.v1 import detection_service_pb2 as pb


def detect_start_request(
    model: Model, start: pb.DetectRequest.Start, caller: str
) -> trainer_pb.DetectRequest:
    """The first message to a trainer: the model's objects, the caller and its configuration."""
    return trainer_pb.DetectRequest(
        start=trainer_pb.DetectRequest.Start(
            weights=model.weights,
            model_config=model.model_config,
            config=start.config,
            sha256=model.sha256,
            live=start.live if start.HasField("live") else None,
            caller=caller,
        )
    )


def detect_summary_response(
    model: Model, summary: trainer_pb.DetectResponse.Summary, detection_count: int
) -> pb.DetectResponse:
    """The last message to the caller: the length of the audio, the number of detections and the model."""
    return pb.DetectResponse(
        summary=pb.DetectResponse.Summary(
            duration_ms=summary.duration_ms, detection_count=detection_count, model_id=str(model.id)
        )
    )
