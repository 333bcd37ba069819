"""Errors that end a call to the trainer, independent of gRPC."""


class CallError(Exception):
    """`reason` names an earmark.v1.ErrorReason or is NO_FREE_SLOT.

    `field` is the request field that a BadRequest detail names; empty if no field is at fault.
    """

    def __init__(self, reason: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field


class StoppingError(CallError):
    """The work did not fail, but this trainer will not continue it. Another trainer can."""

    def __init__(self) -> None:
        super().__init__(
            "STOPPING",
            "the trainer is stopping, or was asked to hand this work back: another can continue it",
        )
