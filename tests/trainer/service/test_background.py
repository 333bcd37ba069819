"""The trainer's background tasks survive an error that nobody expected."""

import asyncio

import pytest

from earmark import background
from earmark.trainer.service.detection_process import DetectionProcess
from earmark.trainer.service.errors import CallError
from earmark.trainer.service.runtime import Runtime
from earmark.trainer.service.supervisor import Supervisor
from earmark.trainer.settings import TrainerSettings
from earmark.trainer.workers.wire import DetectionReply


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(background, "FIRST_PAUSE_SECONDS", 0.0)


def fail_once(monkeypatch, owner, name: str) -> None:
    inner = getattr(owner, name)

    def fail(*_arguments):
        monkeypatch.setattr(owner, name, inner)
        raise RuntimeError("nobody expected this")

    monkeypatch.setattr(owner, name, fail)


@pytest.mark.usefixtures("compiled")
async def test_a_process_becomes_warm_although_its_supervisor_failed(tmp_path, monkeypatch) -> None:
    fail_once(monkeypatch, Supervisor, "_wait_until_exit")
    async with Runtime.open(TrainerSettings(data_dir=tmp_path, network="tiny", precompile=False)) as runtime:
        await asyncio.gather(
            runtime.training_process.wait_until_warm(),
            runtime.detection_process._supervisor.wait_until_warm(),
        )
        states = {state.name: state for state in runtime.background.states()}
    assert list(states) == [
        "training process",
        "detection process",
        "replies of the detection process",
        "checking the environment",
    ]
    assert sum(state.restarts for state in states.values()) == 1


class Process:
    """A detection process that answers each request at once."""

    alive = True

    def __init__(self) -> None:
        self._replies: asyncio.Queue = asyncio.Queue()

    async def wait_until_warm(self) -> "Process":
        return self

    async def send(self, request) -> None:
        self._replies.put_nowait(DetectionReply(request.number, ()))

    async def receive(self):
        return await self._replies.get()


async def test_a_detection_fails_if_its_reply_cannot_be_read_and_the_next_one_succeeds(
    tmp_path, monkeypatch
) -> None:
    fail_once(monkeypatch, DetectionProcess, "_resolve")
    process, tasks = DetectionProcess(Process()), background.Background()
    running = tasks.start("replies", process.run)
    with pytest.raises(CallError, match="a reply of the detection process is damaged"):
        await process.detect("weights", "config", "ab", tmp_path, 1000, {})
    assert await process.detect("weights", "config", "ab", tmp_path, 1000, {}) == ()
    running.cancel()
