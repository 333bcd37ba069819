"""What a single caller may use of a gateway at once, so that others are served beside it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from earmark.gateway.caller import caller
from earmark.gateway.errors import QuotaError

RETRY_SECONDS = 1.0
_KINDS = {
    "/earmark.v1.AudioService/UploadAudio": "uploads",
    "/earmark.v1.AudioService/DownloadAudio": "downloads",
    "/earmark.v1.DetectionService/Detect": "detections",
    "/earmark.v1.DetectionService/DownloadDetections": "downloads",
    "/earmark.v1.DetectionService/UploadRecording": "uploads",
    "/earmark.v1.ModelService/ExportModel": "downloads",
}
MESSAGE_BYTES = "message_bytes"


def kind_of_stream(method: str) -> str:
    """The name of the limit for streams of this rpc."""
    return _KINDS.get(method, "watches")


class Shares:
    """Counts what callers use, and refuses what exceeds the limits of one caller."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = limits
        self._used: Counter[tuple[str, str]] = Counter()
        # Of all callers together.
        self.totals: Counter[str] = Counter()

    @contextmanager
    def taken(self, kind: str, amount: int = 1) -> Iterator[None]:
        """Counts `amount` for the current caller inside the block. Raises QuotaError."""
        key, limit = (caller(), kind), self._limits[kind]
        if self._used[key] + amount > limit:
            what = kind.replace("_", " ")
            raise QuotaError(
                f"caller/{kind}",
                limit,
                f"a caller may have {limit} {what} at a time, and no more: wait until some end",
                RETRY_SECONDS,
            )
        self._count(key, amount)
        try:
            yield
        finally:
            self._count(key, -amount)

    def _count(self, key: tuple[str, str], amount: int) -> None:
        self.totals[key[1]] += amount
        self._used[key] += amount
        if not self._used[key]:
            del self._used[key]


class Scratch:
    """The bytes of unfinished uploads on disk, of all callers together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def add(self, size: int) -> None:
        """Raises QuotaError if that is too much."""
        if self.used + size > self.limit:
            raise QuotaError(
                "gateway/unfinished_upload_bytes",
                self.limit,
                f"all unfinished uploads have {self.used} bytes, and {self.limit} are allowed: "
                "try again when some have ended",
                RETRY_SECONDS,
            )
        self.used += size

    def remove(self, size: int) -> None:
        self.used -= size
