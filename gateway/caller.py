"""Who makes the current call, as a context variable: an API key, or an address while no key is needed."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from uuid import UUID

# Whose calls are those without a key.
DEFAULT_TENANT = "default"
SCOPES = frozenset({"read", "write", "train", "detect", "admin"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call. `key_id` is None if it has no key; then `address` stands for the caller.

    `name` is what the tenant's users see beside what the call has changed.
    """

    tenant: str
    address: str
    name: str
    key_id: UUID | None = None
    scopes: frozenset[str] = field(default=SCOPES)

    @property
    def share(self) -> str:
        """Whose limits the call uses."""
        return self.address if self.key_id is None else f"key/{self.key_id}"

    @property
    def turn(self) -> str:
        """Who waits in turn with others: a tenant's keys wait together."""
        return self.address if self.key_id is None else f"tenant/{self.tenant}"


_caller: ContextVar[Caller] = ContextVar("caller")


def current() -> Caller:
    """Who makes the current call. Raises LookupError outside of calls."""
    return _caller.get()


def tenant() -> str:
    """The tenant whose rows the current call may read and change. Raises LookupError outside of calls."""
    return _caller.get().tenant


def caller() -> str:
    """The name of who makes the current call. Raises LookupError outside of calls."""
    return _caller.get().name


def begin_call(by: Caller) -> None:
    """From now on, the context is that of a call by this caller."""
    _caller.set(by)


def address_of(peer: str) -> str:
    """The address of a peer, as gRPC names it, without its port."""
    return peer.rpartition(":")[0] if peer.startswith(("ipv4:", "ipv6:")) else peer


def without_key(address: str) -> Caller:
    """The caller of a call that needs no key."""
    return Caller(DEFAULT_TENANT, address, address)
