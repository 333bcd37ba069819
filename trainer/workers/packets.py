"""Messages to and from a process that is not trusted: the length, the kind, and JSON that is checked.

Nothing that is received can run code, be longer than MAX_BYTES, or have another shape than the dataclasses of
trainer.workers.wire. Descriptors of open files travel beside a message, towards the untrusted process only.
"""

import json
import socket
import struct
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from earmark.trainer.workers.wire import (
    Decoded,
    DecodeFailed,
    DecodeLimits,
    DecodeRequest,
    DecoderReady,
    Featured,
    LiveOpened,
    LiveRequest,
    Long,
)

MAX_BYTES = 1 << 14
MAX_DESCRIPTORS = 8
LENGTH = struct.Struct("!I")
KINDS: dict[bytes, TypeAdapter[Any]] = {
    kind.__name__.encode(): TypeAdapter(kind)
    for kind in (
        Decoded,
        DecodeFailed,
        DecodeLimits,
        DecodeRequest,
        DecoderReady,
        Featured,
        LiveOpened,
        LiveRequest,
        Long,
    )
}


class ProtocolError(Exception):
    """The other end sent what is no message."""


class PacketConnection:
    """One end of a socket pair, with the methods of multiprocessing's Connection."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)

    def send(self, message: Any, descriptors: Sequence[int] = ()) -> None:
        """Sends a dataclass of KINDS. Raises OSError if the other end is closed."""
        packet = type(message).__name__.encode() + b" " + json.dumps(asdict(message)).encode()
        length = LENGTH.pack(len(packet))
        if descriptors:
            socket.send_fds(self._socket, [length], descriptors)
            self._socket.sendall(packet)
        else:
            self._socket.sendall(length + packet)

    def recv(self) -> Any:
        """Returns the next message. Raises EOFError after the last, OSError, and ProtocolError.

        The kernel closes descriptors that came with it.
        """
        return self._message(self._exactly(LENGTH.size))

    def recv_with_descriptors(self) -> tuple[Any, list[int]]:
        """Returns the next message and the descriptors sent with it. Raises what recv raises."""
        length, descriptors, _, _ = socket.recv_fds(self._socket, LENGTH.size, MAX_DESCRIPTORS)
        if not length:
            raise EOFError
        return self._message(length + self._exactly(LENGTH.size - len(length))), descriptors

    def close(self) -> None:
        """Closes this end."""
        self._socket.close()

    def _message(self, length: bytes) -> Any:
        (size,) = LENGTH.unpack(length)
        if size > MAX_BYTES:
            raise ProtocolError(f"a message of {size:,} bytes; at most {MAX_BYTES:,} are read")
        return parse(self._exactly(size))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data


def parse(packet: bytes) -> Any:
    """Returns the message, a dataclass of KINDS. Raises ProtocolError if it is none."""
    name, _, fields = packet.partition(b" ")
    if name not in KINDS:
        raise ProtocolError(f"a message of an unknown kind, {name[:20]!r}")
    try:
        return KINDS[name].validate_json(fields, strict=True)
    except ValueError as error:
        raise ProtocolError(f"a malformed {name.decode()}") from error
