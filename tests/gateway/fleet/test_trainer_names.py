"""Trainers that are added and removed as the addresses of a name change."""

import weakref

import pytest
import structlog

from earmark.gateway.fleet.queue_state import Slots
from earmark.gateway.fleet.trainers import Trainers
from earmark.internal.v1 import trainer_service_pb2 as pb
from tests.gateway.trainer_fronts import (
    BusyTrainer,
    FakeTrainer,
    ScriptedResolver,
    addresses,
    port_of,
    serving,
    until,
)


@pytest.fixture
def resolver(monkeypatch):
    monkeypatch.setattr("earmark.gateway.fleet.discovery.RESOLVE_SECONDS", 0)
    return ScriptedResolver()


async def test_every_address_of_a_name_is_a_trainer_even_one_added_later(resolver) -> None:
    async with (
        serving(FakeTrainer()) as first,
        serving(FakeTrainer(), port_of(first), "127.0.0.2") as second,
        Trainers(["dns:///trainers:50052"], resolver) as trainers,
    ):
        assert trainers.available() == []
        await resolver.answer([first])
        await until(trainers, trainers.available)
        [trainer] = trainers.available()
        await resolver.answer([first, second])
        await until(trainers, lambda: len(trainers.available()) == 2)
        assert addresses(trainers) == [first, second]
        assert trainers.available()[0] is trainer


async def test_entries_with_the_same_address_are_one_trainer(resolver) -> None:
    async with (
        serving(FakeTrainer()) as address,
        Trainers([address, address, "dns:///trainers:50052"], resolver) as trainers,
    ):
        await resolver.answer([address])
        await until(trainers, trainers.available)
        assert addresses(trainers) == [address]
        assert [status.address for status in trainers.states()] == [address]
        # The address is still configured as an entry of its own.
        await resolver.answer(["127.0.0.1:1"])
        assert addresses(trainers) == [address]


async def test_a_failed_resolution_removes_no_trainer_and_is_logged_once(resolver) -> None:
    async with (
        serving(FakeTrainer()) as address,
        Trainers(["dns:///trainers:50052"], resolver) as trainers,
    ):
        await resolver.answer([address])
        await until(trainers, trainers.available)
        failed = OSError("name server is down")
        with structlog.testing.capture_logs() as logs:
            await resolver.answer(failed, failed, failed)
        assert [(entry["event"], entry["log_level"]) for entry in logs] == [
            ("name is not resolved; trainers stay", "warning")
        ]
        await resolver.answer([], [], [address], failed)
        assert addresses(trainers) == [address]
        [status] = trainers.states()
        assert (status.is_available, status.problem) == (True, "")


async def test_a_name_that_was_never_resolved_is_listed_with_the_reason(resolver) -> None:
    async with Trainers(["dns:///trainers:50052"], resolver) as trainers:
        assert [status.problem for status in trainers.states()] == ["not resolved yet"]
        await resolver.answer(OSError("name server is down"))
        [status] = trainers.states()
        assert (status.address, status.is_available) == ("dns:///trainers:50052", False)
        assert status.problem == "cannot be resolved: name server is down"
        assert trainers.slots() == Slots(answering=0, total=0, free=0, frontends=set())
        await resolver.answer([])
        assert trainers.states()[0].problem == "cannot be resolved: it has no address"


async def test_a_trainer_whose_address_was_removed_gets_no_new_work_and_finishes_its_own(resolver) -> None:
    leaving, staying = BusyTrainer(), FakeTrainer()
    async with (
        serving(leaving) as first,
        serving(staying) as second,
        Trainers(["dns:///trainers:50052"], resolver) as trainers,
    ):
        await resolver.answer([first])
        await until(trainers, trainers.available)
        [trainer] = trainers.available()
        call = trainer.stub.Train()
        await call.read()
        await resolver.answer([second])
        await until(trainers, trainers.available)
        assert addresses(trainers) == [second]
        assert trainers.for_training() == trainers.available()
        assert {trainers.pick_for_detection().address for _ in range(3)} == {second}
        removed = next(status for status in trainers.states() if status.address == first)
        assert not removed.is_available
        assert "no name resolves to its address" in removed.problem
        # It stops reporting its capacity, as a trainer does before it ends, and is removed.
        leaving.reports.put_nowait(None)
        await until(trainers, lambda: len(trainers.states()) == 1)
        leaving.send_heartbeat.set()
        assert await call.read() == pb.TrainResponse(heartbeat=pb.TrainResponse.Heartbeat())
        call.cancel()
        await leaving.train_ended.wait()
        # The last reference to the channel belongs to the work on the trainer.
        channel = weakref.ref(trainer.channel)
        del trainer
        assert channel() is None


async def test_an_address_that_is_removed_and_returns_is_the_same_trainer(resolver) -> None:
    async with (
        serving(FakeTrainer()) as address,
        Trainers(["dns:///trainers:50052"], resolver) as trainers,
    ):
        await resolver.answer([address])
        await until(trainers, trainers.available)
        [trainer] = trainers.available()
        await resolver.answer(["127.0.0.1:1"])
        assert trainers.available() == []
        await resolver.answer([address])
        assert trainers.available() == [trainer]


async def test_a_removed_address_that_never_answered_is_dropped(resolver) -> None:
    async with Trainers(["dns:///trainers:50052"], resolver) as trainers:
        await resolver.answer(["127.0.0.1:1"])
        await resolver.answer(["127.0.0.1:2"])
        await until(trainers, lambda: [s.address for s in trainers.states()] == ["127.0.0.1:2"])
