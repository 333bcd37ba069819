"""What a trainer says about a call that failed."""

from dataclasses import dataclass

from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status

from earmark.internal.v1 import trainer_service_pb2 as pb


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
