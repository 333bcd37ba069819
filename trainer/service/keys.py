"""The keys that a call may name: only those of objects of its own file or job."""

import re

from earmark.trainer.service.errors import CallError

# A part of a key, none of which can lead upwards.
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_UPLOAD = "source"
_SHOWN_CHARACTERS = 100


def check_below(folder: str, **keys: str) -> None:
    """Raises CallError for a key that is not below this folder of a tenant: TENANT/FOLDER/...

    The names are those of the fields. All keys must be of one tenant.
    """
    tenants = {key.partition("/")[0] for key in keys.values()}
    for field, key in keys.items():
        within = key.partition("/")[2].startswith(f"{folder}/")
        if not within or len(tenants) > 1 or not all(map(_PART.fullmatch, key.split("/"))):
            raise CallError(
                "INVALID_FIELD",
                f"{field} is {key[:_SHOWN_CHARACTERS]!r}; this call may name only keys of one tenant, below "
                f"TENANT/{folder[:_SHOWN_CHARACTERS]}/",
                field,
            )


def check_written(**keys: str) -> None:
    """Raises CallError for the key of an upload, which is never written, and for one that is named twice."""
    for field, key in keys.items():
        if key.rpartition("/")[2] == _UPLOAD or list(keys.values()).count(key) > 1:
            raise CallError(
                "INVALID_FIELD", f"{field} is {key!r}, which is not of an object of its own", field
            )
