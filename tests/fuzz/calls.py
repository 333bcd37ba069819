"""One call of the fuzzer: what it sends is decided by a seed and a number; then it is made and judged."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status

from earmark.client.aio.streams import lost_its_status
from earmark.gateway.interceptors import MESSAGE_BYTES
from tests.fuzz.known import Known
from tests.fuzz.messages import Maker

CALL_SECONDS = 5.0
# How long the fuzzer waits for the next reply of a call that it then cancels.
PATIENCE_SECONDS = 0.2
MOST_REPLIES = 20
CHANNEL_OPTIONS = (("grpc.max_send_message_length", 64 << 20), ("grpc.max_receive_message_length", 64 << 20))
# A larger message is refused by gRPC itself, without an ErrorInfo.
GRPC_BYTES = {"earmark.v1": 4 * MESSAGE_BYTES, "earmark.internal.v1": MESSAGE_BYTES}
# They go on until the caller ends them, or for as long as the work of a job or a file takes.
STAY_OPEN = ("WatchAudioFiles", "WatchTrainingJob", "WatchTrainingJobs", "WatchCapacity", "Train")
SIDES = ("unary", "stream")
ENDINGS = ("close", "cancel", "silence")
BROKEN = ("INTERNAL", "UNKNOWN", "UNIMPLEMENTED", "DEADLINE_EXCEEDED", "DATA_LOSS")


@dataclass(frozen=True)
class Call:
    """Messages as bytes, and how the sending side ends: by its end, by a cancel, or never."""

    seed: int
    number: int
    method: MethodDescriptor
    messages: list[bytes]
    ending: str
    compressed: bool

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


def make(seed: int, number: int, methods: list[MethodDescriptor], known: Known) -> Call:
    """The call of this number. Only ids, tokens and keys depend on what came before."""
    rng = random.Random(f"{seed} {number}")
    method, maker = rng.choice(methods), Maker(rng, known)
    streams = method.client_streaming
    messages = [*_stream(method, rng, maker)] if streams else [maker.valid(method.input_type)]
    choice = rng.random()
    if messages and choice < 0.35:
        for _ in range(rng.choice((1, 1, 2, 4))):
            maker.mutate(rng.choice(messages))
    data = [message.SerializeToString() for message in messages]
    if data and choice > 0.75:
        at = rng.randrange(len(data))
        data[at] = maker.damaged(data[at])
    ending = rng.choices(ENDINGS, (14, 3, 1))[0]
    return Call(seed, number, method, data, ending, compressed=rng.random() < 0.15)


def _stream(method: MethodDescriptor, rng: random.Random, maker: Maker) -> Iterable[Any]:
    """Messages of a stream, the first of them mostly what the first must be."""
    first, *later = [field.name for field in method.input_type.oneofs_by_name["content"].fields]
    count = rng.choice((0, 1, 2, 2, 3, 6))
    messages = [maker.valid(method.input_type, oneof=rng.choice(later)) for _ in range(max(0, count - 1))]
    if count:
        messages.insert(0, maker.valid(method.input_type, oneof=first if rng.random() < 0.9 else ""))
    if method.name == "UploadAudio" and rng.random() < 0.8:
        _make_whole(messages)
    return messages


def _make_whole(messages: list[Any]) -> None:
    """Makes the metadata of an upload true."""
    for message in messages[1:]:
        message.part.ClearField("offset")
    if messages:
        messages[0].metadata.size_bytes = sum(len(message.part.data) for message in messages[1:])


async def perform(call: Call, channel: aio.Channel, known: Known) -> Outcome:
    """Makes the call, and cancels it if it is meant to be cancelled or stays open."""
    method, started = call.method, time.monotonic()
    shape = f"{SIDES[method.client_streaming]}_{SIDES[method.server_streaming]}"
    compression = grpc.Compression.Gzip if call.compressed else None
    request = _sent(call) if method.client_streaming else call.messages[0]
    opened = getattr(channel, shape)(call.path)(request, timeout=CALL_SECONDS, compression=compression)
    is_cut = call.ending != "close" or method.name in STAY_OPEN
    try:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS if is_cut else None):
                await _read(call, opened, known)
        except TimeoutError:
            opened.cancel()
        with suppress(asyncio.CancelledError):
            code = (await opened.code()).name
        return Outcome(code, time.monotonic() - started)
    except aio.AioRpcError as error:
        return _judged(call, error, time.monotonic() - started)
    except asyncio.CancelledError:
        if not opened.cancelled():
            raise
        return Outcome("CANCELLED", time.monotonic() - started)
    finally:
        opened.cancel()


async def _read(call: Call, opened: Any, known: Known) -> None:
    reply_type = message_factory.GetMessageClass(call.method.output_type)
    if call.method.server_streaming:
        for _ in range(MOST_REPLIES):
            if (reply := await opened.read()) is aio.EOF:
                return
            known.learn(reply_type.FromString(reply))
        opened.cancel()
    else:
        known.learn(reply_type.FromString(await opened))


async def _sent(call: Call) -> AsyncIterator[bytes]:
    for message in call.messages:
        yield message
    if call.ending != "close":
        await asyncio.sleep(CALL_SECONDS)


def _judged(call: Call, error: aio.AioRpcError, seconds: float) -> Outcome:
    code = error.code().name
    if lost_its_status(error):
        return Outcome("LOST", seconds)
    problem = ""
    if code in BROKEN:
        problem = f"{code}: {error.details()}"
    elif seconds > CALL_SECONDS:
        problem = f"took {seconds:.1f} s"
    elif call.package == "earmark.v1" and not _has_reason(error) and not _is_of_grpc(call, code):
        problem = f"{code} without an ErrorInfo: {error.details()}"
    return Outcome(code, seconds, problem)


def _has_reason(error: aio.AioRpcError) -> bool:
    with suppress(DecodeError, ValueError):
        status = rpc_status.from_call(error)
        return status is not None and any(
            d.Is(error_details_pb2.ErrorInfo.DESCRIPTOR) for d in status.details
        )
    return False


def _is_of_grpc(call: Call, code: str) -> bool:
    largest = max(map(len, call.messages), default=0)
    return code == "RESOURCE_EXHAUSTED" and largest > GRPC_BYTES[call.package]
