"""The scopes that each rpc needs, as the contract states them. An rpc without any is never served."""

from collections.abc import Iterable
from typing import Any

from google.protobuf import descriptor_pool

from earmark.gateway.caller import SCOPES, Caller
from earmark.gateway.errors import ScopeMissingError
from earmark.v1 import scope_pb2

_OURS = "/earmark."


class UnguardedError(Exception):
    """An rpc has no scope, so that nobody can say who may call it."""


def scopes_of(method: str) -> frozenset[str]:
    """The scopes of which a caller needs one for "/earmark.v1.Service/Rpc". Raises UnguardedError."""
    rpc = method.removeprefix("/").replace("/", ".")
    try:
        found = descriptor_pool.Default().FindMethodByName(rpc)
    except KeyError:
        raise UnguardedError(f"{method} is in no service") from None
    extension: Any = scope_pb2.scope
    values: Iterable[int] = found.GetOptions().Extensions[extension]
    names = frozenset(str(scope_pb2.Scope.Name(value)).removeprefix("SCOPE_").lower() for value in values)
    if not names or not names <= SCOPES:
        raise UnguardedError(
            f"{method} states no scope: give it `option (earmark.v1.scope)` in its .proto file"
        )
    return names


def is_read(method: str) -> bool:
    """Whether the scope READ is enough for the rpc.

    Such an rpc changes nothing of a tenant, and shows nothing of the installation. Raises UnguardedError.
    """
    return "read" in scopes_of(method)


def check_services(names: Iterable[str]) -> None:
    """Raises UnguardedError unless every rpc of these services states its scopes."""
    for name in names:
        for method in descriptor_pool.Default().FindServiceByName(name).methods:
            scopes_of(f"/{name}/{method.name}")


def check_scope(caller: Caller, needed: frozenset[str]) -> None:
    """Raises ScopeMissingError if the caller has none of the scopes."""
    if caller.scopes.isdisjoint(needed):
        raise ScopeMissingError(caller.name, str(caller.key_id), sorted(caller.scopes), sorted(needed))


class StandardServices:
    """Who may call the services that come with gRPC. What is not known here needs the scope admin."""

    def __init__(self, reflection: str) -> None:
        """`reflection`: "public", "key" for whoever has a key, or "admin"."""
        self._reflection = {"public": None, "key": SCOPES, "admin": frozenset({"admin"})}[reflection]

    def scopes_of(self, method: str) -> frozenset[str] | None:
        """The scopes of which a caller needs one; None if the rpc is for everybody."""
        if method.startswith("/grpc.health."):
            return None
        if method.startswith("/grpc.reflection."):
            return self._reflection
        return frozenset({"admin"})
