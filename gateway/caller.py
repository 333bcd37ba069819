"""The tenant of the current call and who makes it, as context variables."""

from contextvars import ContextVar

# There is only one tenant until API keys exist.
DEFAULT_TENANT = "default"

_caller: ContextVar[str] = ContextVar("caller", default="")
_tenant: ContextVar[str] = ContextVar("tenant", default=DEFAULT_TENANT)


def tenant() -> str:
    """The tenant whose rows the current call may read and change."""
    return _tenant.get()


def caller() -> str:
    """Whose shares the current call uses; empty outside of calls."""
    return _caller.get()


def set_caller(peer: str) -> None:
    """Begins a call of this peer, as gRPC names it. Until there are API keys, a caller is an address."""
    _caller.set(peer.rpartition(":")[0] if peer.startswith(("ipv4:", "ipv6:")) else peer)
