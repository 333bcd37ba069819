"""Server reflection that shows the contract with its comments and its validation rules."""

from collections.abc import AsyncIterator, Iterable
from functools import cache
from importlib.resources import files
from typing import Any

import grpc
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc import aio
from grpc_reflection.v1alpha import reflection, reflection_pb2

V1ALPHA: str = reflection.SERVICE_NAME
V1 = V1ALPHA.replace("v1alpha", "v1")


def enable_reflection(server: aio.Server, names: Iterable[str]) -> None:
    """Adds both versions of server reflection, which describe the services `names` and themselves."""
    described = _Reflection((*names, V1, V1ALPHA))
    # The messages of both versions have the same fields.
    handler = grpc.stream_stream_rpc_method_handler(
        described.answer,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler})
            for name in (V1, V1ALPHA)
        ]
    )


def contract() -> FileDescriptorSet:
    """The contract's files with their comments and rules, each after those that it imports."""
    return FileDescriptorSet.FromString(files("earmark").joinpath("descriptors.binpb").read_bytes())


@cache
def contract_pool() -> descriptor_pool.DescriptorPool:
    """A pool with the files of `contract`. The generated stubs lack the definitions of the rules."""
    pool = descriptor_pool.DescriptorPool()
    for file in contract().file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


class _Reflection:
    """grpcio's reflection over a pool of its own.

    A pool drops comments, so each reply gets the files of the contract as they were compiled.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._compiled = {file.name: file.SerializeToString() for file in contract().file}
        pool = descriptor_pool.DescriptorPool()
        for compiled in self._compiled.values():
            pool.AddSerializedFile(compiled)
        for name in names:
            _add_standard(pool, name)
        self._servicer = reflection.aio.ReflectionServicer(names, pool=pool)

    async def answer(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for reply in self._servicer.ServerReflectionInfo(requests, context):
            if reply.HasField("file_descriptor_response"):
                found = reply.file_descriptor_response.file_descriptor_proto
                found[:] = [self._compiled.get(_name(file), file) for file in found]
            yield reply


def _add_standard(pool: descriptor_pool.DescriptorPool, service: str) -> None:
    """Adds the file of a standard service, unless the pool has the service already."""
    if service == V1:
        file = FileDescriptorProto()
        descriptor_pool.Default().FindFileContainingSymbol(V1ALPHA).CopyToProto(file)
        text = text_format.MessageToString(file).replace("v1alpha", "v1")
        pool.AddSerializedFile(text_format.Parse(text, FileDescriptorProto()).SerializeToString())
        return
    try:
        pool.FindFileContainingSymbol(service)
    except KeyError:
        _add_file(pool, descriptor_pool.Default().FindFileContainingSymbol(service))


def _add_file(pool: descriptor_pool.DescriptorPool, file: FileDescriptor) -> None:
    """Adds a file after the files that it imports."""
    try:
        pool.FindFileByName(file.name)
    except KeyError:
        for imported in file.dependencies:
            _add_file(pool, imported)
        pool.AddSerializedFile(file.serialized_pb)


def _name(file: bytes) -> str:
    return FileDescriptorProto.FromString(file).name
