"""One call of the fuzzer: what it sends is decided by a seed and a number; then it is made and judged."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import any_pb2, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status

from earmark.client.aio.streams import lost_its_status
from earmark.gateway.interceptors import MESSAGE_BYTES
from earmark.grants import Signer
from earmark.internal.v1 import trainer_service_pb2
from tests.fuzz.callers import CALLERS, Callers
from tests.fuzz.damage import damaged, mutate
from tests.fuzz.known import Known
from tests.fuzz.messages import Maker

CALL_SECONDS = 5.0
# Of a call that decodes a file, exports a model or waits for a job's last checkpoint, beside many others.
WORK_SECONDS = 60.0
WORK = ("ProcessAudio", "Detect", "DetectFiles", "ExportModel", "HandBack")
# What every error has.
DETAILS = {
    "earmark.v1": [error_details_pb2.ErrorInfo],
    "earmark.internal.v1": [error_details_pb2.ErrorInfo, trainer_service_pb2.Failure],
}
# How long the fuzzer waits for the end of a call that it then cancels.
PATIENCE_SECONDS = (0.01, 0.1, 0.3)
MOST_REPLIES = 20
CHANNEL_OPTIONS = (("grpc.max_send_message_length", 64 << 20), ("grpc.max_receive_message_length", 64 << 20))
# A larger message is refused by gRPC itself, without an ErrorInfo.
GRPC_BYTES = {"earmark.v1": 4 * MESSAGE_BYTES, "earmark.internal.v1": MESSAGE_BYTES}
# They go on until the caller ends them, or for as long as the work of a job or a file takes.
STAY_OPEN = (
    "WatchAudioFiles",
    "WatchDetectionJob",
    "WatchTrainingJob",
    "WatchTrainingJobs",
    "WatchCapacity",
    "Train",
)
DELETIONS = (
    "DeleteDataset",
    "DeleteAudioFile",
    "DeleteAnnotationSet",
    "DeleteAnnotation",
    "DeleteTrainingJob",
    "DeleteDetectionJob",
    "DeleteModel",
)
# They are called less often than others, because they end what the others need, or take long.
RARE, RARITY = (*DELETIONS, "CancelTrainingJob", "CancelDetectionJob", "Train", "ProcessAudio"), 0.25
# After them a dataset is of little use: none can be trained on that has a file which has failed.
UPLOADS = ("UploadAudio", "UploadRecording")
HARMFUL = ("DeleteDataset", "UploadAudio")
# Whether a call of a trainer has the grant that it needs, and how often.
GRANTS = {"": 40, "none": 1, "of another secret": 1, "for little": 2, "damaged": 1}
OTHER_SECRET = b"the secret of another installation, which is none of this one's"
LONGEST_GRANT = 4_000  # gRPC itself refuses longer metadata, without an ErrorInfo
PREFIXES = ("default/audio", "default/jobs", "default/recordings")
SIDES = ("unary", "stream")
ENDINGS = ("close", "cancel", "silence")
# Reasons that blame what works, such as the database that has undone a change as a deadlock.
FAULTS = ("DATABASE_UNAVAILABLE", "OBJECT_STORE_UNAVAILABLE", "DISK_FULL")
BROKEN = ("INTERNAL", "UNKNOWN", "UNIMPLEMENTED", "DEADLINE_EXCEEDED", "DATA_LOSS")


@dataclass(frozen=True)
class Call:
    """Messages as bytes, and how the sending side ends: by its end, by a cancel, or never."""

    seed: int
    number: int
    method: MethodDescriptor
    messages: list[bytes]
    ending: str
    patience: float
    compressed: bool
    seconds: float  # that it may take
    grant: str  # one of GRANTS; only calls of a trainer have one
    caller: str  # one of CALLERS; of calls of the gateway

    @property
    def is_cut(self) -> bool:
        """Whether the fuzzer ends it, if it has not ended by then."""
        return self.ending != "close" or self.method.name in STAY_OPEN

    @property
    def name(self) -> str:
        return f"{self.method.containing_service.name}.{self.method.name}"

    @property
    def package(self) -> str:
        package: str = self.method.containing_service.file.package
        return package

    @property
    def path(self) -> str:
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    def __str__(self) -> str:
        sizes = ", ".join(str(len(message)) for message in self.messages[:10])
        first = self.messages[0][:200].hex() if self.messages else ""
        return f"{self.name} --seed {self.seed} --only {self.number} ({self.ending}; bytes {sizes}; {first})"


@dataclass(frozen=True)
class Outcome:
    """How a call ended; `problem` says what must not be.

    The status is LOST where grpc.aio replaced that of a call which was refused before it had sent all.
    """

    status: str
    seconds: float
    problem: str = ""


def make(
    seed: int, number: int, methods: list[MethodDescriptor], known: Known, seconds: float = CALL_SECONDS
) -> Call:
    """The call of this number. Only ids, tokens and keys depend on what came before."""
    rng = random.Random(f"{seed} {number}")
    (method,) = rng.choices(methods, [RARITY if method.name in RARE else 1 for method in methods])
    maker = Maker(rng, known, harms=method.name in HARMFUL)
    streams = method.client_streaming
    messages = [*_stream(method, rng, maker)] if streams else [maker.valid(method.input_type)]
    choice = rng.random()
    if messages and choice < 0.25:
        for _ in range(rng.choice((1, 1, 2, 4))):
            mutate(rng.choice(messages), rng, maker)
    data = [message.SerializeToString() for message in messages]
    if data and choice > 0.85:
        at = rng.randrange(len(data))
        data[at] = damaged(data[at], rng)
    ending = rng.choices(ENDINGS, (14, 3, 1))[0]
    patience, compressed = rng.choice(PATIENCE_SECONDS), rng.random() < 0.15
    if method.name in WORK:
        seconds = WORK_SECONDS
    (grant,) = rng.choices(list(GRANTS), list(GRANTS.values()))
    (caller,) = rng.choices(list(CALLERS), list(CALLERS.values()))
    return Call(seed, number, method, data, ending, patience, compressed, seconds, grant, caller)


def _stream(method: MethodDescriptor, rng: random.Random, maker: Maker) -> Iterable[Any]:
    """Messages of a stream, the first of them mostly what the first must be."""
    first, *later = [field.name for field in method.input_type.oneofs_by_name["content"].fields]
    count = rng.choice((0, 1, 2, 2, 2, 2, 3, 6))
    messages = [maker.valid(method.input_type, oneof=rng.choice(later)) for _ in range(max(0, count - 1))]
    if count:
        messages.insert(0, maker.valid(method.input_type, oneof=first if rng.random() < 0.9 else ""))
    if method.name in UPLOADS and rng.random() < 0.8:
        _make_whole(messages)
    return messages


def _make_whole(messages: list[Any]) -> None:
    """Makes the metadata of an upload true."""
    for message in messages[1:]:
        message.part.ClearField("offset")
    if messages:
        messages[0].metadata.size_bytes = sum(len(message.part.data) for message in messages[1:])


def _metadata(call: Call, signer: Signer, callers: Callers) -> Any:
    """The key of a call of the gateway, and the grant of one of a trainer."""
    if call.package == "earmark.v1":
        return callers.metadata(call.caller)
    if call.grant == "none":
        return ()
    request = None if call.method.client_streaming else call.messages[0]
    prefixes = ("default/audio/none",) if call.grant == "for little" else PREFIXES
    if call.grant == "of another secret":
        signer = Signer(OTHER_SECRET)
    ((key, value),) = signer.metadata(call.method.name, request, reads=prefixes, writes=prefixes)
    if call.grant == "damaged":
        value = damaged(bytes(value), random.Random(f"{call.seed} {call.number} grant"))[:LONGEST_GRANT]
    return ((key, value),)


async def perform(
    call: Call, channel: aio.Channel, known: Known, signer: Signer, callers: Callers
) -> Outcome:
    """Makes the call, and cancels it if it is meant to be cancelled or stays open."""
    method, started = call.method, time.monotonic()
    shape = f"{SIDES[method.client_streaming]}_{SIDES[method.server_streaming]}"
    compression = grpc.Compression.Gzip if call.compressed else None
    request = _sent(call) if method.client_streaming else call.messages[0]
    opened = getattr(channel, shape)(call.path)(
        request, timeout=call.seconds, compression=compression, metadata=_metadata(call, signer, callers)
    )
    seen = ""
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(call.patience if call.is_cut else None):
                seen = await _read(call, opened, known)
        opened.cancel()
        error = aio.AioRpcError(
            await opened.code(),
            await opened.initial_metadata(),
            await opened.trailing_metadata(),
            await opened.details(),
        )
    except aio.AioRpcError as raised:
        error = raised
    except asyncio.CancelledError:
        if not opened.cancelled():
            raise
        error = aio.AioRpcError(grpc.StatusCode.CANCELLED, aio.Metadata(), aio.Metadata())
    finally:
        opened.cancel()
    if error.code() in (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED):
        if call.caller == "own" or call.package != "earmark.v1":
            _forget_deleted(call, known)
        problem = f"a stranger has seen {seen}" if seen else ""
        return Outcome(error.code().name, time.monotonic() - started, problem)
    return _judged(call, error, time.monotonic() - started)


def _forget_deleted(call: Call, known: Known) -> None:
    """A call that was cancelled may have deleted what it names, unless its bytes were no message."""
    if call.method.name not in DELETIONS:
        return
    with suppress(DecodeError):
        deleted = message_factory.GetMessageClass(call.method.input_type).FromString(call.messages[0])
        if call.method.name != "DeleteModel" or deleted.force:  # else it is archived, and can be named
            known.forget(deleted)


async def _read(call: Call, opened: Any, known: Known) -> str:
    """Learns from the replies. Returns an id of others, if those of a stranger have one."""
    reply_type = message_factory.GetMessageClass(call.method.output_type)
    is_strange = call.package == "earmark.v1" and call.caller == "stranger"
    if call.method.server_streaming:
        for _ in range(MOST_REPLIES):
            if (reply := await opened.read()) is aio.EOF:
                return ""
            if is_strange and (seen := known.foreign(reply_type.FromString(reply))):
                return seen
            if not is_strange:
                known.learn(reply_type.FromString(reply))
        opened.cancel()
        return ""
    reply = reply_type.FromString(await opened)
    if is_strange:
        return known.foreign(reply)
    known.learn(reply)
    return ""


async def _sent(call: Call) -> AsyncIterator[bytes]:
    for message in call.messages:
        yield message
    if call.ending != "close":
        await asyncio.sleep(call.seconds)


def _judged(call: Call, error: aio.AioRpcError, seconds: float) -> Outcome:
    code = error.code().name
    if lost_its_status(error):
        return Outcome("LOST", seconds)
    details, info = _details(error), error_details_pb2.ErrorInfo()
    missing = [
        kind.DESCRIPTOR.name
        for kind in DETAILS[call.package]
        if not any(detail.Is(kind.DESCRIPTOR) for detail in details)
    ]
    if code in BROKEN:
        problem = f"{code}: {error.details()}"
    elif seconds > call.seconds:
        problem = f"took {seconds:.1f} s"
    elif missing and not _is_of_grpc(call, code):
        problem = f"{code} without {', '.join(missing)}: {error.details()}"
    elif any(detail.Unpack(info) for detail in details) and info.reason in FAULTS:
        problem = f"{info.reason}: {error.details()}"
    else:
        problem = ""
    return Outcome(code, seconds, problem)


def _details(error: aio.AioRpcError) -> list[any_pb2.Any]:
    with suppress(DecodeError, ValueError):
        if status := rpc_status.from_call(error):
            return list(status.details)
    return []


def _is_of_grpc(call: Call, code: str) -> bool:
    largest = max(map(len, call.messages), default=0)
    return code == "RESOURCE_EXHAUSTED" and largest > GRPC_BYTES[call.package]
