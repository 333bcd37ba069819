"""Who calls, and under which id: set once per call, read where it is needed."""

from contextvars import ContextVar

# One tenant until keys come.
DEFAULT_TENANT = "default"

_tenant: ContextVar[str] = ContextVar("tenant", default=DEFAULT_TENANT)


def tenant() -> str:
    """The tenant whose rows this call may see."""
    return _tenant.get()
