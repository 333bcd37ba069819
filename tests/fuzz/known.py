"""What calls may name: ids, tokens and keys that exist, or did, except those of the bystander."""

import random
import uuid
from collections import defaultdict
from collections.abc import Iterable

from google.protobuf.message import Message

MOST = 200  # of each kind; older ones give way
TOKENS = ("token", "cursor", "etag", "request_id")


class Known:
    """Values by kind, which is the end of a field's name, such as "dataset_id"."""

    def __init__(self, spared: Iterable[str]) -> None:
        """`spared`: ids that no call may name."""
        self._spared = frozenset(spared)
        self._values: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, value: str) -> None:
        values = self._values[kind]
        if value and value not in self._spared and value not in values:
            values.append(value)
            del values[:-MOST]

    def pick(self, kind: str, rng: random.Random) -> str:
        """One of them, the newest most often. It always takes two numbers of `rng`."""
        values = self._values[kind]
        place, fallback = rng.random(), uuid.UUID(int=rng.getrandbits(128), version=4)
        return values[-1 - int(len(values) * place**2)] if values else str(fallback)

    def learn(self, message: Message) -> None:
        """Adds the ids, tokens and etags that a reply has."""
        for field, value in message.ListFields():
            if field.message_type and field.message_type.GetOptions().map_entry:
                continue
            for each in value if field.is_repeated else (value,):
                if isinstance(each, Message):
                    self.learn(each)
                elif isinstance(each, str) and (kind := kind_of(message.DESCRIPTOR.name, field.name)):
                    self.add(kind, each)


def kind_of(message: str, field: str) -> str | None:
    """The kind of values that a field has; None if it names nothing."""
    name = field.removesuffix("s")
    if name == "id":
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in message).strip("_") + "_id"
    if name == "copy_of":
        return "annotation_set_id"
    if name == "base_model_id":
        return "model_id"
    for token in TOKENS:
        if name.endswith(token):
            return token
    return name if name.endswith("_id") else None
