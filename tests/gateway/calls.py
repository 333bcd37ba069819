"""A running gateway, the calls that most tests begin with, and the errors of refused calls."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status

from earmark.gateway.dispatcher.orphans import remove_orphans
from earmark.gateway.loop_watch import LoopWatch
from earmark.gateway.server import running
from earmark.gateway.settings import GatewaySettings
from earmark.storage.database import Database
from earmark.storage.objects import STORE_ID, ObjectStore
from earmark.storage.queries import audio
from earmark.v1 import annotation_service_pb2 as annotation_pb
from earmark.v1 import audio_service_pb2 as audio_pb
from earmark.v1 import dataset_service_pb2 as dataset_pb
from earmark.v1.annotation_service_pb2_grpc import AnnotationServiceStub
from earmark.v1.audio_service_pb2_grpc import AudioServiceStub
from earmark.v1.dataset_service_pb2_grpc import DatasetServiceStub

# CPU time. The goal is 20 ms; the rest is for the first calls of a process and for a busy machine, where a
# step takes twice as long.
LONGEST_STEP_SECONDS = 0.1
NOWHERE = "019a9f3e-7b1c-7d2a-9c55-0f6f3f1f2a11"
DETAILS = {
    detail.DESCRIPTOR.full_name: detail
    for detail in (
        error_details_pb2.ErrorInfo,
        error_details_pb2.BadRequest,
        error_details_pb2.PreconditionFailure,
        error_details_pb2.ResourceInfo,
        error_details_pb2.RetryInfo,
        error_details_pb2.QuotaFailure,
    )
}


@dataclass
class Gateway:
    """A running gateway, with a channel to it, its database and its data directory."""

    channel: aio.Channel
    database: Database
    data_dir: Path
    address: str = ""

    def __post_init__(self) -> None:
        self.datasets = DatasetServiceStub(self.channel)
        self.audio = AudioServiceStub(self.channel)
        self.annotations = AnnotationServiceStub(self.channel)

    async def execute(self, statement: str, *arguments: Any) -> None:
        async with self.database.connection() as connection:
            await connection.execute(statement, *arguments)

    async def count(self, table: str) -> int:
        async with self.database.connection() as connection:
            return await connection.fetchval(f"SELECT count(*) FROM {table}")

    def objects(self) -> list[str]:
        """The keys of every stored object."""
        return keys(self.data_dir)


@asynccontextmanager
async def opened(
    database_url: str, data_dir: Path, *, trainers: str = "", **settings: Any
) -> AsyncIterator[Gateway]:
    """Runs a gateway inside the block. When the block has ended, all its calls have ended.

    Fails if a call kept the event loop for longer than LONGEST_STEP_SECONDS.
    """
    watch = LoopWatch()
    chosen = GatewaySettings(
        host="127.0.0.1",
        port=0,
        database_url=database_url,
        data_dir=data_dir,
        trainers=trainers,
        **{"retry_seconds": 0.01} | settings,
    )
    async with (
        running(chosen, loop_watch=watch) as port,
        aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        Database(database_url) as database,
    ):
        yield Gateway(channel, database, data_dir, f"127.0.0.1:{port}")
    longest = watch.calls.longest()
    kept = f"{longest.name} kept the event loop for {longest.seconds:.3f} s of CPU time"
    assert longest.seconds < LONGEST_STEP_SECONDS, kept


def keys(data_dir: Path) -> list[str]:
    """The files in the folders of objects and of unfinished uploads, relative to the folder of objects.

    Without the one that has the store's id.
    """
    files = [path for name in ("objects", "uploads") for path in (data_dir / name).rglob("*")]
    return sorted(
        str(path.relative_to(data_dir / "objects"))
        for path in files
        if path.is_file() and path.name != STORE_ID
    )


@dataclass
class Refusal:
    """A call's error with its details unpacked."""

    code: grpc.StatusCode
    message: str
    details: dict[str, Message]

    @property
    def info(self) -> error_details_pb2.ErrorInfo:
        return self.details["google.rpc.ErrorInfo"]

    @property
    def fields(self) -> dict[str, str]:
        """The description of each invalid field."""
        return {v.field: v.description for v in self.details["google.rpc.BadRequest"].field_violations}

    @property
    def violations(self) -> list[tuple[str, str, str]]:
        """Each precondition's type, subject and description."""
        failure = self.details["google.rpc.PreconditionFailure"]
        return [(v.type, v.subject, v.description) for v in failure.violations]

    @property
    def resource(self) -> tuple[str, str]:
        info = self.details["google.rpc.ResourceInfo"]
        return info.resource_type, info.resource_name


