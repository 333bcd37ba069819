"""The contract lints, is backward compatible, matches its generated code, and its grpcurl lines are valid."""

import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import protovalidate
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.rpc import code_pb2, error_details_pb2, status_pb2  # noqa: F401 the details of examples
from protovalidate._gen.buf.validate import validate_pb

from earmark.gateway import field_rules
from earmark.gateway.interceptors import MESSAGE_BYTES
from protos import generate

# Imported to register their messages in the default descriptor pool.
from earmark.internal.v1 import trainer_service_pb2  # noqa: F401 isort: skip
from earmark.v1 import (  # noqa: F401 isort: skip
    admin_service_pb2,
    annotation_service_pb2,
    audio_service_pb2,
    dataset_service_pb2,
    detection_service_pb2,
    error_reason_pb2,
    model_service_pb2,
    training_service_pb2,
)

ROOT = Path(__file__).parents[2]
BUF = Path(sys.executable).with_name("buf")
PORTS = {"earmark.v1": 50051, "earmark.internal.v1": 50052}
# The contract that clients depend on.
# gateway.wire limits its bytes and counts its fields.
FREE_FORM = "google.protobuf.Struct"
BASELINE = ROOT / "protos" / "baseline.binpb"


def run(*command: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )


@cache
def files() -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """The descriptors of every .proto file, Earmark's own with comments, by file name."""
    compiled = (generate.GEN / "earmark" / "descriptors.binpb").read_bytes()
    return {file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(compiled).file}


def rpcs() -> dict[str, tuple[descriptor_pb2.MethodDescriptorProto, str]]:
    """Each rpc's descriptor and comment, by the rpc's path."""
    described = {}
    for file in files().values():
        comments = {tuple(at.path): at.leading_comments for at in file.source_code_info.location}
        for s, service in enumerate(file.service):
            for m, method in enumerate(service.method):
                path = f"{file.package}.{service.name}/{method.name}"
                described[path] = (method, comments.get((6, s, 2, m), ""))  # service, method
    return described


def reasons() -> dict[str, str]:
    """The comment of each ErrorReason that is sent, by its name without the prefix."""
    file = files()["earmark/v1/error_reason.proto"]
    comments = {tuple(at.path): at.leading_comments for at in file.source_code_info.location}
    [(number, enum)] = [(n, enum) for n, enum in enumerate(file.enum_type) if enum.name == "ErrorReason"]
    return {
        value.name.removeprefix("ERROR_REASON_"): comments[5, number, 2, n]  # enum, value
        for n, value in enumerate(enum.value)
        if value.number
    }


def test_the_protos_lint() -> None:
    done = run(BUF, "lint")
    assert done.returncode == 0, done.stdout.decode()


def breaking(folder: Path, image: Path) -> str:
    """What buf finds in the contract below a folder that breaks clients of the baseline."""
    built = run(BUF, "build", folder, "-o", image)
    assert built.returncode == 0, built.stderr.decode()
    # buf compares one image with one: the folder would be one per module of buf.yaml.
    done = run(BUF, "breaking", image, "--against", BASELINE, "--config", ROOT / "buf.yaml")
    assert not done.stderr, done.stderr.decode()
    return done.stdout.decode()


def test_the_contract_is_compatible_with_its_baseline(tmp_path) -> None:
    """To break it on purpose, write a new baseline with `make baseline`."""
    assert breaking(ROOT, tmp_path / "image.binpb") == ""


def test_a_change_that_breaks_clients_is_noticed(tmp_path) -> None:
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    shutil.copytree(ROOT / "protos", tmp_path / "protos", ignore=shutil.ignore_patterns("gen"))
    changed = tmp_path / "protos" / "earmark" / "v1" / "dataset_service.proto"
    changed.write_text(changed.read_text().replace("string description = 3", "bytes description = 3"))
    assert 'with name "description" on message "Dataset"' in breaking(tmp_path, tmp_path / "image.binpb")


