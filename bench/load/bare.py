"""The bare counterpart: a grpc.aio server that answers the gateway's methods from memory.

    python -m bench.load.bare REPLY_BYTES

It uses no protobuf, no checks and no database, so its times are those of gRPC in Python alone. The same
clients call it with the same method names. Publish, which only this server has, sends its bytes to every
watcher.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import uvloop
from grpc import aio

from bench.load.methods import GET, PUBLISH, WATCH
from earmark.gateway.server import SERVER_OPTIONS


class Bare:
    """Replies of one fixed size, and streams of the published messages."""

    def __init__(self, reply_bytes: int) -> None:
        self._reply = bytes(reply_bytes)
        self._published: list[bytes] = []
        self._changed = asyncio.Event()

    async def get(self, _request: bytes, _context: Any) -> bytes:
        return self._reply

    async def watch(self, _request: bytes, _context: Any) -> AsyncIterator[bytes]:
        """Yields the latest message, then each message when it is published."""
        cursor = max(0, len(self._published) - 1)
        while True:
            changed = self._changed
            for message in self._published[cursor:]:
                yield message
                cursor += 1
            await changed.wait()

    async def publish(self, message: bytes, _context: Any) -> bytes:
        self._published.append(message)
        self._changed.set()
        self._changed = asyncio.Event()
        return b""


class _Methods(grpc.GenericRpcHandler):
    def __init__(self, bare: Bare) -> None:
        self._handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            GET: grpc.unary_unary_rpc_method_handler(bare.get),
            WATCH: grpc.unary_stream_rpc_method_handler(bare.watch),
            PUBLISH: grpc.unary_unary_rpc_method_handler(bare.publish),
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handlers.get(handler_call_details.method)


async def serve(reply_bytes: int) -> None:
    """Serves until the process is killed."""
    server = aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((_Methods(Bare(reply_bytes)),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"bare listening on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
