"""The rules for the settings of a detection."""

from collections.abc import Collection, Iterable
from uuid import UUID

from earmark.gateway.errors import FieldViolation, InvalidArgumentError


def check_types(config: object, model_id: UUID, types: Collection[str], path: str) -> None:
    """Raises InvalidArgumentError if `config`, a DetectionConfig at this path, names unknown types."""
    detected = ", ".join(types)
    unknown = [
        FieldViolation(
            f"{path}.{field}[{name!r}]", f"model {model_id} does not detect this type; it has {detected}"
        )
        for field in ("thresholds", "merge_windows_ms", "min_durations_ms")
        for name in _names(config, field)
        if name not in types
    ]
    if unknown:
        raise InvalidArgumentError(unknown)


def _names(config: object, field: str) -> Iterable[str]:
    names: Iterable[str] = getattr(config, field)
    return names
