"""Certificates of the services: reads and checks them, and replaces those of a running server."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from earmark.configuration import SettingsError

LOOK_SECONDS = 2.0
_PEM = "-----BEGIN "

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """A setting that is the path of a PEM file, or the PEM itself."""

    name: str
    value: str

    def read(self) -> bytes:
        """The PEM. Raises SettingsError."""
        if self.value.lstrip().startswith(_PEM):
            return self.value.encode()
        try:
            return Path(self.value).read_bytes()
        except OSError as error:
            raise SettingsError(f"{self} cannot be read: {error.strerror}") from error

    def __str__(self) -> str:
        return self.name if self.value.lstrip().startswith(_PEM) else f"{self.name}, {self.value},"


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with those that follow it in its chain, and its key."""

    certificate: Source
    key: Source

    def read(self) -> tuple[bytes, bytes]:
        """The PEM of the certificate and of the key. Raises SettingsError if they cannot be used."""
        certificate, key = self.certificate.read(), self.key.read()
        chain = _certificates(self.certificate, certificate)
        for one in chain:
            _check_time(self.certificate, one)
        if _public(_private_key(self.key, key)) != _spki(chain[0]):
            raise SettingsError(
                f"{self.key} is not the key of {self.certificate.name}: give the two of one pair"
            )
        return certificate, key


@dataclass(frozen=True, slots=True)
class ServerTls:
    """What a server shows to clients, and by which authority it knows them: None for no certificates."""

    pair: Pair
    client_ca: Source | None


def pair_of(certificate: Source | None, key: Source | None) -> Pair | None:
    """None if neither is given. Raises SettingsError if only one is."""
    if certificate is None or key is None:
        if given := certificate or key:
            raise SettingsError(f"{given.name} is set without the other of the pair: set both, or neither")
        return None
    return Pair(certificate, key)


def source(name: str, value: str | None) -> Source | None:
    """None if the setting has no value."""
    return None if value is None else Source(name, value)


def read_authorities(ca: Source) -> bytes:
    """The PEM of certificates of authorities. Raises SettingsError if they cannot be used."""
    pem = ca.read()
    for certificate in _certificates(ca, pem):
        _check_time(ca, certificate)
    return pem


class ServerCertificate:
    """The certificate of a server, which is read again while the server runs.

    A new one is for new connections: those that are open go on.
    """

    def __init__(self, tls: ServerTls) -> None:
        """Raises SettingsError if it cannot be used."""
        self._tls = tls
        # Why the certificate cannot be replaced, or is of no use; empty while all is well.
        self.problem = ""
        # A pair that is being replaced does not match for a moment.
        self._suspected = ""
        self._current = self._read()
        self._next: grpc.ServerCertificateConfiguration | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """The credentials for the server's port."""
        # None says that nothing has changed, which the types of grpc do not know.
        take: Callable[[], Any] = self._take_next
        has_clients = self._tls.client_ca is not None
        return grpc.dynamic_ssl_server_credentials(_configuration(self._current), take, has_clients)

    async def follow(self) -> None:
        """Reads the files again every LOOK_SECONDS, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Takes a changed certificate. Keeps the old one, and says why, if the new one cannot be used."""
        try:
            found = self._read()
        except SettingsError as error:
            problem = str(error)
            if problem == self._suspected != self.problem:
                self.problem = problem
                log.warning("the certificate cannot be used; the one before stays", problem=problem)
            self._suspected = problem
            return
        if found != self._current:
            self._current, self._next = found, _configuration(found)
            log.info("the certificate is replaced", certificate=str(self._tls.pair.certificate))
        self.problem = self._suspected = ""

    def _read(self) -> tuple[bytes, bytes, bytes | None]:
        ca = self._tls.client_ca
        return (*self._tls.pair.read(), None if ca is None else read_authorities(ca))

    def _take_next(self) -> grpc.ServerCertificateConfiguration | None:
        """What gRPC asks for at each new connection; None if nothing has changed."""
        taken, self._next = self._next, None
        return taken


def _configuration(read: tuple[bytes, bytes, bytes | None]) -> grpc.ServerCertificateConfiguration:
    certificate, key, client_ca = read
    return grpc.ssl_server_certificate_configuration([(key, certificate)], client_ca)


def _certificates(of: Source, pem: bytes) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise SettingsError(f"{of} has no certificate in PEM form: {error}") from error


def _private_key(of: Source, pem: bytes) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise SettingsError(f"{of} is encrypted: give the key without a passphrase") from error
    except ValueError as error:
        raise SettingsError(f"{of} has no private key in PEM form") from error


def _check_time(of: Source, certificate: x509.Certificate) -> None:
    now = datetime.now(UTC)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if begin <= now <= end:
        return
    problem = (
        f"has expired: it was valid until {end:%Y-%m-%d %H:%M}"
        if now > end
        else f"is not valid yet: it will be from {begin:%Y-%m-%d %H:%M}"
    )
    raise SettingsError(f"{of} {problem}, and this machine's clock says {now:%Y-%m-%d %H:%M} (UTC)")


def _public(key: PrivateKeyTypes) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
