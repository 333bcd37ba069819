"""What one caller, or one tenant, may use of a gateway at once, so that others are served beside it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from earmark.gateway.caller import current
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
    """Counts what callers use, and refuses what exceeds the limits of one caller or of one tenant's keys."""

    def __init__(self, limits: Mapping[str, int], callers_per_tenant: int = 1) -> None:
        """`limits`: of a caller. The keys of a tenant together may have as much as so many callers."""
        self._limits = limits
        self._callers_per_tenant = callers_per_tenant
        self._used: Counter[tuple[str, str]] = Counter()
        # Of all callers together.
        self.totals: Counter[str] = Counter()

    @contextmanager
    def taken(self, kind: str, amount: int = 1) -> Iterator[None]:
        """Counts `amount` for the current caller inside the block. Raises QuotaError."""
        by, limit = current(), self._limits[kind]
        self._check(by.share, kind, amount, limit, "caller")
        owners = [by.share]
        if by.key_id is not None:
            self._check(by.turn, kind, amount, limit * self._callers_per_tenant, "tenant")
            owners.append(by.turn)
        self._count(owners, kind, amount)
        try:
            yield
        finally:
            self._count(owners, kind, -amount)

    def _check(self, owner: str, kind: str, amount: int, limit: int, who: str) -> None:
        if self._used[owner, kind] + amount > limit:
            what = kind.replace("_", " ")
            raise QuotaError(
                f"{who}/{kind}",
                limit,
                f"a {who} may have {limit} {what} at a time, and no more: wait until some end",
                RETRY_SECONDS,
            )

    def _count(self, owners: Sequence[str], kind: str, amount: int) -> None:
        self.totals[kind] += amount
        for owner in owners:
            self._used[owner, kind] += amount
            if not self._used[owner, kind]:
                del self._used[owner, kind]


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
