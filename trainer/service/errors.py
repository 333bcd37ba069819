"""Why a call to the trainer ends without success, free of gRPC."""


class CallError(Exception):
    """`reason` names an earmark.v1.ErrorReason, or is NO_FREE_SLOT; `field` is what a BadRequest names."""

    def __init__(self, reason: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field
