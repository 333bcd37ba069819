"""Error types: each has a reason that the contract names, and details that a client can unpack."""

import inspect
import re
from pathlib import Path
from typing import get_args

import grpc
import pytest
from grpc_status import rpc_status

from earmark.gateway import errors
from earmark.gateway.errors import FieldViolation, Violation
from earmark.v1.error_reason_pb2 import ErrorReason, ResourceType, ViolationType
from tests.gateway.calls import DETAILS

REASONS = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118 (no mapping)

EVERY = [
    errors.InvalidArgumentError([FieldViolation("config.epochs", "too many")]),
    errors.InvalidArgumentError([FieldViolation("page_token", "no")], reason="INVALID_PAGE_TOKEN"),
    errors.InvalidArgumentError([FieldViolation("part.data", "cut off")], reason="INVALID_UPLOAD"),
    errors.NotFoundError("dataset", "1"),
    errors.NotFoundError("model_alias", "calls@prod", "there are calls@production"),
    errors.AlreadyExistsError("model", "1", "model 1 is not deleted"),
    errors.RequestIdReusedError("1"),
    errors.StaleEtagError("dataset", "1", "v1", "v2"),
    errors.PreconditionError("PREREQUISITES_NOT_MET", [Violation("AUDIO_READY", "dataset/1", "2 are not")]),
    errors.wrong_state("annotation_set", "1", "published", "it never changes"),
    errors.in_use("dataset", "1", "a job needs it"),
    errors.revision_out_of_range(9, 1, 3),
    errors.model_outdated("1", "it is of front end 2: train it again"),
    errors.UnavailableError("DATABASE_UNAVAILABLE", "try again"),
    errors.QuotaError("tenant/support/waiting_training_jobs", 3, "3 jobs wait already", 10, used=3),
    errors.StreamIdleError(30),
    errors.StoredObjectDamagedError("the audio is gone: upload it again"),
    errors.UnauthenticatedError("API_KEY_MISSING", "this call needs an API key"),
    errors.UnauthenticatedError("API_KEY_INVALID", "this API key is not valid"),
    errors.ScopeMissingError("import", "1", ["read"], ["admin"]),
    errors.InternalError("1"),
]
DETAIL_OF_CODE = {
    "INVALID_ARGUMENT": "google.rpc.BadRequest",
    "NOT_FOUND": "google.rpc.ResourceInfo",
    "FAILED_PRECONDITION": "google.rpc.PreconditionFailure",
    "UNAVAILABLE": "google.rpc.RetryInfo",
    "RESOURCE_EXHAUSTED": "google.rpc.QuotaFailure",
}


@pytest.mark.parametrize("error", EVERY, ids=lambda error: f"{type(error).__name__}-{error.reason}")
def test_an_error_has_the_details_that_its_code_promises(error: errors.EarmarkError) -> None:
    status = error.status()
    details = {packed.TypeName(): DETAILS[packed.TypeName()]() for packed in status.details}
    for packed in status.details:
        assert packed.Unpack(details[packed.TypeName()])
    info = details["google.rpc.ErrorInfo"]
    assert info.reason == error.reason in REASONS
    assert (info.domain, dict(info.metadata)) == ("earmark", error.metadata)
    assert status.code == error.code.value[0] != grpc.StatusCode.OK.value[0]
    assert status.message == error.message
    if expected := DETAIL_OF_CODE.get(error.code.name):
        assert expected in details


def test_the_types_of_violations_and_of_resources_are_those_of_the_contract() -> None:
    violations = {f"VIOLATION_TYPE_{name}" for name in get_args(errors.ViolationType)}
    assert violations == {*ViolationType.keys()} - {"VIOLATION_TYPE_UNSPECIFIED"}
    resources = {f"RESOURCE_TYPE_{name.upper()}" for name in get_args(errors.ResourceType)}
    assert resources == {*ResourceType.keys()} - {"RESOURCE_TYPE_UNSPECIFIED"}


def test_every_error_type_is_tested_here() -> None:
    types = {t for _, t in inspect.getmembers(errors, inspect.isclass) if issubclass(t, errors.EarmarkError)}
    assert {type(error) for error in EVERY} == types - {errors.EarmarkError}


def test_every_reason_in_the_code_is_in_the_contract() -> None:
    source = "".join(path.read_text() for path in Path(errors.__file__).parent.rglob("*.py"))
    written = re.findall(r"reason ?= ?\"([A-Z_]+)\"", source)
    written += re.findall(r"(?:PreconditionError|UnavailableError)\(\s*\"([A-Z_]+)\"", source)
    assert len(written) > 8
    assert set(written) <= REASONS - {"UNSPECIFIED"}


@pytest.mark.parametrize("text", ["wrong", "зовсім не те", "x" * 5000, "ж" * 5000])
@pytest.mark.parametrize("count", [1, 30, 10_000])
def test_an_error_fits_into_the_metadata_that_every_client_accepts(text: str, count: int) -> None:
    fields = [FieldViolation(f"annotations[{i}].end_ms", text) for i in range(count)]
    failures = [Violation("AUDIO_READY", f"audio_file/{i}", text) for i in range(count)]
    for error in (
        errors.InvalidArgumentError(fields),
        errors.PreconditionError("PREREQUISITES_NOT_MET", failures),
        errors.AlreadyExistsError("model", "1", text),
    ):
        status = rpc_status.to_status(error.status())
        # As gRPC sends it: the message percent-encoded, the details in base64.
        size = sum(len(value) * 4 / 3 for _, value in status.trailing_metadata)
        size += sum(1 if 0x20 <= byte < 0x7F else 3 for byte in status.details.encode())
        assert size < 8000


def test_violations_that_do_not_fit_are_counted() -> None:
    fields = [FieldViolation(f"annotations[{i}].end_ms", "is beyond the end") for i in range(1000)]
    error = errors.InvalidArgumentError(fields)
    shown = error.details()[0].field_violations
    assert 20 < len(shown) < 1000
    assert shown[-1].description == f"and {1000 - (len(shown) - 1)} more"
    assert re.search(r"; and \d+ more$", error.message)
    few = errors.InvalidArgumentError(fields[:3])
    assert [v.field for v in few.details()[0].field_violations] == [v.field for v in fields[:3]]
    assert "more" not in few.message
