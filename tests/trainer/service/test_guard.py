"""Who may call a trainer: gateways with its secret, and each call only what its grant says."""

import subprocess
import sys
from itertools import chain

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from earmark import grants
from earmark.grants import METADATA_KEY, GrantRefusedError, Signer, Verifier
from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.internal.v1 import trainer_service_pb2_grpc as pb_grpc
from tests.trainer.process import SECONDS, audio_request, failure, kind

SERVICE = pb.DESCRIPTOR.services_by_name["TrainerService"]
REFUSED = (grpc.StatusCode.UNAUTHENTICATED, "GRANT_REFUSED")
NOT_GRANTED = (grpc.StatusCode.PERMISSION_DENIED, "NOT_GRANTED")
OTHER_SECRET = b"another installation's secret, as long as it must be"


@pytest.fixture(scope="module")
def port(trainer):
    """A stub without grants."""
    with grpc.insecure_channel(trainer.address) as channel:
        yield pb_grpc.TrainerServiceStub(channel)


def refusal(call):
    with pytest.raises(grpc.RpcError) as caught:
        list(call())
    return failure(caught.value), caught.value


@pytest.mark.parametrize("method", list(SERVICE.methods), ids=lambda method: method.name)
@pytest.mark.parametrize(
    "metadata",
    [
        lambda _: (),
        lambda name: Signer(OTHER_SECRET).metadata(name, b""),
        lambda name: Signer().metadata(name, b""),
        lambda _: ((METADATA_KEY, b"\xff"),),
        lambda name: 2 * Signer(OTHER_SECRET).metadata(name, b""),
    ],
    ids=["none", "of another secret", "not signed", "no message", "two"],
)
def test_every_rpc_refuses_a_call_without_a_grant_of_its_secret(trainer, method, metadata) -> None:
    sides = (
        "stream" if streams else "unary" for streams in (method.client_streaming, method.server_streaming)
    )
    call = getattr(trainer.channel, "_".join(sides))(f"/{SERVICE.full_name}/{method.name}")
    request = iter([b""]) if method.client_streaming else b""
    found, error = refusal(lambda: call(request, timeout=SECONDS, metadata=metadata(method.name)))
    assert found == REFUSED
    assert kind(error) == pb.FAILURE_KIND_ENVIRONMENT


def test_a_grant_is_for_one_rpc_one_request_and_one_call(trainer, port) -> None:
    signer, request = Signer(trainer.secret), pb.GetCapacityRequest()
    of_another = signer.metadata("WatchCapacity", b"")
    assert refusal(lambda: port.GetCapacity(request, metadata=of_another))[0] == NOT_GRANTED
    processed = audio_request("one")
    for_another = signer.metadata(
        "ProcessAudio", audio_request("two").SerializeToString(), reads=["default/audio"]
    )
    assert refusal(lambda: port.ProcessAudio(processed, metadata=for_another))[0] == NOT_GRANTED
    for_none = signer.metadata("ProcessAudio", None, reads=["default/audio"], writes=["default/audio"])
    assert refusal(lambda: port.ProcessAudio(processed, metadata=for_none))[0] == NOT_GRANTED
    once = signer.metadata("GetCapacity", b"")
    assert port.GetCapacity(request, metadata=once).capacity.training_slots == 1
    assert refusal(lambda: port.GetCapacity(request, metadata=once))[0] == REFUSED


def test_an_altered_grant_is_refused(trainer, port) -> None:
    ((_, value),) = Signer(trainer.secret).metadata("GetCapacity", b"", reads=["default/audio/one"])
    signed = pb.SignedGrant.FromString(value)
    signed.grant = signed.grant.replace(b"default/audio/one", b"default/audio/two")
    metadata = ((METADATA_KEY, signed.SerializeToString()),)
    assert refusal(lambda: port.GetCapacity(pb.GetCapacityRequest(), metadata=metadata))[0] == REFUSED


def test_a_grant_needs_a_whole_nonce(monkeypatch) -> None:
    monkeypatch.setattr(grants, "NONCE_BYTES", 8)
    metadata = Signer(OTHER_SECRET).metadata("Train")
    monkeypatch.undo()
    with pytest.raises(GrantRefusedError, match="has 8 bytes, not 16"):
        Verifier([OTHER_SECRET]).verified(metadata)


def test_the_memory_for_grants_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(grants, "NONCES", 2)
    signer, verifier = Signer(OTHER_SECRET), Verifier([OTHER_SECRET])
    oldest, *latest = (signer.metadata("Train") for _ in range(3))
    for metadata in (oldest, *latest, oldest):
        verifier.verified(metadata)
    with pytest.raises(GrantRefusedError, match="was used before"):
        verifier.verified(latest[-1])


def test_reading_is_no_writing_and_nothing_is_not_everything(trainer, port) -> None:
    trainer.objects.put("default/audio/one/source", b"")
    request = audio_request("one")
    for granted in (
        {"reads": ["default/audio/one"]},
        {"writes": ["default/audio/one"]},
        {"reads": [""], "writes": [""]},
    ):
        metadata = Signer(trainer.secret).metadata("ProcessAudio", request.SerializeToString(), **granted)
        call = port.ProcessAudio(request, timeout=SECONDS, metadata=metadata)
        assert refusal(lambda call=call: call)[0] == NOT_GRANTED


def test_health_and_on_loopback_reflection_need_no_grant(trainer) -> None:
    with grpc.insecure_channel(trainer.address) as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        (reply,) = stub.ServerReflectionInfo(iter([asked]), timeout=SECONDS)
        assert SERVICE.full_name in {service.name for service in reply.list_services_response.service}


def test_the_bytes_of_a_request_are_always_the_same() -> None:
    """The digest of a request would differ from the sent bytes' if it had a map."""
    waiting = [method.input_type for method in SERVICE.methods if not method.client_streaming]
    seen = set()
    while waiting:
        message = waiting.pop()
        seen.add(message.full_name)
        assert not message.GetOptions().map_entry
        inner = [field.message_type for field in message.fields if field.message_type]
        waiting += [each for each in inner if each.full_name not in seen]
    assert "earmark.internal.v1.ProcessAudioRequest" in seen


def test_beyond_loopback_a_trainer_without_a_secret_does_not_start(tmp_path) -> None:
    command = [sys.executable, "-m", "earmark.trainer", "--trainer-port", "0", "--data-dir", str(tmp_path)]
    for secret, expected in ((), "has no secret"), (("--trainer-secret", "short"), "characters: it needs 32"):
        flags = chain(command, ("--host", "0.0.0.0"), secret)
        done = subprocess.run([*flags], capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.returncode == 1
        assert expected in done.stderr
        assert "EARMARK_TRAINER_SECRET" in done.stderr
    assert not list(tmp_path.glob("trainer-secret*"))
