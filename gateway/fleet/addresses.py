"""Trainer addresses: parses the entries of EARMARK_TRAINERS and resolves names."""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

_NAME_SCHEME = "dns:///"
_EXPECTED = "a trainer is host:port, [IPv6 address]:port or dns:///name:port"
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_PORTS = range(1, 65536)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `is_name`: each address that the host resolves to is a trainer of its own."""

    host: str
    port: int
    is_name: bool

    def __str__(self) -> str:
        return (_NAME_SCHEME if self.is_name else "") + address(self.host, self.port)


def parse(text: str) -> Entry:
    """Parses an entry. Raises ValueError unless it is host:port, [IPv6 address]:port or dns:///name:port."""
    is_name = text.startswith(_NAME_SCHEME)
    rest = text.removeprefix(_NAME_SCHEME)
    if "/" in rest:
        raise _malformed(text, "has a scheme or a path that is not supported")
    host, colon, port = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        raise _malformed(text, "has no port")
    if not (port.isascii() and port.isdecimal() and int(port) in _PORTS):
        raise _malformed(text, f"has the port {port!r}, which is not a number from 1 to 65535")
    return Entry(_host(text, host), int(port), is_name)


def _host(text: str, host: str) -> str:
    if not host:
        raise _malformed(text, "has no host")
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(IPv6Address(host[1:-1]))
        except ValueError as error:
            raise _malformed(text, f"has no IPv6 address in its brackets ({error})") from error
    if ":" in host:
        raise _malformed(text, "has colons in its host: an IPv6 address goes into brackets")
    if not _HOST.fullmatch(host.lower()):
        raise _malformed(text, f"has the host {host!r}, which is neither a name nor an address")
    return host.lower()


def _malformed(text: str, problem: str) -> ValueError:
    return ValueError(f"{text!r} {problem}; {_EXPECTED}")


def address(host: str, port: int) -> str:
    """host:port, with an IPv6 address in brackets, as gRPC expects it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses that a name resolves to, sorted. Raises OSError if it cannot be resolved."""
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # Only one family is used: a trainer with an IPv4 and an IPv6 address would otherwise count twice.
    family = socket.AF_INET if any(info[0] == socket.AF_INET for info in infos) else socket.AF_INET6
    return sorted({address(str(info[4][0]), port) for info in infos if info[0] == family})
