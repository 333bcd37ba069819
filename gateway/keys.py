"""Finds out who makes a call, by its API key. A key that is no longer valid ends its streams, too."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from earmark.background import Background
from earmark.gateway.api_key import Secret
from earmark.gateway.caller import Caller, without_key
from earmark.gateway.errors import UnauthenticatedError
from earmark.gateway.failures import Failures
from earmark.gateway.read_batcher import ReadBatcher
from earmark.gateway.waits import wait_for_event
from earmark.hosts import is_loopback
from earmark.storage.bus import Bus
from earmark.storage.database import EVERY_TENANT, Connection, Database, DatabaseUnavailableError
from earmark.storage.queries import api_keys
from earmark.storage.queries.api_keys import ValidKey

# How long a key that was found valid counts as valid. It is checked again before, and at once when any key is
# changed.
VALID_SECONDS = 5.0
CHECK_SECONDS = 2.0
# A key without calls for so long is looked up again with the next one.
IDLE_SECONDS = 60.0
WRITE_SECONDS = 60.0
LAST_WRITE_SECONDS = 5.0

log = structlog.get_logger("gateway")


@dataclass(slots=True, eq=False)
class _Known:
    """A key that counts as valid until `until`, and when a call used it last, both by the loop's clock."""

    key: ValidKey
    caller_scopes: frozenset[str]
    until: float
    used: float


