"""Messages that gRPC hands over and that are no request: the caller learns why, as for any other error."""

import pytest

from earmark.v1 import annotation_service_pb2, audio_service_pb2
from tests.gateway.calls import NOWHERE, refused

BATCH = "/earmark.v1.AnnotationService/BatchCreateAnnotations"
UPLOAD = "/earmark.v1.AudioService/UploadAudio"
LIMIT = 8 << 20


def batch(size: int) -> bytes:
    """A request with about this many bytes, most of them free-form data."""
    count = size // 16_000
    extra = {"text": "x" * (size // count - 130)}
    spec = {"audio_file_id": NOWHERE, "artifact_type": "glitch", "end_ms": 1, "extra_data": extra}
    return annotation_service_pb2.BatchCreateAnnotationsRequest(
        annotation_set_id=NOWHERE, annotations=[spec] * count
    ).SerializeToString()


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (batch(LIMIT + (1 << 20)), f"bytes, but at most {LIMIT} are accepted"),
        (b"\xff\xff\xff", "no message of this rpc"),
    ],
    ids=["too large", "undecodable"],
)
async def test_a_message_that_cannot_be_used_is_refused_in_words(gateway, message, problem) -> None:
    call = gateway.channel.unary_unary(BATCH)(message)
    refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_MESSAGE")
    assert problem in refusal.fields[""]
    assert refusal.message == refusal.fields[""]


async def test_a_part_that_is_too_large_ends_its_upload(gateway) -> None:
    large = audio_service_pb2.UploadAudioRequest(part={"data": b"x" * LIMIT}).SerializeToString()
    call = gateway.channel.stream_unary(UPLOAD)(iter([large]))
    refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_MESSAGE")
    assert "send smaller parts" in refusal.message
    assert gateway.objects() == []


async def test_a_message_just_below_the_limit_reaches_its_rpc(gateway) -> None:
    message = batch(LIMIT - 1024)
    assert LIMIT - (1 << 20) < len(message) < LIMIT
    call = gateway.channel.unary_unary(BATCH)(message)
    refusal = await refused(call, "NOT_FOUND", "NOT_FOUND")
    assert refusal.resource[0] == "annotation_set"
