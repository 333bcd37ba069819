"""The audit log: who has changed what, and whose calls were refused. It is written in batches."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self
from uuid import UUID

import structlog
from google.protobuf.message import Message
from uuid_utils.compat import uuid7

from earmark.background import Background
from earmark.gateway.audited_ids import Ids, ids_of, printable
from earmark.gateway.caller import Caller
from earmark.gateway.refusals import Refusals
from earmark.storage.database import Database, DatabaseUnavailableError
from earmark.storage.queries import audit_entries
from earmark.storage.queries.audit_entries import NewEntry
from earmark.tracing import UNTRACED, Span

# Entries that wait to be written, at most; a second of the fastest calls is some thousands.
QUEUE = 20_000
BATCH = 500
# Entries are gathered for so long, which a gateway that is killed may lose.
LINGER_SECONDS = 0.25
RETRY_SECONDS = 1.0
LAST_WRITE_SECONDS = 5.0
# Of an entry, so many ids.
MOST_IDS = 20
# Reads of a key from an address have one entry in so much time.
USE_SECONDS = 3600.0
USES = 50_000

_REFUSED = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})

log = structlog.get_logger("audit")


# Gets a call and its seconds.
Ended = Callable[["AuditedCall", float], None]


def _ignore(_call: "AuditedCall", _seconds: float) -> None:
    """For calls that nobody counts."""


@dataclass(slots=True)
class _Waiting:
    """An entry, and when its call began by the loop's clock."""

    entry: NewEntry
    began: float