async def refused(call: Awaitable[Any], code: str, reason: str) -> Refusal:
    """The error of a call that must fail with this code and reason, and with details of types in DETAILS."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    refusal = refusal_of(caught.value)
    assert (refusal.code.name, refusal.info.reason, refusal.info.domain) == (code, reason, "earmark")
    return refusal


def refusal_of(error: aio.AioRpcError) -> Refusal:
    status = rpc_status.from_call(error)
    assert status is not None, error
    details = {}
    for packed in status.details:
        detail = DETAILS[packed.TypeName()]()
        assert packed.Unpack(detail)
        details[packed.TypeName()] = detail
    return Refusal(error.code(), error.details() or "", details)


async def dataset(gateway: Gateway, *types: str) -> str:
    """Creates a dataset; returns its id."""
    request = dataset_pb.CreateDatasetRequest(name="calls", artifact_types=[{"name": name} for name in types])
    return (await gateway.datasets.CreateDataset(request)).dataset.id


def messages(dataset_id: str, data: bytes, part: int = 1 << 20, **metadata: Any) -> list[Any]:
    """The messages of an upload, with at most `part` bytes of data in each."""
    announced = {"dataset_id": dataset_id, "filename": "call.wav", "size_bytes": len(data)} | metadata
    parts = [
        audio_pb.UploadAudioRequest(part={"offset": start, "data": data[start : start + part]})
        for start in range(0, len(data), part)
    ]
    return [audio_pb.UploadAudioRequest(metadata=announced), *parts]


async def upload(gateway: Gateway, dataset_id: str, data: bytes = b"RIFF", **metadata: Any) -> Any:
    """Uploads a file; returns the new audio file, which is pending."""
    requests = iter(messages(dataset_id, data, **metadata))
    return (await gateway.audio.UploadAudio(requests)).audio_file


async def finish_processing(gateway: Gateway, status: str = "ready", **facts: Any) -> None:
    """Moves every pending file to this status, as a trainer would."""
    async with gateway.database.connection() as connection:
        for file in await audio.claim(connection, 1000, 60):
            await audio.advance(connection, file.id, file.attempt, status, lease_seconds=60, **facts)


async def decoded(gateway: Gateway, dataset_id: str, duration_ms: int = 10_000, channels: int = 1) -> str:
    """Uploads a file and makes it ready; returns its id."""
    file = await upload(gateway, dataset_id)
    await finish_processing(gateway, duration_ms=duration_ms, channels=channels)
    return file.id


async def draft(gateway: Gateway, dataset_id: str, **fields: Any) -> Any:
    """Creates an annotation set."""
    request = annotation_pb.CreateAnnotationSetRequest(dataset_id=dataset_id, **fields)
    return (await gateway.annotations.CreateAnnotationSet(request)).annotation_set


def new_annotation(audio_file_id: str, artifact_type: str = "glitch", **fields: Any) -> dict[str, Any]:
    """The fields of an annotation for `annotate`."""
    return {
        "audio_file_id": audio_file_id,
        "artifact_type": artifact_type,
        "start_ms": 100,
        "end_ms": 250,
    } | fields


async def annotate(
    gateway: Gateway, set_id: str, *new_annotations: dict[str, Any], **fields: Any
) -> list[str]:
    """Adds annotations to a draft; returns their ids."""
    request = annotation_pb.BatchCreateAnnotationsRequest(
        annotation_set_id=set_id, annotations=new_annotations, **fields
    )
    return list((await gateway.annotations.BatchCreateAnnotations(request)).annotation_ids)


async def publish(gateway: Gateway, set_id: str, **fields: Any) -> Any:
    """Publishes a set; returns it."""
    request = annotation_pb.PublishAnnotationSetRequest(annotation_set_id=set_id, **fields)
    return (await gateway.annotations.PublishAnnotationSet(request)).annotation_set


async def sweep(gateway: Gateway) -> None:
    """Removes the objects of what was deleted, as the dispatcher does every ten minutes."""
    await remove_orphans(gateway.database, ObjectStore.open(str(gateway.data_dir / "objects")))


async def together(*calls: Awaitable[Any]) -> list[Any]:
    """Runs the calls concurrently; returns their results or errors."""
    return await asyncio.gather(*calls, return_exceptions=True)
