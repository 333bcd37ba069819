"""Makes the bodies of jobs' events as they are stored: the JSON form of the oneof of their messages."""

from datetime import datetime
from typing import Any

from earmark.gateway.convert.values import to_json
from earmark.internal.v1 import trainer_service_pb2 as trainer_pb
from earmark.storage.queries.detection_jobs import Progress
from earmark.storage.records import DetectionJob
from earmark.v1 import training_service_pb2 as pb

Body = dict[str, Any]


def status_changed(before: str, after: str, reason: str, kind: str = "training") -> Body:
    """The body of a status change, from stored status names. `before` is "unspecified" for a new job.

    `kind`: training or detection.
    """
    prefix = f"{kind.upper()}_JOB_STATUS_"
    return {
        "status_changed": {"from": prefix + before.upper(), "to": prefix + after.upper(), "reason": reason}
    }


def notice(code: str, message: str) -> Body:
    """The body of a notice from the gateway. `code` is a NoticeCode without its prefix."""
    return {"notice": {"code": f"NOTICE_CODE_{code}", "message": message}}


def trainer_notice(sent: pb.TrainingEvent.Notice) -> Body:
    """The body of a notice from the trainer."""
    return {"notice": to_json(sent)}


def progress(sent: trainer_pb.TrainResponse.Progress, eta: datetime) -> Body:
    """The body of a progress event. The trainer sends the remaining seconds; the event has the time `eta`."""
    return {
        "progress": {
            "epoch": sent.epoch,
            "step": sent.step,
            "steps": sent.steps,
            "fraction": sent.fraction,
            "eta": eta.isoformat(),
        }
    }


def epoch_completed(completed: pb.TrainingEvent.EpochCompleted) -> Body:
    """The body of a completed epoch's event, with its metrics."""
    return {"epoch_completed": to_json(completed)}


def model_created(model_id: str) -> Body:
    """The body of the event that the job has produced its model."""
    return {"model_created": {"model_id": model_id}}


def files_done(job: DetectionJob, added: Progress) -> Body:
    """The body of the event that a detection job has more results than `job` shows."""
    return {
        "progress": {
            "completed_files": job.completed_files + added.completed_files,
            "failed_files": job.failed_files + added.failed_files,
            "total_files": job.total_files,
            "total_detections": job.total_detections + added.detections,
            "audio_ms": job.audio_ms + added.audio_ms,
        }
    }
