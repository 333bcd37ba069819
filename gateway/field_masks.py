"""What the Update rpcs share: field masks and etags."""

from collections.abc import Sequence
from typing import Any

from google.protobuf import field_mask_pb2

from gateway.convert import values
from gateway.errors import FieldViolation, InvalidArgumentError, StaleEtagError


def masked(mask: field_mask_pb2.FieldMask, editable: Sequence[str]) -> frozenset[str]:
    """The mask's paths. Raises InvalidArgumentError for an empty mask and for what cannot be changed."""
    allowed = ", ".join(editable)
    wrong = [
        FieldViolation("update_mask", f"{path!r} cannot be changed; what can be: {allowed}")
        for path in mask.paths
        if path not in editable
    ]
    if not mask.paths:
        wrong = [FieldViolation("update_mask", f"names no field; what can be changed: {allowed}")]
    if wrong:
        raise InvalidArgumentError(wrong, reason="INVALID_UPDATE_MASK")
    return frozenset(mask.paths)


def check_etag(kind: str, given: Any, version: int) -> None:
    """Raises StaleEtagError where the resource was sent with an etag that is not the current one."""
    current = values.etag(version)
    if given.etag and given.etag != current:
        raise StaleEtagError(kind, given.id, given.etag, current)
