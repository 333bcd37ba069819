"""The text of an API key: em_, eight characters by which it is found, _, and 256 random bits."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_LOOKUP = 8
# 32 bytes are 43 characters of URL-safe base64.
_FORM = re.compile(rf"em_([{_ALPHABET}]{{{_LOOKUP}}})_[A-Za-z0-9_-]{{43}}")


@dataclass(frozen=True, slots=True)
class Secret:
    """A key as a caller sends it. Its repr does not show it."""

    lookup: str
    sha256: bytes

    @staticmethod
    def parse(text: str) -> "Secret | None":
        """None if the text has not the form of a key."""
        form = _FORM.fullmatch(text)
        return form and Secret(form[1], hashlib.sha256(text.encode()).digest())

    def has_hash(self, sha256: bytes) -> bool:
        """Whether this is the hash of the key. How long that takes says nothing about the hash."""
        return hmac.compare_digest(self.sha256, sha256)


def generate() -> tuple[str, Secret]:
    """A new key: its text, and what is stored of it."""
    lookup = "".join(secrets.choice(_ALPHABET) for _ in range(_LOOKUP))
    text = f"em_{lookup}_{secrets.token_urlsafe(32)}"
    return text, Secret(lookup, hashlib.sha256(text.encode()).digest())
