"""What calls may name: ids, tokens and keys that exist, or did, except those of the bystander."""

import hashlib
import random
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import Message

from earmark.v1.annotation_service_pb2 import ANNOTATION_SET_STATUS_PUBLISHED, AnnotationSet
from tests.fuzz.callers import OWN

MOST = 200  # of each kind; older ones give way
TOKENS = ("token", "cursor", "etag", "request_id")
REFERENCES = {
    "copy_of": "annotation_set_id",
    "base_model_id": "model_id",
    "file_id": "audio_file_id",
    "other_detection_job_id": "detection_job_id",
}
WEIGHTS, MODEL_CONFIG = "model.safetensors", "model.json"
# The kind of the ids of files that are quickly decoded.
SHORT_FILE = "short_file_id"
# How many families a call chooses from, and how many there are at most.
CANDIDATES, FAMILIES = 10, 15
PUBLISHED_SET = "published_set_id"

# The ids of a dataset and of what belongs to it, by kind; the newest of each kind are the last.
Family = dict[str, list[str]]


@dataclass(frozen=True)
class StoredModel:
    """The keys of a model's files and the SHA-256 of its weights, as calls of the trainer name them."""

    weights: str
    config: str
    sha256: str


class Known:
    """Values by kind, which is the end of a field's name, such as "dataset_id"."""

    def __init__(self, spared: Iterable[str]) -> None:
        """`spared`: ids that no call may name."""
        self._spared = frozenset(spared)
        self._values: dict[str, list[str]] = defaultdict(list)
        self._families: list[Family] = []
        self._family_of: dict[str, Family] = {}
        self._etags: dict[str, str] = {}
        self._models: list[StoredModel] = []
        # All ids that were ever known: a stranger has none of them.
        self._ids: set[str] = set()

    def add(self, kind: str, value: str) -> None:
        if value and value not in self._spared:
            _append(self._values[kind], value)
            if kind.endswith("_id"):
                self._ids.add(value)

    def foreign(self, message: Message) -> str:
        """An id in a stranger's reply that is of another tenant; empty if it has none."""
        for field, value in message.ListFields():
            if field.message_type and field.message_type.GetOptions().map_entry:
                continue
            for each in value if field.is_repeated else (value,):
                if isinstance(each, Message) and (found := self.foreign(each)):
                    return found
                if isinstance(each, str) and each in self._ids:
                    return each
        return ""

    def pick(self, kind: str, rng: random.Random, family: Family | None = None) -> str:
        """One of them, of the family if it has any; else a new id. It always takes two numbers of `rng`."""
        values = (family or {}).get(kind) or self._values[kind]
        place, fallback = rng.random(), uuid.UUID(int=rng.getrandbits(128), version=4)
        if not values:
            return str(fallback) if kind.endswith("_id") else ""
        return _newest_most_often(values, place)

    def family(self, rng: random.Random, *, is_rich: bool) -> Family:
        """Ids that belong together, of a dataset that has many kinds of them if it `is_rich`, else few."""
        families = [self._families[int(rng.random() * len(self._families))] for _ in range(CANDIDATES)]
        return (max if is_rich else min)(families, key=len)

    def etag(self, owner: str) -> str:
        """The last etag that a reply had for this id; empty if none had."""
        return self._etags.get(owner, "")

    def model(self, rng: random.Random) -> StoredModel:
        """A model's files."""
        return _newest_most_often(self._models, rng.random())

    def learn(self, message: Message) -> None:
        """Adds the ids, tokens and etags that a reply has."""
        ids, name = list(_ids(message)), message.DESCRIPTOR.name
        if self._spared.intersection(value for _, value in ids):
            return
        if isinstance(message, AnnotationSet) and message.status == ANNOTATION_SET_STATUS_PUBLISHED:
            ids.append((PUBLISHED_SET, message.id))
        self._relate(ids)
        for field, value in message.ListFields():
            if field.message_type and field.message_type.GetOptions().map_entry:
                continue
            for each in value if field.is_repeated else (value,):
                if isinstance(each, Message):
                    self.learn(each)
                elif isinstance(each, str) and (kind := kind_of(name, field.name)):
                    self.add(kind, each)
                    if kind == "etag" and ids:
                        self._etags[ids[0][1]] = each

    def forget(self, message: Message) -> None:
        """Leaves out of their families what a request has deleted."""
        for kind, value in _ids(message):
            if family := self._family_of.pop(value, None):
                for name in [name for name, values in family.items() if value in values]:
                    family[name].remove(value)
                    if not family[name]:
                        del family[name]
                if kind == "dataset_id" and len(self._families) > 1:
                    self._families = [other for other in self._families if other is not family]

    def learn_objects(self, folder: Path) -> None:
        """Adds the keys of the newest objects of the calls' own tenant."""
        own = [str(path.relative_to(folder)) for path in (folder / OWN).rglob("*") if path.is_file()]
        # Ids are in the order of time.
        for key in sorted(own, key=lambda key: key.split("/")[2:])[-MOST:]:
            self.add("key", key)
            if key.endswith(WEIGHTS):
                sha256 = hashlib.sha256((folder / key).read_bytes()).hexdigest()
                config = key.removesuffix(WEIGHTS) + MODEL_CONFIG
                _append(self._models, StoredModel(key, config, sha256))

    def _relate(self, ids: Iterable[tuple[str, str]]) -> None:
        """Puts ids of one message into a family. A dataset begins one of its own."""
        ids = list(ids)
        family = next((self._family_of[value] for _, value in ids if value in self._family_of), None)
        if family is None and any(kind == "dataset_id" for kind, _ in ids):
            family = defaultdict(list)
            self._families.append(family)
            if len(self._families) > FAMILIES:
                del self._families[min(range(FAMILIES), key=lambda place: len(self._families[place]))]
        if family is not None:
            for kind, value in ids:
                _append(family[kind], value)
                self._family_of[value] = family


def kind_of(message: str, field: str) -> str | None:
    """The kind of values that a field has; None if it names nothing. Page tokens are of one rpc."""
    name = field.removesuffix("s")
    if name == "id":
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in message).strip("_") + "_id"
    if name.endswith("page_token"):
        return message.removesuffix("Request").removesuffix("Response") + ".token"
    for token in TOKENS:
        if name.endswith(token):
            return token
    return REFERENCES.get(name, name if name.endswith("_id") else None)


def _ids(message: Message) -> Iterator[tuple[str, str]]:
    """The kinds and values of a message's own ids, without those of the messages in it."""
    for field, value in message.ListFields():
        kind = None if field.message_type else kind_of(message.DESCRIPTOR.name, field.name)
        if kind and kind.endswith("_id") and kind != "request_id":
            for each in value if field.is_repeated else (value,):
                yield kind, each


def _append(values: list, value: object) -> None:
    if value not in values:
        values.append(value)
        del values[:-MOST]


def _newest_most_often(values: list, place: float):
    return values[-1 - int(len(values) * place**2)]