def test_every_list_map_and_free_form_field_of_a_request_has_a_limit() -> None:
    pool = descriptor_pool.Default()
    inputs = {
        method.input_type.removeprefix(".")
        for path, (method, _) in rpcs().items()
        if path.startswith("earmark.v1.")
    }
    messages = list(map(pool.FindMessageTypeByName, sorted(inputs)))
    for message in messages:
        inside = [f.message_type for f in message.fields if f.message_type]
        messages += [m for m in inside if m not in messages and m.full_name != FREE_FORM]
    fields = [(message, field) for message in messages for field in message.fields]
    lists = [(message, field.name) for message, field in fields if field.is_repeated]
    assert len(lists) > 20
    assert [f"{m.name}.{name}" for m, name in lists if name not in field_rules.limits(m)] == []
    data = [f for _, f in fields if f.type == f.TYPE_BYTES]
    assert len(data) == 3
    assert all(protovalidate.collect_violations(_of_bytes(field)) for field in data)


def _of_bytes(field) -> object:
    """A message with one byte too many in this field."""
    message = message_factory.GetMessageClass(field.containing_type)()
    setattr(message, field.name, bytes(MESSAGE_BYTES + 1))
    return message


def test_the_stubs_are_generated_from_the_protos(tmp_path) -> None:
    generate.generate(tmp_path)
    fresh, kept = contents(tmp_path), contents(generate.GEN)
    stale = sorted(str(path) for path in fresh.keys() | kept.keys() if fresh.get(path) != kept.get(path))
    assert stale == [], "run `make protos`"


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file under `folder` that Python did not write."""
    found = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(folder): path.read_bytes() for path in found}


def test_the_vendored_rules_are_those_of_protovalidate() -> None:
    installed = descriptor_pb2.FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary())
    vendored = descriptor_pb2.FileDescriptorProto()
    vendored.CopyFrom(files()["buf/validate/validate.proto"])
    assert vendored == installed, "copy validate.proto of protovalidate's release to protos/third_party"


@pytest.mark.parametrize("reason", reasons())
def test_the_comment_of_each_reason_has_an_example_of_the_error(reason) -> None:
    comment = reasons()[reason]
    example = comment[comment.index("\n     {\n") :]
    if comment.startswith((" In TrainingJob.error", " In DetectionJob.error", " In DetectionFile.error")):
        error = json_format.Parse(example, training_service_pb2.TrainingJobError())
        assert error_reason_pb2.ErrorReason.Name(error.reason) == f"ERROR_REASON_{reason}"
        assert error.message
        return
    status = json_format.Parse(example, status_pb2.Status())
    assert code_pb2.Code.Name(status.code) in comment
    info, *others = [json_format.MessageToDict(detail) for detail in status.details]
    assert (info["@type"], info["reason"]) == ("type.googleapis.com/google.rpc.ErrorInfo", reason)
    assert info["domain"] == "earmark"
    assert status.message
    # The comment names every other detail and every key of the metadata.
    assert all(detail["@type"].removeprefix("type.googleapis.com/") in comment for detail in others)
    assert all(key in comment[: comment.index("\n     {\n")] for key in info.get("metadata", {}))


@pytest.mark.parametrize("path", rpcs())
def test_the_grpcurl_line_of_each_rpc_is_a_call_of_it(path) -> None:
    method, comment = rpcs()[path]
    line = comment.rstrip().splitlines()[-1].strip()
    command, address, called = line.rsplit(" ", 2)
    assert "grpcurl -plaintext" in command
    assert address == f"localhost:{PORTS[path.rpartition('.')[0]]}"
    assert called == path
    request = descriptor_pool.Default().FindMessageTypeByName(method.input_type.removeprefix("."))
    bodies = re.findall(r"'(\{.*?\})'", command) or ["{}"]
    messages = [body.replace("%s", "AAAA").replace("%d", "1") for body in bodies]  # of printf
    assert method.client_streaming or len(messages) == 1
    for text in messages:
        message = json_format.Parse(text, message_factory.GetMessageClass(request)())
        assert protovalidate.collect_violations(message) == [], json.loads(text)
