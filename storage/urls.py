"""The URL of the database in words: what is wrong with it, and where it leads, never with the password."""

from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

SCHEMES = ("postgresql", "postgres")
PORTS = range(1, 65536)
_ESCAPES = "in a user name or a password, @ must be written as %40, : %3A, / %2F, # %23, ? %3F and % as %25"
_EXPECTED = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"


def check(url: str) -> None:
    """Raises ValueError, which never shows the password, unless the URL is one of PostgreSQL."""
    if not url:
        raise ValueError(f"it is empty: set {_EXPECTED}, or unset it for the embedded PostgreSQL")
    if url.partition("://")[0] not in SCHEMES:
        raise ValueError(f"it does not begin with postgresql://: expected is {_EXPECTED}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(f"it has a bracket that is not part of an IPv6 address: {_ESCAPES}") from None
    credentials, _, hosts = parts.netloc.rpartition("@")
    if "@" in credentials or parts.fragment or ("@" in parts.path and not credentials):
        raise ValueError(f"it has an @, # or / where none can be: {_ESCAPES}")
    for host in hosts.split(","):
        _check_port(host)


def _check_port(host: str) -> None:
    _, colon, port = host.rpartition("]")[2].rpartition(":")
    if colon and not (port.isascii() and port.isdecimal() and int(port) in PORTS):
        # What stands here may be the beginning of a password.
        raise ValueError(f"its port is not a number from 1 to 65535: expected is {_EXPECTED}, and {_ESCAPES}")


def describe(url: str) -> str:
    """Where the URL leads: 'PostgreSQL at db1:5432, database "earmark", user "me"'."""
    parts = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    user = options.get("user") or unquote(parts.netloc.rpartition("@")[0].partition(":")[0])
    database = options.get("dbname") or options.get("database") or unquote(parts.path.removeprefix("/"))
    named = [f"{what} {name!r}" for what, name in (("database", database), ("user", user)) if name]
    return ", ".join([f"PostgreSQL at {_hosts(parts, options)}", *named])


def _hosts(parts: SplitResult, options: dict[str, str]) -> str:
    hosts = unquote(parts.netloc.rpartition("@")[2]) or options.get("host")
    if not hosts:
        return "the default address"
    port = options.get("port", "5432")
    return ",".join(
        host if host.startswith("/") or host.rpartition("]")[2].count(":") else f"{host}:{port}"
        for host in hosts.split(",")
    )
