"""Field masks and etags."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from earmark.gateway.convert import values
from earmark.gateway.errors import InvalidArgumentError, StaleEtagError
from earmark.gateway.field_masks import check_etag, masked_paths

EDITABLE = ("name", "description")


def test_a_mask_is_the_set_of_its_paths() -> None:
    assert masked_paths(FieldMask(paths=["name", "name"]), EDITABLE) == {"name"}
    assert masked_paths(FieldMask(paths=EDITABLE), EDITABLE) == set(EDITABLE)


def test_every_path_that_cannot_be_changed_is_named() -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        masked_paths(FieldMask(paths=["id", "name", "created_at", "*"]), EDITABLE)
    assert refusal.value.reason == "INVALID_UPDATE_MASK"
    descriptions = [violation.description for violation in refusal.value.violations]
    assert descriptions == [
        f"{path!r} cannot be changed; what can be: name, description" for path in ("id", "created_at", "*")
    ]


def test_the_error_for_an_empty_mask_names_the_editable_fields() -> None:
    with pytest.raises(InvalidArgumentError, match="names no field; what can be changed: name, description"):
        masked_paths(FieldMask(), EDITABLE)


def test_an_etag_is_checked_if_it_was_sent() -> None:
    check_etag("dataset", "1", "", 3)
    check_etag("dataset", "1", values.etag(3), 3)
    with pytest.raises(StaleEtagError) as refusal:
        check_etag("dataset", "1", values.etag(2), 3)
    assert refusal.value.metadata == {"current_etag": values.etag(3)}
