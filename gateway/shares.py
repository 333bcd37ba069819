"""What one caller, or one tenant, may use of a gateway at once, so that others are served beside it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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

    def __init__(
        self,
        limits: Mapping[str, int],
        callers_per_tenant: int = 1,
        streams_of: Callable[[str], int] = lambda _: 0,
    ) -> None:
        """`limits`: of a caller. The keys of a tenant together may have as much as so many callers.

        `streams_of`: how many streams of all kinds a tenant may have; 0 for any number.
        """
        self._limits = limits
        self._callers_per_tenant = callers_per_tenant
        self._streams_of = streams_of
        self._used: Counter[tuple[str, str]] = Counter()
        # Of all callers together.
        self.totals: Counter[str] = Counter()

    @contextmanager
    def taken(self, kind: str, amount: int = 1) -> Iterator[None]:
        """Counts `amount` for the current caller inside the block. Raises QuotaError."""
        by, limit = current(), self._limits[kind]
        tenant = f"tenant/{by.tenant}"
        self._check(by.share, kind, amount, limit, "caller")
        counted = [(by.share, kind)]
        if by.key_id is not None:
            self._check(tenant, kind, amount, limit * self._callers_per_tenant, tenant)
            counted.append((tenant, kind))
        if kind != MESSAGE_BYTES:
            if streams := self._streams_of(by.tenant):
                self._check(tenant, "streams", amount, streams, tenant)
            counted.append((tenant, "streams"))
        self._count(counted, kind, amount)
        try:
            yield
        finally:
            self._count(counted, kind, -amount)

    def streams(self, tenant: str) -> int:
        """How many streams of all kinds the tenant has."""
        return self._used[f"tenant/{tenant}", "streams"]

    def _check(self, owner: str, kind: str, amount: int, limit: int, who: str) -> None:
        used = self._used[owner, kind]
        if used + amount > limit:
            what, whose = kind.replace("_", " "), who.partition("/")[0]
            raise QuotaError(
                f"{who}/{kind}",
                limit,
                f"a {whose} may have {limit} {what} at a time, and no more: wait until some end",
                RETRY_SECONDS,
                used=used,
            )

    def _count(self, counted: Sequence[tuple[str, str]], kind: str, amount: int) -> None:
        self.totals[kind] += amount
        for each in counted:
            self._used[each] += amount
            if not self._used[each]:
                del self._used[each]


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
