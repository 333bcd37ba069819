"""Server reflection, as grpcurl uses it: both versions answer, with comments and validation rules."""

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from earmark.reflection import V1, V1ALPHA

VERSIONS = pytest.mark.parametrize("version", [V1, V1ALPHA])


async def ask(gateway, version: str, **question: str) -> ServerReflectionResponse:
    call = gateway.channel.stream_stream(
        f"/{version}/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )
    (reply,) = [reply async for reply in call(iter([ServerReflectionRequest(**question)]))]
    return reply


async def described(gateway, version: str, symbol: str) -> dict[str, FileDescriptorProto]:
    reply = await ask(gateway, version, file_containing_symbol=symbol)
    found = map(FileDescriptorProto.FromString, reply.file_descriptor_response.file_descriptor_proto)
    return {file.name: file for file in found}


@VERSIONS
async def test_the_comment_of_a_field_is_served(gateway, version) -> None:
    files = await described(gateway, version, "earmark.v1.TrainingConfig")
    file = files["earmark/v1/training_config.proto"]
    comments = {tuple(at.path): at.leading_comments for at in file.source_code_info.location}
    names = [message.name for message in file.message_type]
    config = names.index("TrainingConfig")
    epochs = [field.name for field in file.message_type[config].field].index("epochs")
    assert "Passes over the training chunks" in comments[4, config, 2, epochs]


@VERSIONS
async def test_every_import_of_a_described_file_is_served(gateway, version) -> None:
    files = await described(gateway, version, "earmark.v1.TrainingService")
    assert "buf/validate/validate.proto" in files
    assert {name for file in files.values() for name in file.dependency} <= files.keys()


@VERSIONS
async def test_every_service_that_is_listed_is_described(gateway, version) -> None:
    reply = await ask(gateway, version, list_services="")
    names = {service.name for service in reply.list_services_response.service}
    assert {V1, V1ALPHA, "grpc.health.v1.Health", "earmark.v1.TrainingService"} <= names
    for name in names:
        files = await described(gateway, version, name)
        assert name in {f"{file.package}.{one.name}" for file in files.values() for one in file.service}
