"""How the gateway calls its trainers: encrypted or not, and with grants that its secret signs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc import aio

from earmark.configuration import SettingsError
from earmark.grants import Signer
from earmark.tls import Pair, Source, read_authorities
from earmark.trainer_secret import find_secrets, make_secret

CHANNEL_OPTIONS: Sequence[tuple[str, int | str]] = (
    # Detects a trainer that hangs or whose machine vanished within 10 seconds.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 8 << 20),
    # The default reconnect backoff grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Despite its name, this is how long trying to connect may take at least: both sides may be busy.
    ("grpc.min_reconnect_backoff_ms", 5_000),
)


@dataclass(frozen=True, slots=True)
class Links:
    """Opens channels to trainers, and signs the calls on them."""

    signer: Signer = field(default_factory=Signer)
    # None: connections are not encrypted.
    credentials: grpc.ChannelCredentials | None = None
    # The name in every trainer's certificate; empty for that of its address.
    name: str = ""

    def channel(self, address: str) -> aio.Channel:
        """A channel to a trainer, which connects when it is used."""
        if self.credentials is None:
            return aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        options = [*CHANNEL_OPTIONS]
        if self.name:
            options.append(("grpc.ssl_target_name_override", self.name))
        return aio.secure_channel(address, self.credentials, options=options)


def open_links(secret: str | None, folder: Path, ca: Source | None, pair: Pair | None, name: str) -> Links:
    """Reads the secret and the certificates; makes the secret if there is neither. Raises SettingsError.

    `secret`: a setting; by default it is in the folder. `ca`: the authority of the trainers' certificates.
    `pair`: what trainers know the gateway by. `name`: see Links.
    """
    credentials = None
    if ca is not None:
        certificate, key = (None, None) if pair is None else pair.read()
        credentials = grpc.ssl_channel_credentials(read_authorities(ca), key, certificate)
    elif pair is not None:
        raise SettingsError(
            f"{pair.certificate.name} is set without the authority of the trainers' certificates: set "
            "EARMARK_TRAINER_TLS_CA, too"
        )
    found = find_secrets(secret, folder)
    if not found and pair is None:
        found = make_secret(folder)
    return Links(Signer(found[0]) if found else Signer(), credentials, name)
