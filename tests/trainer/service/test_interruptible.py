import asyncio

import pytest

from earmark.trainer.service.errors import CallError
from earmark.trainer.service.interruptible import read_request


async def never():
    await asyncio.Event().wait()
    yield


async def test_a_call_that_is_busy_with_earlier_requests_is_not_idle():
    answers = [True, True, False]
    with pytest.raises(CallError) as caught:
        await read_request(asyncio.Event(), never(), 0.001, lambda: answers.pop(0))
    assert caught.value.reason == "STREAM_IDLE"
    assert answers == []
