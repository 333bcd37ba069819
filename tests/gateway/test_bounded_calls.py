"""Whatever a call sends, it is refused in words and keeps the event loop only for moments.

The fixture `gateway` fails if a call keeps the loop for longer than that.
"""

import base64
import gzip
from urllib.parse import quote
from uuid import uuid4

import grpc
import pytest
from google.protobuf.message import DecodeError
from grpc import aio
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.gateway import wire
from earmark.gateway.errors import (
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
    PreconditionError,
    QuotaError,
    Violation,
)
from earmark.gateway.watching.cursor import Cursor
from earmark.v1 import annotation_service_pb2 as pb
from earmark.v1 import dataset_service_pb2, training_service_pb2
from tests.gateway.calls import (
    NOWHERE,
    annotate,
    dataset,
    draft,
    new_annotation,
    refused,
    upload,
)

BATCH = "/earmark.v1.AnnotationService/BatchCreateAnnotations"
UPDATE = "/earmark.v1.AnnotationService/UpdateAnnotation"
SETS = "/earmark.v1.AnnotationService/ListAnnotationSets"
JOB = "/earmark.v1.TrainingService/CreateTrainingJob"
# gRPC cuts off errors of more than this.
METADATA_BYTES = 8 << 10


def nested(*numbers: int, data: bytes) -> bytes:
    """`data` in messages inside one another, of these field numbers."""
    for number in reversed(numbers):
        data = bytes([number << 3 | 2]) + varint(len(data)) + data
    return data


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


@pytest.mark.parametrize(
    ("method", "message", "field", "problem"),
    [
        (BATCH, b"\x12\x00" * 10_001, "annotations", "no more than 10000 items"),
        (BATCH, b"\x12\x00" * 4_000_000, "annotations", "no more than 10000 items"),
        (SETS, b"\x22" + varint(200_000) + bytes(200_000), "statuses", "no more than 100 items"),
        (SETS, b"\x20\x00" * 200_000, "statuses", "no more than 100 items"),
        (JOB, nested(3, data=b"\x0a\x00" * 100_000), "config.artifact_types", "no more than 200"),
        (JOB, b"\x22\x00" * 50_000, "metadata", "no more than 16 items"),
        (UPDATE, nested(2, data=b"\x0a\x00" * 1_000_000), "update_mask.paths", "no more than 100"),
        (
            UPDATE,
            nested(1, 8, 1, data=b"\x0a\x01a" + nested(2, 6, data=b"\x0a\x00" * 600_000)),
            "annotation.extra_data",
            "at most 16384 are allowed",
        ),
        (UPDATE, b"\xf8\x01\x00" * 1_000_000, "", "fields on the wire"),
    ],
    ids=["annotations", "4 million", "packed", "statuses", "types", "pairs", "paths", "numbers", "unknown"],
)
async def test_the_first_excess_is_refused_before_anything_is_decoded(
    gateway, method, message, field, problem
) -> None:
    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        call = gateway.channel.unary_unary(method)(message, compression=compression)
        with pytest.raises(aio.AioRpcError) as caught:
            await call
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details().startswith(field)
        assert problem in caught.value.details()


async def test_a_compressed_message_counts_by_its_unpacked_size(gateway) -> None:
    message = b"\x12\x00" * (5 << 20)
    assert len(gzip.compress(message)) < 20_000
    call = gateway.channel.unary_unary(BATCH)(message, compression=grpc.Compression.Gzip)
    refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_MESSAGE")
    assert f"has {len(message)} bytes" in refusal.message


async def test_a_whole_batch_is_stored_with_its_free_form_data(gateway) -> None:
    dataset_id = await dataset(gateway, "glitch")
    file, set_id = await upload(gateway, dataset_id), (await draft(gateway, dataset_id)).id
    small = new_annotation(file.id, extra_data={"who": "a", "n": 1})
    assert len(await annotate(gateway, set_id, *[small] * 10_000, request_id=str(uuid4()))) == 10_000


