"""The secret that gateways and trainers share: from a setting, or from a file in the data folder."""

import os
import re
import secrets
import stat
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from earmark.configuration import SettingsError

FILE = "trainer-secret"
SECRET_BYTES = 32
LEAST_CHARACTERS = 32
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def find_secrets(setting: str | None, folder: Path) -> Sequence[bytes]:
    """The secrets in the setting, else those in the folder's file; empty if there is neither.

    A gateway signs with the first; a trainer accepts all, so that a secret can be replaced. Raises
    SettingsError if one is short, or if others may read the file.
    """
    if setting is not None:
        return _parsed(setting, "EARMARK_TRAINER_SECRET")
    path = folder / FILE
    try:
        with path.open() as file:
            if mode := os.fstat(file.fileno()).st_mode & _OTHERS:
                raise SettingsError(
                    f"others may use the trainer's secret {path.absolute()} (mode {mode:03o} for them): "
                    "make it 0600"
                )
            return _parsed(file.read(), str(path.absolute()))
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the trainer's secret {path.absolute()} cannot be read: {error}") from error


def make_secret(folder: Path) -> Sequence[bytes]:
    """Writes the folder's file, unless another service does so at the same time. Raises SettingsError."""
    path, new = folder / FILE, folder / f"{FILE}.{secrets.token_hex(8)}"
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(f"{secrets.token_hex(SECRET_BYTES)}\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                path.hardlink_to(new)
        finally:
            new.unlink()
    except OSError as error:
        raise SettingsError(
            f"the trainer's secret {path.absolute()} cannot be written: {error.strerror}. Set "
            "EARMARK_TRAINER_SECRET instead"
        ) from error
    return find_secrets(None, folder)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on the host."""
    if host.lower() == "localhost":
        return True
    with suppress(ValueError):
        return ip_address(host.strip("[]")).is_loopback
    return False


def _parsed(text: str, source: str) -> Sequence[bytes]:
    found = re.split(r"[\s,]+", text.strip(", \t\r\n"))
    if short := [secret for secret in found if len(secret) < LEAST_CHARACTERS]:
        raise SettingsError(
            f"{source} has a secret of {len(short[0])} characters: it needs {LEAST_CHARACTERS} or more, such "
            "as those that `openssl rand -hex 32` prints"
        )
    return tuple(secret.encode() for secret in found)
