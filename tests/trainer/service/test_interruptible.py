import asyncio

import grpc
import pytest

from earmark.trainer.service.errors import CallError
from earmark.trainer.service.interruptible import read_request, to_its_end


async def never():
    await asyncio.Event().wait()
    yield


async def test_a_call_that_is_busy_with_earlier_requests_is_not_idle():
    answers = [True, True, False]
    with pytest.raises(CallError) as caught:
        await read_request(asyncio.Event(), never(), 0.001, lambda: answers.pop(0))
    assert caught.value.reason == "STREAM_IDLE"
    assert answers == []


async def test_a_task_that_is_cancelled_while_it_writes_leaves_the_call_able_to_send_its_status():
    response, writing = bytes(1 << 20), asyncio.Event()  # more than is sent to a caller that does not read

    async def handler(_request, context):
        task = asyncio.create_task(to_its_end(context.write(response)))
        await asyncio.wait({task}, timeout=0)  # the write begins
        task.cancel()
        writing.set()
        await asyncio.wait({task})
        assert task.cancelled()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "stopping")

    server = grpc.aio.server()
    handlers = {"Write": grpc.unary_stream_rpc_method_handler(handler)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_stream("/test/Write")(b"", timeout=60)
        await writing.wait()
        assert await call.read() == response
        assert (await call.code(), await call.details()) == (grpc.StatusCode.UNAVAILABLE, "stopping")
    await server.stop(None)