@settings(max_examples=200)
@given(
    st.binary(max_size=200), st.sampled_from([pb.BatchCreateAnnotationsRequest, pb.UpdateAnnotationRequest])
)
async def test_bytes_that_decode_pass_the_check_and_the_check_ends(data: bytes, message: type) -> None:
    try:
        message.FromString(data)
    except DecodeError:
        return
    if not any(byte & 7 in (3, 4) for byte in data):  # no group, which protobuf no longer has
        await wire.check(data, message.DESCRIPTOR)


LONG = st.text(max_size=50).map(lambda text: text * 300)


@settings(max_examples=50)
@given(LONG, LONG)
def test_errors_fit_into_the_metadata_whatever_they_name(name: str, text: str) -> None:
    for error in (
        InvalidArgumentError([FieldViolation(name, text)] * 50),
        PreconditionError("IN_USE", [Violation("IN_USE", name, text)] * 50, {"state": text}),
        NotFoundError("dataset", name),
        QuotaError(name, 1, text, 1.0),
    ):
        # The details are sent in base64, and the message percent-encoded beside them.
        status = error.status()
        sent = len(base64.b64encode(status.SerializeToString())) + len(quote(status.message))
        assert sent < METADATA_BYTES - 200


async def test_a_key_of_any_length_is_refused_in_words(gateway) -> None:
    request = training_service_pb2.CreateTrainingJobRequest(
        dataset_id=NOWHERE, annotation_set_id=NOWHERE, metadata={"k" * 9000: ""}
    )
    request.config.artifact_types.append("glitch")
    call = gateway.channel.unary_unary(JOB)(request.SerializeToString())
    refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
    assert len(next(iter(refusal.fields))) <= 300


@settings(max_examples=100)
@given(st.binary(min_size=24, max_size=24) | st.binary(max_size=60))
def test_the_numbers_of_a_forged_cursor_are_numbers_of_the_database(data: bytes) -> None:
    text = base64.urlsafe_b64encode(data).decode()
    try:
        cursor = Cursor.parse(text)
    except InvalidArgumentError:
        return
    assert max(cursor.sequence, cursor.time, cursor.compacted) < 1 << 63


async def test_a_forged_cursor_is_refused(gateway) -> None:
    cursor = str(Cursor((1 << 64) - 1, 0, 0))
    request = training_service_pb2.WatchTrainingJobsRequest(after_cursor=cursor)
    call = gateway.channel.unary_stream("/earmark.v1.TrainingService/WatchTrainingJobs")(
        request.SerializeToString()
    )
    await refused(call.read(), "INVALID_ARGUMENT", "INVALID_FIELD")


async def test_annotations_of_extreme_times_leave_every_reply_in_order(gateway) -> None:
    dataset_id = await dataset(gateway, "glitch")
    file, created = await upload(gateway, dataset_id), await draft(gateway, dataset_id)
    call = annotate(gateway, created.id, new_annotation(file.id, start_ms=0, end_ms=(1 << 63) - 1))
    refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
    assert list(refusal.fields) == ["annotations[0].end_ms"]
    longest = 31 * 24 * 3600 * 1000
    await annotate(gateway, created.id, *[new_annotation(file.id, start_ms=0, end_ms=longest)] * 3)
    request = pb.GetAnnotationSetRequest(annotation_set_id=created.id)
    read = (await gateway.annotations.GetAnnotationSet(request)).annotation_set
    assert read.total_positive_duration_ms == 3 * longest
    assert (await draft(gateway, dataset_id, copy_of=created.id)).total_annotations == 3
    listed = await gateway.annotations.ListAnnotationSets(pb.ListAnnotationSetsRequest(dataset_id=dataset_id))
    assert len(listed.annotation_sets) == 2


async def test_a_request_id_in_capitals_is_the_same(gateway) -> None:
    request_id = str(uuid4())
    requests = [
        dataset_service_pb2.CreateDatasetRequest(name="calls", request_id=text)
        for text in (request_id, request_id.upper())
    ]
    first, second = [await gateway.datasets.CreateDataset(request) for request in requests]
    assert first == second
