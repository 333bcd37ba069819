"""Why a call to the trainer ends without success, free of gRPC."""


class CallError(Exception):
    """`reason` names an earmark.v1.ErrorReason, or is NO_FREE_SLOT; `field` is what a BadRequest names."""

    def __init__(self, reason: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field


class StoppingError(CallError):
    """Nothing went wrong, but it does not go on here."""

    def __init__(self) -> None:
        super().__init__(
            "STOPPING", "the trainer is stopping, or was asked to hand this back: another can go on with it"
        )
