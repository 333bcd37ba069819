"""The stored bodies of a training job's events: the JSON form of TrainingEvent's oneof."""

from datetime import datetime
from typing import Any

from earmark.trainer.v1 import trainer_service_pb2 as trainer_pb
from earmark.v1 import training_service_pb2 as pb

from gateway.convert.values import to_json

Body = dict[str, Any]


def status_changed(before: str, after: str, reason: str) -> Body:
    """A change from one stored status to another. `before` is "unspecified" for the creation of a job."""
    prefix = "TRAINING_JOB_STATUS_"
    return {
        "status_changed": {"from": prefix + before.upper(), "to": prefix + after.upper(), "reason": reason}
    }


def notice(code: str, message: str) -> Body:
    """A notice of the gateway. `code` is a NoticeCode without its prefix."""
    return {"notice": {"code": f"NOTICE_CODE_{code}", "message": message}}


def trainer_notice(found: pb.TrainingEvent.Notice) -> Body:
    """A notice that the trainer sent."""
    return {"notice": to_json(found)}


def progress(found: trainer_pb.TrainResponse.Progress, eta: datetime) -> Body:
    """How far the training is. The trainer sends seconds to go, the event states the time of the end."""
    return {
        "progress": {
            "epoch": found.epoch,
            "step": found.step,
            "steps": found.steps,
            "fraction": found.fraction,
            "eta": eta.isoformat(),
        }
    }


def epoch_completed(completed: pb.TrainingEvent.EpochCompleted) -> Body:
    """The figures of an epoch."""
    return {"epoch_completed": to_json(completed)}


def model_created(model_id: str) -> Body:
    """The job's model exists."""
    return {"model_created": {"model_id": model_id}}
