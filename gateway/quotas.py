"""What each tenant may use, and the refusal of what exceeds it.

The limits of all tenants, and how much each has searched today, are read every two seconds, and at once when
a quota is changed: a call reads them from memory. What is stored is compared in the transaction that stores.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta

import structlog

from earmark.background import Background
from earmark.gateway.errors import QuotaError
from earmark.gateway.waits import wait_for_event
from earmark.storage.bus import Bus
from earmark.storage.database import Connection, Database, DatabaseUnavailableError
from earmark.storage.queries import quotas
from earmark.storage.queries.quotas import Stored
from earmark.storage.records import Quota

REFRESH_SECONDS = 2.0
# If the database is unavailable for longer while the gateway stops, the last two seconds are lost.
LAST_WRITE_SECONDS = 5.0
# Retry delay for a place in the queue: jobs take minutes, so none becomes free at once.
JOB_RETRY_SECONDS = 10.0

log = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a tenant may use, 0 for any amount: as records.Quota, without unknown ones."""

    storage_bytes: int = 0
    audio_seconds: int = 0
    files: int = 0
    waiting_training_jobs: int = 0
    running_training_jobs: int = 0
    waiting_detection_jobs: int = 0
    running_detection_jobs: int = 0
    detection_seconds_per_day: int = 0
    streams: int = 0
    requests_per_second: int = 0

    def with_own(self, quota: Quota) -> "Limits":
        """These limits, but for those that the tenant's own quota has."""
        own = {field.name: getattr(quota, field.name) for field in fields(quota)}
        return replace(self, **{name: limit for name, limit in own.items() if limit is not None})


@dataclass(slots=True)
class _Bucket:
    """The requests that a tenant may still make, as of a time in seconds."""

    tokens: float
    at: float


class Quotas:
    """The limits of all tenants in one gateway."""

    def __init__(self, system: Database, bus: Bus, defaults: Limits) -> None:
        """`system` sees the rows of all tenants. `defaults`: of tenants without a quota of their own."""
        self._system = system
        self._bus = bus
        self.defaults = defaults
        self._limits: dict[str, Limits] = {}
        self._buckets: dict[str, _Bucket] = {}
        # Milliseconds of audio by tenant: searched today as last read, and what is not written yet.
        self._searched: Counter[str] = Counter()
        self._unwritten: Counter[str] = Counter()

    def of(self, tenant: str) -> Limits:
        """The limits of a tenant."""
        return self._limits.get(tenant, self.defaults)

    @asynccontextmanager
    async def followed(self, background: Background) -> AsyncIterator[None]:
        """Inside the block, follows what is changed and used elsewhere. Raises DatabaseUnavailableError."""
        await self.refresh()
        task = background.start("watching quotas", self._follow)
        try:
            yield
        finally:
            task.cancel()
            with suppress(DatabaseUnavailableError, TimeoutError):
                async with asyncio.timeout(LAST_WRITE_SECONDS):
                    await self.write()

    async def refresh(self) -> None:
        """Reads the limits, and what was searched today."""
        async with self._system.connection() as connection:
            own = await quotas.of_all(connection)
            searched = await quotas.searched_today(connection)
        self._limits = {tenant: self.defaults.with_own(quota) for tenant, quota in own.items()}
        self._searched = Counter(searched)

    async def write(self) -> None:
        """Stores what was searched; if that fails, the next write does."""
        if not self._unwritten:
            return
        written, self._unwritten = self._unwritten, Counter()
        self._searched.update(written)
        try:
            async with self._system.connection() as connection:
                await quotas.add_searched(connection, written)
        except BaseException:
            self._searched.subtract(written)
            self._unwritten.update(written)
            raise

    def announce(self) -> None:
        """Makes a changed quota count in all gateways."""
        self._bus.publish(quotas.TOPIC)

    def admit(self, tenant: str) -> None:
        """Counts a request. Raises QuotaError if the tenant makes too many a second.

        A token bucket: it has room for the requests of a second, which may come at once.
        """
        limit = self.of(tenant).requests_per_second
        if not limit:
            return
        now = asyncio.get_running_loop().time()
        bucket = self._buckets.get(tenant)
        if bucket is None:
            bucket = self._buckets[tenant] = _Bucket(limit, now)
        bucket.tokens = min(limit, bucket.tokens + (now - bucket.at) * limit)
        bucket.at = now
        if bucket.tokens < 1:
            message = (
                f"tenant {tenant} may make {limit} requests a second to a gateway: send them more slowly"
            )
            subject = f"tenant/{tenant}/requests_per_second"
            raise QuotaError(subject, limit, message, (1 - bucket.tokens) / limit, used=limit)
        bucket.tokens -= 1

    def requests(self, tenant: str) -> int:
        """How many of the requests of a second the tenant has just made; 0 without a limit."""
        limit, bucket = self.of(tenant).requests_per_second, self._buckets.get(tenant)
        if not limit or bucket is None:
            return 0
        seconds = asyncio.get_running_loop().time() - bucket.at
        return int(limit - min(limit, bucket.tokens + seconds * limit))

    def searched_seconds(self, tenant: str) -> int:
        """How much audio the tenant has searched today (UTC)."""
        return (self._searched[tenant] + self._unwritten[tenant]) // 1000

    def add_searched(self, tenant: str, audio_ms: int) -> None:
        """Counts audio that a call of the tenant has just searched."""
        if audio_ms > 0:
            self._unwritten[tenant] += audio_ms

    def check_search(self, tenant: str) -> None:
        """Raises QuotaError if the tenant has searched as much today as it may."""
        limit, used = self.of(tenant).detection_seconds_per_day, self.searched_seconds(tenant)
        if limit and used >= limit:
            raise QuotaError(
                f"tenant/{tenant}/detection_seconds_per_day",
                limit,
                f"tenant {tenant} has searched {used} s of audio today, and may search {limit} s a day: wait"
                " until midnight (UTC)",
                _seconds_to_midnight(),
                used=used,
            )

    async def check_room(self, connection: Connection, tenant: str, size_bytes: int) -> None:
        """Raises QuotaError if the tenant may not store a further file of this size, as of now.

        So that no bytes are sent in vain. `check_stored` is what prevents that too much is stored.
        """
        limits = self.of(tenant)
        if limits.storage_bytes or limits.files or limits.audio_seconds:
            now = await quotas.stored(connection, tenant)
            _check_stored(
                tenant, limits, replace(now, bytes=now.bytes + size_bytes, files=now.files + 1), size_bytes
            )

    async def check_stored(self, connection: Connection, tenant: str, size_bytes: int) -> None:
        """Raises QuotaError if the tenant stores too much with the file of this size that was just added.

        Comes last in the transaction: until it ends, it locks out the tenant's other new files.
        """
        limits = self.of(tenant)
        if limits.storage_bytes or limits.files or limits.audio_seconds:
            _check_stored(tenant, limits, await quotas.locked_stored(connection, tenant), size_bytes)

    async def _follow(self) -> None:
        with self._bus.subscribe(quotas.TOPIC) as woken:
            while True:
                woken.clear()
                try:
                    await self.write()
                    await self.refresh()
                except DatabaseUnavailableError as error:
                    log.warning("quotas cannot be read; trying again", error=str(error))
                await wait_for_event(woken, REFRESH_SECONDS)


