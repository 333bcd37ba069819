"""The ids in a message: what a call was about. Never its other contents."""

from functools import cache
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

# Of what a caller chooses, so many characters are recorded.
LONGEST_TEXT = 100
# The caller's own mark of a repeated request names nothing.
_NO_IDS = frozenset({"request_id"})

Ids: TypeAlias = list[tuple[str, str]]


def ids_of(message: Message) -> Ids:
    """The names and values of a message's ids and aliases, and of those in the messages directly inside it.

    The id of the message in a field `dataset` is named `dataset_id`. Lists of messages are left out.
    """
    texts, inner = _fields(message.DESCRIPTOR)
    found = _texts(message, texts, "")
    for name in inner:
        if message.HasField(name):
            part: Message = getattr(message, name)
            found += _texts(part, _fields(part.DESCRIPTOR)[0], f"{name}_")
    return found


def printable(text: str) -> str:
    """The text's beginning, with an escape for what is no printable character."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text[:LONGEST_TEXT]
    )


def _texts(message: Any, names: tuple[str, ...], prefix: str) -> Ids:
    found: Ids = []
    for name in names:
        value = getattr(message, name)
        shown = prefix + name if name == "id" else name
        found += [(shown, printable(one)) for one in ([value] if isinstance(value, str) else value) if one]
    return found


@cache
def _fields(descriptor: Descriptor) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The fields that have ids, and those with a message that may have some."""
    texts = [field.name for field in descriptor.fields if _has_ids(field)]
    inner = [
        field.name
        for field in descriptor.fields
        if field.message_type
        and not field.is_repeated
        and not field.message_type.full_name.startswith("google.")
    ]
    return tuple(texts), tuple(inner)


def _has_ids(field: FieldDescriptor) -> bool:
    is_named_so = field.name in ("id", "alias") or field.name.endswith(("_id", "_ids"))
    return field.type == FieldDescriptor.TYPE_STRING and is_named_so and field.name not in _NO_IDS