class Audit:
    """What was recorded and is not written yet. `lost`: how many entries found no room."""

    def __init__(self) -> None:
        self.lost = 0
        self.refusals = Refusals()
        self._is_closed = False
        self._queue: deque[_Waiting] = deque()
        self._filled = asyncio.Event()
        # By key and address, when there was an entry of a read.
        self._uses: OrderedDict[tuple[UUID, str], float] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many entries are not written yet."""
        return len(self._queue)

    def call(
        self,
        rpc: str,
        request_id: str,
        address: str,
        ended: Ended = _ignore,
        span: Span = UNTRACED,
        *,
        is_read: bool,
    ) -> "AuditedCall":
        """A call that begins now. Leave its block when it has ended. Of reads, only few are recorded."""
        return AuditedCall(self, rpc, request_id, address, ended, span, is_read=is_read)

    def record(self, call: "AuditedCall", left_out: int = 0) -> None:
        """Adds an entry of the call as it is now."""
        if self._is_closed:
            # A stream whose caller was gone may be cleaned up so late.
            _log_unwritten(_entry(call, left_out))
            return
        if len(self._queue) >= QUEUE:
            if not self.lost:
                log.error("the queue of the audit log is full: calls have no entries", queue=QUEUE)
            self.lost += 1
            return
        self._queue.append(_Waiting(_entry(call, left_out), call.began))
        self._filled.set()

    def is_first_use(self, key_id: UUID, address: str, now: float) -> bool:
        """Whether the key was not used for reading from the address lately. From now on it was."""
        if now - self._uses.get((key_id, address), -USE_SECONDS) < USE_SECONDS:
            return False
        self._uses[key_id, address] = now
        self._uses.move_to_end((key_id, address))
        if len(self._uses) > USES:
            self._uses.popitem(last=False)
        return True

    @asynccontextmanager
    async def writing(self, system: Database, background: Background) -> AsyncIterator[None]:
        """Writes entries inside the block, and at its end what is left. The calls must have ended by then.

        If the database does not take the last ones, the log of the gateway has them.
        """
        task = background.start("writing the audit log", lambda: self._write_on(system))
        try:
            yield
        finally:
            task.cancel()
            # A write that was interrupted has put its entries back.
            await asyncio.gather(task, return_exceptions=True)
            try:
                with suppress(DatabaseUnavailableError, TimeoutError):
                    async with asyncio.timeout(LAST_WRITE_SECONDS):
                        await self.write(system)
            finally:
                self._is_closed = True
                for waiting in self._queue:
                    _log_unwritten(waiting.entry)
                self._queue.clear()

    async def write(self, system: Database) -> None:
        """Writes all that waits. Raises DatabaseUnavailableError; what is not written waits on."""
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            try:
                async with system.connection() as connection:
                    await audit_entries.add(connection, _aged(batch))
            except BaseException:
                # It may be in the table nevertheless; it is not added twice.
                self._queue.extendleft(reversed(batch))
                raise

    async def _write_on(self, system: Database) -> None:
        while True:
            await self._filled.wait()
            await asyncio.sleep(LINGER_SECONDS)
            self._filled.clear()
            try:
                await self.write(system)
            except DatabaseUnavailableError as error:
                log.warning("the audit log is written later", waiting=self.waiting, error=str(error))
                self._filled.set()
                await asyncio.sleep(RETRY_SECONDS)


class AuditedCall:
    """What is known about a call so far. Its block ends with the call, and records it if it is to be."""

    def __init__(
        self,
        audit: Audit,
        rpc: str,
        request_id: str,
        address: str,
        ended: Ended,
        span: Span,
        *,
        is_read: bool,
    ) -> None:
        self._audit = audit
        self._ended = ended
        self._is_read = is_read
        self._is_let_in = False
        self._has_asked = False
        self.rpc = rpc
        self.request_id = request_id
        self.address = address
        self.span = span
        self.began = _now()
        # None as long as nobody knows.
        self.caller: Caller | None = None
        self.ids: Ids = []
        # Of a call that ends without saying how.
        self.code = "CANCELLED"
        self.reason = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended(self, _now() - self.began)
        if self._is_let_in and not self._is_read:
            self._audit.record(self)
        elif self.code in _REFUSED or (self.code == "RESOURCE_EXHAUSTED" and not self._is_let_in):
            left_out = self._audit.refusals.take(self.address, _now())
            if left_out is not None:
                self._audit.record(self, left_out)

    def let_in(self) -> None:
        """The caller may make this call."""
        self._is_let_in = True
        key_id = None if self.caller is None else self.caller.key_id
        if self._is_read and key_id and self._audit.is_first_use(key_id, self.address, self.began):
            # A watch may go on for days.
            self.ends("OK")
            self._audit.record(self)
            # How it does end is not known yet.
            self.code = "CANCELLED"

    def asks(self, message: Message) -> None:
        """This is a request of the call; the first says what the call is about."""
        if not self._is_read and not self._has_asked:
            self._has_asked = True
            self.ids += ids_of(message)

    def answers(self, message: Message) -> None:
        """This is the reply."""
        if not self._is_read:
            self.ids += ids_of(message)

    def ends(self, code: str, reason: str = "") -> None:
        """The call ends with this status."""
        self.code, self.reason = code, reason


def _log_unwritten(entry: NewEntry) -> None:
    log.error("an entry of the audit log is in no table", entry=str(entry))


def _entry(call: AuditedCall, left_out: int) -> NewEntry:
    caller = call.caller
    ids = list(dict.fromkeys(call.ids))
    if len(ids) > MOST_IDS:
        ids[MOST_IDS:] = [("more", str(len(ids) - MOST_IDS))]
    return NewEntry(
        id=uuid7(),
        request_id=UUID(call.request_id),
        seconds=0.0,
        tenant=caller.tenant if caller else "",
        api_key_id=caller.key_id if caller else None,
        caller=printable(caller.name) if caller else "",
        address=printable(call.address),
        rpc=printable(call.rpc),
        ids=ids,
        code=call.code,
        reason=call.reason,
        left_out=left_out,
    )


def _aged(batch: Sequence[_Waiting]) -> list[NewEntry]:
    """The entries with the time since their calls began: the database knows what time it is."""
    now = _now()
    return [replace(waiting.entry, seconds=now - waiting.began) for waiting in batch]


def _now() -> float:
    return asyncio.get_running_loop().time()
