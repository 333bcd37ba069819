"""Errors that end a call to the trainer, independent of gRPC."""

# A status lies in the metadata, which gRPC limits: a larger one reaches the caller without code and details.
MESSAGE_BYTES = 1000


class CallError(Exception):
    """`reason`: an earmark.v1.ErrorReason, NO_FREE_SLOT, GRANT_REFUSED or NOT_GRANTED.

    A long message is shortened.

    `field` is the request field that a BadRequest detail names; empty if no field is at fault.
    """

    def __init__(self, reason: str, message: str, field: str = "") -> None:
        encoded = message.encode()
        is_long = len(encoded) > MESSAGE_BYTES
        super().__init__(encoded[:MESSAGE_BYTES].decode(errors="ignore") + "…" if is_long else message)
        self.reason = reason
        self.field = field


class StoppingError(CallError):
    """The work did not fail, but this trainer will not continue it. Another trainer can."""

    def __init__(self) -> None:
        super().__init__(
            "STOPPING",
            "the trainer is stopping, or was asked to hand this work back: another can continue it",
        )
