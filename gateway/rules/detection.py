"""The rules for the settings and the files of a detection."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from uuid import UUID

from earmark.gateway.errors import FieldViolation, InvalidArgumentError
from earmark.storage.sources import ReferenceRefusedError, Sources

SHOWN_VIOLATIONS = 20
SHOWN_CHARACTERS = 200


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


def check_references(uris: Sequence[str], sources: Sources) -> None:
    """Raises InvalidArgumentError, which has the first few, if objects are not in an allowed place."""
    refused = list(islice(_refused(uris, sources), SHOWN_VIOLATIONS))
    if refused:
        raise InvalidArgumentError(refused)


def _refused(uris: Sequence[str], sources: Sources) -> Iterator[FieldViolation]:
    for number, uri in enumerate(uris):
        try:
            sources.place_of(uri)
        except ReferenceRefusedError as error:
            yield FieldViolation(f"uris[{number}]", f"{uri[:SHOWN_CHARACTERS]!r}: {error}")


def _names(config: object, field: str) -> Iterable[str]:
    names: Iterable[str] = getattr(config, field)
    return names
