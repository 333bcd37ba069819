"""The tenant of the current call, as a context variable."""

from contextvars import ContextVar

# There is only one tenant until API keys exist.
DEFAULT_TENANT = "default"

_tenant: ContextVar[str] = ContextVar("tenant", default=DEFAULT_TENANT)


def tenant() -> str:
    """The tenant whose rows the current call may read and change."""
    return _tenant.get()
