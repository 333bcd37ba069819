"""Valid messages made from their descriptors, with ids, keys and numbers that belong together."""

import random
import uuid
from functools import cache
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from earmark.gateway.convert.quotas import LIMITS
from earmark.gateway.field_rules import _field_rules
from earmark.gateway.services import annotations, audio, datasets, models
from earmark.trainer.job import Annotation
from tests.fuzz.known import PUBLISHED_SET, SHORT_FILE, Known, kind_of
from tests.records import records
from tests.sounds import encoded, speech

TYPES = ("glitch", "dropout")
ALIASES = ("calls@production", "calls@staging", "calls@candidate")
NESTED = 4  # valid messages are no deeper
INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
}
FLOATING = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)
EDITABLE = {
    "TenantQuota": LIMITS,
    "Annotation": annotations.EDITABLE,
    "AudioFile": audio.EDITABLE,
    "Dataset": datasets.EDITABLE,
    "Model": models.EDITABLE,
}
# The objects of a file, by the field that has the key.
OF_FILE = {"source": "source", "audio": "normalized.flac", "features": "features"}
OF_MODEL = {
    "weights": "weights",
    "base_weights": "weights",
    "model_config": "config",
    "base_model_config": "config",
    "base_sha256": "sha256",
}


# Fields that take only some of the ids of their kind.
FITTING = {
    ("ProcessAudioRequest", "audio_file_id"): SHORT_FILE,
    ("CompareDetectionJobsRequest", "annotation_set_id"): PUBLISHED_SET,
    ("CreateTrainingJobRequest", "annotation_set_id"): PUBLISHED_SET,
    ("EvaluateDetectionJobRequest", "annotation_set_id"): PUBLISHED_SET,
    ("ListEvaluationErrorsRequest", "annotation_set_id"): PUBLISHED_SET,
}
# Numbers that must fit others, or that decide how long a job takes.
SMALL = {"epochs": (1, 1, 2, 8), "attempt": (1, 1, 2, 8), "stride_ms": (10, 50, 100)}


def is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


@cache
def sound() -> bytes:
    """A short recording that can be used."""
    return encoded(speech(1, 1, 8_000), "FLAC", rate=8_000)


@cache
def rules_of(field: FieldDescriptor) -> Any:
    """The buf.validate rules of a field."""
    return _field_rules(field.GetOptions())


@cache
def bounds(field: FieldDescriptor, low: float, high: float) -> tuple[float, float]:
    """The least and the largest value that the rules of a number allow, within `low` and `high`."""
    rules = rules_of(field)
    of_type = getattr(rules, rules.WhichOneof("type") or "", None)
    if of_type is None or not hasattr(of_type, "gte"):
        return low, high
    return (
        max(low, of_type.gte) if of_type.HasField("gte") else low,
        min(high, of_type.lte) if of_type.HasField("lte") else high,
    )


