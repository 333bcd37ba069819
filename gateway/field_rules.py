"""Checks requests against the field rules of the protos, without keeping the event loop from other calls."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import protovalidate
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from protovalidate import Violation

from earmark.gateway.errors import FieldViolation, InvalidArgumentError
from earmark.gateway.pieces import Pieces
from earmark.reflection import contract_pool

# protovalidate checks a message in one call, and no other code runs meanwhile: so many elements or bytes take
# at most 10 ms, also if all break their rules, which costs 185 us each.
SLICE = 50
SLICE_BYTES = 64 << 10
# With more of them, the rest of the message is not checked: an error's details have room for fewer.
MOST_VIOLATIONS = 100
# Of types that are not Earmark's.
_OTHER_LIMITS = {"google.protobuf.FieldMask": {"paths": 100}}
_SHOWN_CHARACTERS = 100


async def check(request: Message) -> None:
    """Raises InvalidArgumentError with the first violations of the request's rules, or all of a few.

    A long list that is longer than its rule allows is refused before its elements are looked at.
    """
    if request.ByteSize() <= 2 * SLICE:
        # No list of messages in it has more elements than a slice: each takes two bytes.
        if violations := [_to_field_violation(v, 0) for v in protovalidate.collect_violations(request)]:
            raise InvalidArgumentError(violations)
        return
    violations, pieces = list(_too_long(request)), Pieces()
    if not violations:
        for part, first in _parts(request):
            await pieces.next()
            violations += [_to_field_violation(v, first) for v in protovalidate.collect_violations(part)]
            if len(violations) >= MOST_VIOLATIONS:
                break
    if violations:
        raise InvalidArgumentError(violations)


def _too_long(message: Message, path: str = "") -> Iterator[FieldViolation]:
    """The long lists and maps with more elements than allowed, also those of the messages inside."""
    allowed = limits(message.DESCRIPTOR)
    for field, value in message.ListFields():
        if field.is_repeated:
            limit = allowed.get(field.name)
            if limit is not None and len(value) > max(limit, SLICE):
                yield FieldViolation(
                    path + field.name, f"must contain no more than {limit} items (found {len(value)})"
                )
        elif field.message_type:
            yield from _too_long(value, f"{path}{field.name}.")


def _parts(request: Message) -> Iterator[tuple[Message, int]]:
    """The request with slices of its longest list of messages, and the index of their first, in turn."""
    lists = [(len(value), field.name) for field, value in request.ListFields() if _has_messages(field)]
    length, name = max(lists, default=(0, ""))
    if length <= 1 or (length <= SLICE and request.ByteSize() <= SLICE_BYTES):
        yield request, 0
        return
    elements = getattr(request, name)
    first = 0
    while first < length:
        part = _without(request, name)
        part_elements, size = getattr(part, name), 0
        for element in elements[first : first + SLICE]:
            size += element.ByteSize()
            if part_elements and size > SLICE_BYTES:
                break
            part_elements.append(element)
        yield part, first
        first += len(part_elements)


def _has_messages(field: FieldDescriptor) -> bool:
    """Whether it is a list, not a map, of messages."""
    return bool(field.is_repeated and field.message_type and not field.message_type.GetOptions().map_entry)


def _without(request: Message, name: str) -> Message:
    """A copy of the request without this list, which is not copied meanwhile."""
    rest = type(request)()
    for field, value in request.ListFields():
        if field.name == name:
            continue
        if field.is_repeated or field.message_type:
            getattr(rest, field.name).MergeFrom(value)
        else:
            setattr(rest, field.name, value)
    return rest


@cache
def limits(message: Descriptor) -> Mapping[str, int]:
    """By field, the largest number of elements that the rules of a message allow."""
    found = dict(_OTHER_LIMITS.get(message.full_name, {}))
    for field in message.fields:
        rules = _field_rules(field.GetOptions())
        if limit := rules.repeated.max_items or rules.map.max_pairs:
            found[field.name] = limit
    return found


def _field_rules(options: Message) -> Any:
    """The buf.validate rules of a field, of which the stubs have only the bytes."""
    pool = contract_pool()
    known = message_factory.GetMessageClass(pool.FindMessageTypeByName(options.DESCRIPTOR.full_name))
    parsed: Any = known.FromString(options.SerializeToString())
    return parsed.Extensions[pool.FindExtensionByName("buf.validate.field")]


def _to_field_violation(violation: Violation, first: int) -> FieldViolation:
    """The violation of a part of a request whose elements begin at index `first`."""
    proto = violation.proto
    # A rule over several fields has no path; its id names the rule.
    path = _path(proto.field.elements, first) if proto.field else proto.rule_id
    value = violation.field_value
    is_short = not isinstance(value, str) or len(value) <= _SHOWN_CHARACTERS
    is_shown = isinstance(value, int | float | str) and is_short
    return FieldViolation(path, proto.message + (f" (found {value!r})" if is_shown else ""))


def _path(elements: Any, first: int) -> str:
    path = ""
    for element in elements:
        path += ("." if path else "") + element.field_name
        subscript = element.subscript
        if subscript is not None:
            is_index = not path.count(".") and isinstance(subscript.value, int)
            path += f"[{subscript.value + first if is_index else subscript.value!r}]"
    return path
