"""What a gateway permits a trainer to do in one call, signed with the secret that both share.

A trainer would otherwise read and write any object for whoever reaches its port.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence

from google.protobuf.message import DecodeError

from earmark.internal.v1 import trainer_service_pb2 as pb

METADATA_KEY = "earmark-grant-bin"
NONCE_BYTES = 16
# A trainer remembers as many nonces. It cannot go by the time of a grant: clocks differ, and jump.
NONCES = 50_000
_PURPOSE = b"earmark grant v1\0"

Metadata = tuple[tuple[str, str | bytes], ...]


class GrantRefusedError(Exception):
    """A call has no grant that counts. The message says what is wrong with it."""


class Signer:
    """Makes the grants of a gateway's calls."""

    def __init__(self, secret: bytes = b"") -> None:
        """`secret`: empty if gateway and trainer know each other by their certificates alone."""
        self._secret = secret

    def metadata(
        self, rpc: str, request: bytes | None = None, *, reads: Iterable[str] = (), writes: Iterable[str] = ()
    ) -> Metadata:
        """The metadata of one call. Each call needs its own.

        `request`: the bytes of the request, None for a stream of requests. `reads`, `writes`: the keys of
        objects, or what they are below.
        """
        grant = pb.Grant(
            rpc=rpc,
            reads=reads,
            writes=writes,
            nonce=secrets.token_bytes(NONCE_BYTES),
            request_sha256=b"" if request is None else hashlib.sha256(request).digest(),
        ).SerializeToString()
        signed = pb.SignedGrant(grant=grant, mac=_mac(self._secret, grant) if self._secret else b"")
        return ((METADATA_KEY, signed.SerializeToString()),)


class Verifier:
    """Checks the grants of the calls that a trainer gets."""

    def __init__(self, accepted: Sequence[bytes] = ()) -> None:
        """`accepted`: the secrets that may have signed; none if callers are known by their certificates."""
        self._accepted = tuple(accepted)
        self._nonces: dict[bytes, None] = {}

    def verified(self, metadata: Iterable[tuple[str, str | bytes]]) -> pb.Grant:
        """The grant of a call with this metadata. Raises GrantRefusedError; a grant counts once."""
        values = [value for key, value in metadata if key == METADATA_KEY]
        if len(values) != 1 or not isinstance(values[0], bytes):
            raise GrantRefusedError("the call has no grant: only gateways may call a trainer")
        try:
            signed = pb.SignedGrant.FromString(values[0])
            self._check_signature(signed)
            grant = pb.Grant.FromString(signed.grant)
        except DecodeError:
            raise GrantRefusedError("the grant of the call cannot be read") from None
        self._use(grant.nonce)
        return grant

    def _check_signature(self, signed: pb.SignedGrant) -> None:
        matches = [hmac.compare_digest(_mac(secret, signed.grant), signed.mac) for secret in self._accepted]
        if self._accepted and not any(matches):
            raise GrantRefusedError(
                "the grant of the call is not signed with this trainer's secret: give gateway and trainer "
                "the same EARMARK_TRAINER_SECRET, or the same EARMARK_DATA_DIR"
            )

    def _use(self, nonce: bytes) -> None:
        if len(nonce) != NONCE_BYTES:
            raise GrantRefusedError(f"the nonce of the grant has {len(nonce)} bytes, not {NONCE_BYTES}")
        if nonce in self._nonces:
            raise GrantRefusedError("the grant of the call was used before")
        self._nonces[nonce] = None
        if len(self._nonces) > NONCES:
            del self._nonces[next(iter(self._nonces))]


def check_request(grant: pb.Grant, request: bytes) -> None:
    """Raises GrantRefusedError if the grant was made for another request."""
    if not hmac.compare_digest(hashlib.sha256(request).digest(), grant.request_sha256):
        raise GrantRefusedError("the grant of the call is for another request")


def covers(prefixes: Iterable[str], key: str) -> bool:
    """Whether the key is one of the prefixes, or below one of them."""
    return any(prefix and (key == prefix or key.startswith(f"{prefix}/")) for prefix in prefixes)


def _mac(secret: bytes, grant: bytes) -> bytes:
    return hmac.digest(secret, _PURPOSE + grant, "sha256")