def check_waiting(tenant: str, kind: str, limit: int, waiting: int) -> None:
    """Raises QuotaError if as many of the tenant's jobs wait as may. `kind`: training or detection."""
    if limit and waiting >= limit:
        raise QuotaError(
            f"tenant/{tenant}/waiting_{kind}_jobs",
            limit,
            f"{waiting} {kind} jobs of tenant {tenant} wait for a trainer, and {limit} may: cancel some, or"
            " create this one when some have begun",
            JOB_RETRY_SECONDS,
            used=waiting,
        )


def _check_stored(tenant: str, limits: Limits, stored: Stored, size_bytes: int) -> None:
    """Raises QuotaError if this is too much. `stored`: with a new file of `size_bytes`."""
    before, audio_seconds = stored.bytes - size_bytes, stored.audio_ms // 1000
    if limits.storage_bytes and stored.bytes > limits.storage_bytes:
        message = (
            f"tenant {tenant} stores {before} bytes and may store {limits.storage_bytes}, so a file of"
            f" {size_bytes} has no room: delete what is not needed"
        )
        raise QuotaError(f"tenant/{tenant}/storage_bytes", limits.storage_bytes, message, used=before)
    if limits.files and stored.files > limits.files:
        message = (
            f"tenant {tenant} has {stored.files - 1} audio files and recordings, and may have {limits.files}:"
            " delete what is not needed"
        )
        raise QuotaError(f"tenant/{tenant}/files", limits.files, message, used=stored.files - 1)
    if limits.audio_seconds and audio_seconds >= limits.audio_seconds:
        message = (
            f"the audio files of tenant {tenant} have {audio_seconds} s, and {limits.audio_seconds} s are"
            " allowed: delete what is not needed"
        )
        raise QuotaError(f"tenant/{tenant}/audio_seconds", limits.audio_seconds, message, used=audio_seconds)


def _seconds_to_midnight() -> float:
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return (midnight - now).total_seconds()
