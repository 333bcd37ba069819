"""How a client reaches its gateway: from arguments, the environment, or a profile in a file."""

import os
import ssl
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from earmark.client.calls import DEFAULT_ADDRESS
from earmark.client.errors import EarmarkError

SYSTEM = "system"
"""As a CA: the authorities that gRPC itself knows, which have signed the certificates of public sites."""
_PEM = "-----BEGIN "
_FIELDS = ("address", "api_key", "ca", "client_certificate", "client_key")


class ConnectionSettingsError(EarmarkError):
    """An argument, a variable or a profile is wrong. The message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a gateway is, and what is shown to it.

    `ca`, `client_certificate` and `client_key` are paths of PEM files, or the PEM itself; `ca` may also be
    SYSTEM. Without `ca` the connection is not encrypted.
    """

    address: str
    api_key: str | None
    ca: str | None
    client_certificate: str | None
    client_key: str | None

    def credentials(self) -> grpc.ChannelCredentials | None:
        """None if the connection is not encrypted. Raises ConnectionSettingsError if a file is no use."""
        if self.ca is None:
            if given := self.client_certificate or self.client_key:
                raise ConnectionSettingsError(
                    f"there is a client certificate ({_shown(given)}), and no CA of the gateway: set "
                    f'EARMARK_CA to the PEM file of its authority, or to "{SYSTEM}"'
                )
            return None
        if (self.client_certificate is None) != (self.client_key is None):
            raise ConnectionSettingsError(
                "a client certificate needs its key: set EARMARK_CLIENT_CERTIFICATE and EARMARK_CLIENT_KEY"
            )
        roots = None if self.ca == SYSTEM else _read("EARMARK_CA", self.ca)
        if roots is not None:
            _check_authorities(self.ca, roots)
        if self.client_certificate is None or self.client_key is None:
            return grpc.ssl_channel_credentials(roots)
        certificate = _read("EARMARK_CLIENT_CERTIFICATE", self.client_certificate)
        key = _read("EARMARK_CLIENT_KEY", self.client_key)
        _check_pair(self.client_certificate, self.client_key)
        return grpc.ssl_channel_credentials(roots, key, certificate)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries: the API key, if there is one."""
        return (("authorization", f"Bearer {self.api_key}"),) if self.api_key else ()


def resolve(*, profile: str | None = None, **arguments: str | None) -> Connection:
    """The connection that these arguments describe, by the names of Connection's fields.

    What is not given comes from EARMARK_ADDRESS, EARMARK_API_KEY and so on, and then from the profile, which
    EARMARK_PROFILE names if the argument does not. Raises ConnectionSettingsError.
    """
    environment = {name: os.environ.get(f"EARMARK_{name.upper()}") or None for name in _FIELDS}
    name = profile or os.environ.get("EARMARK_PROFILE")
    chosen = read_profile(name) if name else {}
    values = {field: arguments.get(field) or environment[field] or chosen.get(field) for field in _FIELDS}
    address = values.pop("address") or DEFAULT_ADDRESS
    return Connection(address=address, **values)


def profiles_file() -> Path:
    """The file that has the profiles: below XDG_CONFIG_HOME, by default below ~/.config."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "earmark" / "profiles.toml"


def read_profile(name: str) -> dict[str, str]:
    """The fields of a profile. Raises ConnectionSettingsError if it is missing or wrong."""
    path = profiles_file()
    try:
        profiles: dict[str, Any] = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConnectionSettingsError(
            f"there is no profile {name!r}, because there is no file {path}"
        ) from None
    except (OSError, ValueError) as error:
        raise ConnectionSettingsError(f"the profiles {path} cannot be read: {error}") from error
    profile = profiles.get(name)
    if not isinstance(profile, dict):
        known = ", ".join(key for key, value in profiles.items() if isinstance(value, dict)) or "none"
        raise ConnectionSettingsError(f"{path} has no profile [{name}]; it has: {known}")
    for field, value in profile.items():
        if field not in _FIELDS or not isinstance(value, str) or not value:
            raise ConnectionSettingsError(
                f"{path}: {field} of [{name}] is empty, or no field of a profile, which are "
                f"{', '.join(_FIELDS)}"
            )
    if "api_key" in profile and path.stat().st_mode & 0o077:
        raise ConnectionSettingsError(f"{path} has an API key, and others may read it: make it 0600")
    return {field: _beside(path, field, value) for field, value in profile.items()}


def _beside(path: Path, field: str, value: str) -> str:
    """A relative path in the file is relative to the file's folder."""
    is_path = field in ("ca", "client_certificate", "client_key") and value != SYSTEM and not _is_pem(value)
    return str(path.parent / Path(value).expanduser()) if is_path else value


def _is_pem(value: str) -> bool:
    return value.lstrip().startswith(_PEM)


def _shown(value: str) -> str:
    return "PEM" if _is_pem(value) else value


def _read(name: str, value: str) -> bytes:
    if _is_pem(value):
        return value.encode()
    try:
        return Path(value).read_bytes()
    except OSError as error:
        raise ConnectionSettingsError(f"{name}, {value}, cannot be read: {error.strerror}") from error


def _check_authorities(ca: str, pem: bytes) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii", "replace"))
    except ssl.SSLError as error:
        raise ConnectionSettingsError(f"the CA {_shown(ca)} has no certificate in PEM form") from error


def _check_pair(certificate: str, key: str) -> None:
    """Only what is in files: ssl reads nothing else."""
    if _is_pem(certificate) or _is_pem(key):
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        raise ConnectionSettingsError(
            f"{certificate} and {key} are no certificate and its key without a passphrase, in PEM form: "
            f"{error.reason or error}"
        ) from error