class Keys:
    """The keys that calls have used lately, and whether calls need one."""

    def __init__(self, system: Database, bus: Bus, host: str) -> None:
        """`system` sees the rows of all tenants. `host`: where the gateway listens."""
        self._system = system
        self._bus = bus
        self._is_local = is_loopback(host)
        # None: unknown.
        self._has_keys: bool | None = None
        self._known: dict[str, _Known] = {}
        self._failures = Failures()
        # By key, when a call used it last; those that are not written yet.
        self._used: dict[UUID, float] = {}
        # By key, None for calls without one: the tasks of the streams, and those that have to end.
        self._streams: defaultdict[UUID | None, set[asyncio.Task[Any]]] = defaultdict(set)
        self._ended: set[asyncio.Task[Any]] = set()
        self._lookups = ReadBatcher(system, _valid)

    @property
    def are_needed(self) -> bool:
        """Whether calls need a key. They do not on loopback, as long as none was ever made."""
        return self._has_keys is not False or not self._is_local

    @asynccontextmanager
    async def watched(self, background: Background) -> AsyncIterator[None]:
        """Inside the block, follows what happens to the keys. Raises DatabaseUnavailableError."""
        await self.refresh()
        tasks = [
            background.start("watching API keys", self._follow),
            background.start("recording the use of API keys", self._write_regularly),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            with suppress(DatabaseUnavailableError, TimeoutError):
                async with asyncio.timeout(LAST_WRITE_SECONDS):
                    await self.write_used()

    async def caller(self, metadata: Iterable[tuple[str, Any]], address: str) -> Caller:
        """Who makes a call with this metadata.

        Raises UnauthenticatedError, QuotaError if the address has tried too many keys that are none, and
        DatabaseUnavailableError.
        """
        text = _text_of(metadata)
        if text is None:
            if self.are_needed:
                raise _missing(has_keys=self._has_keys is not False)
            return without_key(address)
        secret, now = Secret.parse(text), _now()
        if secret is None:
            raise _invalid()
        known = self._known.get(secret.lookup)
        if known is None or known.until <= now:
            known = await self._look_up(secret, address)
        if known is None or not secret.has_hash(known.key.sha256):
            self._failures.add(address, now)
            raise _invalid()
        known.used = self._used[known.key.id] = now
        key = known.key
        return Caller(key.tenant_id, address, key.name, key.id, known.caller_scopes)

    @contextmanager
    def stream(self, caller: Caller) -> Iterator[None]:
        """Inside the block, the current task is cancelled once this caller may make no calls any more."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a stream runs in a task")
        tasks = self._streams[caller.key_id]
        tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if task not in self._ended:
                raise
            task.uncancel()
            raise _invalid() from None
        finally:
            self._ended.discard(task)
            tasks.discard(task)
            if not tasks and self._streams.get(caller.key_id) is tasks:
                del self._streams[caller.key_id]

    async def refresh(self) -> None:
        """Checks the keys that are known, and ends the streams of those that are not valid any more."""
        began = _now()
        for lookup, known in list(self._known.items()):
            if known.used < began - IDLE_SECONDS and known.key.id not in self._streams:
                del self._known[lookup]
        checked = list(self._known)
        async with self._system.connection() as connection:
            # Keys are never deleted.
            self._has_keys = self._has_keys or await api_keys.any_key(connection)
            found = await api_keys.valid(connection, checked) if checked else {}
        for lookup in checked:
            # Another refresh may have removed it meanwhile.
            if (before := self._known.get(lookup)) is None:
                continue
            if (key := found.get(lookup)) is None:
                del self._known[lookup]
                self._end_streams(before.key.id)
            else:
                before.until = _until(key, began)
        if self.are_needed:
            self._end_streams(None)

    async def write_used(self) -> None:
        """Stores when the keys were used last; if that fails, the next write does."""
        if not self._used:
            return
        used, self._used = self._used, {}
        now = _now()
        try:
            async with self._system.connection() as connection:
                await api_keys.mark_used(connection, list(used), [now - at for at in used.values()])
        except BaseException:
            self._used = used | self._used
            raise

    async def _look_up(self, secret: Secret, address: str) -> _Known | None:
        """Reads the key, and remembers it if it is this one. Raises QuotaError."""
        began = _now()
        # A key that was valid lately is looked up also for an address that has tried many others.
        if secret.lookup not in self._known:
            self._failures.check(address, began)
        key = await self._lookups.get(EVERY_TENANT, secret.lookup)
        if key is None or not secret.has_hash(key.sha256):
            return None
        known = self._known.get(secret.lookup)
        if known is None:
            known = self._known[secret.lookup] = _Known(key, frozenset(key.scopes), 0.0, began)
        known.until = _until(key, began)
        return known

    def _end_streams(self, key_id: UUID | None) -> None:
        for task in self._streams.get(key_id, ()):
            if task not in self._ended:
                self._ended.add(task)
                task.cancel()

    async def _follow(self) -> None:
        with self._bus.subscribe(api_keys.TOPIC) as woken:
            while True:
                woken.clear()
                try:
                    await self.refresh()
                except DatabaseUnavailableError as error:
                    log.warning("API keys cannot be checked; trying again", error=str(error))
                await wait_for_event(woken, CHECK_SECONDS)

    async def _write_regularly(self) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            try:
                await self.write_used()
            except DatabaseUnavailableError as error:
                log.warning("the use of API keys is recorded later", error=str(error))


async def _valid(connection: Connection, _tenant: str, lookups: Collection[str]) -> dict[str, ValidKey]:
    return await api_keys.valid(connection, lookups)


def _until(key: ValidKey, read: float) -> float:
    """Until when a key counts as valid that was read at a time, by the loop's clock."""
    return read + min(VALID_SECONDS, VALID_SECONDS if key.seconds_left is None else key.seconds_left)


def _text_of(metadata: Iterable[tuple[str, Any]]) -> str | None:
    """The key in a call's metadata; None if it has none. What has another form is an invalid key."""
    found: str | None = None
    for name, value in metadata:
        if name == "authorization":
            scheme, _, key = str(value).partition(" ")
            return key.strip() if scheme.lower() == "bearer" else ""
        if name == "x-api-key":
            found = str(value)
    return found


def _missing(*, has_keys: bool) -> UnauthenticatedError:
    if has_keys:
        return UnauthenticatedError(
            "API_KEY_MISSING",
            "this call needs an API key, in the metadata as 'authorization: Bearer em_...' or"
            " 'x-api-key: em_...': ask those who run this installation for one",
        )
    return UnauthenticatedError(
        "API_KEY_MISSING",
        "this gateway listens beyond loopback, where each call needs an API key, and none was made yet: run"
        " `earmark keys bootstrap` on its machine, with its settings",
    )


def _invalid() -> UnauthenticatedError:
    return UnauthenticatedError(
        "API_KEY_INVALID", "this API key is not valid: it is unknown, was revoked, or has expired"
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
