"""Field masks and etags, which all Update rpcs use."""

from collections.abc import Sequence

from google.protobuf import field_mask_pb2

from earmark.gateway.convert import values
from earmark.gateway.errors import FieldViolation, InvalidArgumentError, ResourceType, StaleEtagError


def masked_paths(mask: field_mask_pb2.FieldMask, editable: Sequence[str]) -> frozenset[str]:
    """The mask's paths. Raises InvalidArgumentError for an empty mask and for paths that are not editable."""
    allowed = ", ".join(editable)
    violations = [
        FieldViolation("update_mask", f"{path!r} cannot be changed; what can be: {allowed}")
        for path in mask.paths
        if path not in editable
    ]
    if not mask.paths:
        violations = [FieldViolation("update_mask", f"names no field; what can be changed: {allowed}")]
    if violations:
        raise InvalidArgumentError(violations, reason="INVALID_UPDATE_MASK")
    return frozenset(mask.paths)


def check_etag(kind: ResourceType, resource_id: str, sent: str, version: int) -> None:
    """Raises StaleEtagError if the caller sent an etag and it is not that of the current version."""
    current = values.etag(version)
    if sent and sent != current:
        raise StaleEtagError(kind, resource_id, sent, current)
