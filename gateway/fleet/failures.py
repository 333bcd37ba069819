"""What a trainer says about a call that failed."""

from dataclasses import dataclass

import structlog
from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status

from earmark.gateway.errors import EarmarkError, StoredObjectDamagedError, model_outdated
from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.storage.records import Model

log = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class TrainerFailure:
    """The kind of the failure, and the name of its reason. A lost connection has neither."""

    kind: pb.FailureKind = pb.FAILURE_KIND_UNSPECIFIED
    reason: str = ""


def failure_of(error: aio.AioRpcError) -> TrainerFailure:
    """Reads the details of the call's status."""
    status = rpc_status.from_call(error)
    info, failure = error_details_pb2.ErrorInfo(), pb.Failure()
    for detail in status.details if status else ():
        detail.Unpack(info)
        detail.Unpack(failure)
    return TrainerFailure(failure.kind, info.reason)


def error_of_model(model: Model, failure: TrainerFailure, details: str) -> EarmarkError | None:
    """The caller's error for a trainer that cannot run the stored model; None for any other failure."""
    if failure.reason == "STORED_DATA_DAMAGED":
        log.error("a model is damaged", model=str(model.id), cause=details)
        return StoredObjectDamagedError(
            f"the stored files of model {model.id} are missing or damaged: train it again"
        )
    if failure.reason == "MODEL_OUTDATED":
        return model_outdated(
            str(model.id),
            f"model {model.id} is outdated: {details}, with the dataset and the config of training job "
            f"{model.training_job_id}, and without base_model_id",
        )
    return None