class Maker:
    """Makes the messages of one call."""

    def __init__(self, rng: random.Random, known: Known, *, harms: bool) -> None:
        """`harms`: whether the call takes from its dataset what other calls need."""
        self._rng = rng
        self._known = known
        self._family = known.family(rng, is_rich=not harms)
        self._model = known.model(rng)
        self._has_base = rng.random() < 0.2

    def valid(self, descriptor: Descriptor, oneof: str = "", depth: int = 0) -> Message:
        """A message that the rules allow more often than not. `oneof`: which of its alternatives it has."""
        message = message_factory.GetMessageClass(descriptor)()
        chosen = {oneof} | {self._rng.choice(each.fields).name for each in descriptor.oneofs if not oneof}
        for field in descriptor.fields:
            if field.containing_oneof and len(field.containing_oneof.fields) > 1:
                if field.name not in chosen:
                    continue
            elif depth > NESTED or (not _is_needed(field) and self._rng.random() < 0.1):
                continue
            self._fill(message, field, depth)
        return message

    def repeat(self, message: Message, field: FieldDescriptor, count: int) -> None:
        """Adds the same element many times."""
        target = getattr(message, field.name)
        if field.message_type:
            target.extend([self._inner(message, field, NESTED)] * count)
        else:
            target.extend([self._scalar(message, field)] * count)

    def _fill(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        count = self._rng.choice((0, 1, 1, 2, 3))
        target = getattr(message, field.name)
        if is_map(field):
            value = field.message_type.fields_by_name["value"]
            for _ in range(count):
                name = self._rng.choice(TYPES)
                if value.message_type:
                    target[name].CopyFrom(self._inner(message, value, depth))
                else:
                    target[name] = self._scalar(message, value)
        elif field.message_type and field.is_repeated:
            elements = [self._inner(message, field, depth) for _ in range(max(count, _is_needed(field)))]
            target.extend({getattr(each, "name", n): each for n, each in enumerate(elements)}.values())
        elif field.message_type:
            target.CopyFrom(self._inner(message, field, depth))
            target.SetInParent()
        elif field.is_repeated:
            values = {self._scalar(message, field) for _ in range(max(count, _is_needed(field)))}
            target.extend(sorted(values))
        else:
            setattr(message, field.name, self._scalar(message, field))

    def _inner(self, message: Message, field: FieldDescriptor, depth: int) -> Message:
        if field.message_type.full_name.startswith("google.protobuf."):
            return self._well_known(message, field)
        return self.valid(field.message_type, depth=depth + 1)

    def _scalar(self, message: Message, field: FieldDescriptor) -> Any:  # noqa: PLR0911 a case each
        rng = self._rng
        if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < (0.8 if field.name == "is_active" else 0.3)
        if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
            return rng.choice(field.enum_type.values[1:]).number
        if field.cpp_type in FLOATING:
            return round(rng.uniform(*bounds(field, 0.0001, 0.5)), 4)
        if field.type == FieldDescriptor.TYPE_BYTES:
            if field.name == "annotations" and rng.random() < 0.8:
                return records([Annotation("", start, start + 300) for start in range(0, 2_000, 500)], [""])
            return sound() if rng.random() < 0.5 else rng.randbytes(rng.choice((0, 10, 3_000)))
        if field.type == FieldDescriptor.TYPE_STRING:
            return self._text(message, field)
        if field.name == "end_ms":
            return int(getattr(message, "start_ms", 0)) + rng.choice((1, 100, 5_000))
        if small := SMALL.get(field.name):
            return rng.choice(small)
        low, high = bounds(field, 0, 2_000)
        return min(int(high), int(low) + rng.choice((0, 1, 8, 100, 500, 1_000)))

    def _text(self, message: Message, field: FieldDescriptor) -> str:  # noqa: PLR0911 a case each
        rng, name = self._rng, field.name
        kind = kind_of(message.DESCRIPTOR.name, name)
        if kind == "request_id":
            return str(uuid.UUID(int=rng.getrandbits(128 if rng.random() < 0.9 else 3), version=4))
        if kind == "etag":
            return self._token(self._known.etag(getattr(message, message.DESCRIPTOR.fields[0].name)))
        if kind is not None and kind.endswith(("token", "cursor")):
            return self._token(self._known.pick(kind, rng))
        if name in ("alias", "aliases"):
            return rng.choice(ALIASES)
        if name == "model_id" and not rules_of(field).string.uuid and rng.random() < 0.2:
            return rng.choice(ALIASES)
        kind = FITTING.get((message.DESCRIPTOR.name, name), kind)
        if kind is not None:
            value = self._known.pick(kind, rng, self._family if rng.random() < 0.9 else None)
            # A base model, or a set to copy, may be left out.
            is_left_out = rules_of(field).ignore and (kind not in self._family or rng.random() < 0.6)
            return "" if is_left_out else value
        if "type" in name or (message.DESCRIPTOR.name == "ArtifactType" and name == "name"):
            return rng.choice(TYPES)
        if name == "color":
            return f"#{rng.getrandbits(24):06x}"
        if "sha256" in name or name in ("prefix", "resume_from", *OF_FILE, *OF_MODEL):
            return self._key(message, name)
        return rng.choice(("calls", "name", "a b c", "\u00fc\u4e16", f"n{rng.randrange(1000)}"))

    def _key(self, message: Any, name: str) -> str:
        """A key, mostly of an object of the file, the job or the model that the message is about."""
        rng, any_key = self._rng, self._known.pick("key", self._rng)
        if rng.random() < 0.05:
            return any_key
        if name in OF_FILE:
            file_id = message.file_id if hasattr(message, "file_id") else message.audio_file_id
            return f"default/audio/{file_id}/{OF_FILE[name]}"
        if name == "prefix":
            return f"default/jobs/{message.training_job_id}/attempt-{rng.randrange(2, 100)}"
        if name == "sha256" and hasattr(message, "weights"):
            return self._model.sha256
        if name in OF_MODEL and (name in ("weights", "model_config") or self._has_base):
            value: str = getattr(self._model, OF_MODEL[name])
            return value
        return any_key if name == "resume_from" and rng.random() < 0.2 else ""

    def _token(self, text: str) -> str:
        """Mostly none, or as it is, or with one letter changed."""
        choice, at = self._rng.random(), self._rng.random()
        if choice < 0.5 or not text:
            return ""
        if choice < 0.8:
            return text
        place = int(at * len(text))
        return text[:place] + self._rng.choice("AQgw_9-~") + text[place + 1 :]

    def _well_known(self, message: Message, field: FieldDescriptor) -> Message:
        value: Any = message_factory.GetMessageClass(field.message_type)()
        match field.message_type.name:
            case "FieldMask":
                kinds = {one.message_type.name for one in message.DESCRIPTOR.fields if one.message_type}
                (edited,) = kinds & {*EDITABLE}
                names = [*EDITABLE[edited]]
                names += ["x.y", "*"] if self._rng.random() < 0.1 else []
                value.paths.extend(self._rng.sample(names, min(len(names), self._rng.randrange(1, 4))))
            case "Struct":
                values = [1.5, "text", True, None, {"inner": [1, "two"]}, list(range(50))]
                value.update({f"k{n}": self._rng.choice(values) for n in range(self._rng.randrange(4))})
            case "Timestamp":
                value.seconds = self._rng.choice((0, 1_700_000_000))
        return value


def _is_needed(field: FieldDescriptor) -> bool:
    """Whether a message without this field breaks a rule."""
    rules = rules_of(field)
    return bool(rules.required or rules.string.uuid or rules.string.min_len or rules.repeated.min_items)
