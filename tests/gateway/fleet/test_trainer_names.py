"""Names behind which trainers come and go."""

import weakref

import pytest
import structlog
from earmark.trainer.v1 import trainer_service_pb2 as pb

from gateway.fleet.trainers import Trainers
from gateway.fleet.waiting import Slots
from tests.gateway.trainer_fronts import Busy, Front, Names, addresses, port_of, serving, until


@pytest.fixture
def names(monkeypatch):
    monkeypatch.setattr("gateway.fleet.trainers.RESOLVE_SECONDS", 0)
    return Names()


async def test_every_address_behind_a_name_is_a_trainer_also_one_that_comes_later(names) -> None:
    async with (
        serving(Front()) as first,
        serving(Front(), port_of(first), "127.0.0.2") as second,
        Trainers(["dns:///trainers:50052"], names) as trainers,
    ):
        assert trainers.available() == []
        await names.say([first])
        await until(trainers, trainers.available)
        [trainer] = trainers.available()
        await names.say([first, second])
        await until(trainers, lambda: len(trainers.available()) == 2)
        assert addresses(trainers) == [first, second]
        assert trainers.available()[0] is trainer


async def test_entries_that_lead_to_one_address_are_one_trainer(names) -> None:
    async with (
        serving(Front()) as address,
        Trainers([address, address, "dns:///trainers:50052"], names) as trainers,
    ):
        await names.say([address])
        await until(trainers, trainers.available)
        assert addresses(trainers) == [address]
        assert [status.address for status in trainers.statuses()] == [address]
        # The entry that spells the address out still leads to it.
        await names.say(["127.0.0.1:1"])
        assert addresses(trainers) == [address]


async def test_a_name_that_is_not_resolved_drops_no_trainer_and_is_logged_once(names) -> None:
    async with (
        serving(Front()) as address,
        Trainers(["dns:///trainers:50052"], names) as trainers,
    ):
        await names.say([address])
        await until(trainers, trainers.available)
        failed = OSError("name server is away")
        with structlog.testing.capture_logs() as logs:
            await names.say(failed, failed, failed)
        assert [(entry["event"], entry["log_level"]) for entry in logs] == [
            ("name is not resolved; trainers stay", "warning")
        ]
        await names.say([], [], [address], failed)
        assert addresses(trainers) == [address]
        [status] = trainers.statuses()
        assert (status.is_available, status.problem) == (True, "")


async def test_a_name_that_never_led_anywhere_is_shown_with_the_reason(names) -> None:
    async with Trainers(["dns:///trainers:50052"], names) as trainers:
        assert [status.problem for status in trainers.statuses()] == ["not resolved yet"]
        await names.say(OSError("name server is away"))
        [status] = trainers.statuses()
        assert (status.address, status.is_available) == ("dns:///trainers:50052", False)
        assert status.problem == "cannot be resolved: name server is away"
        assert trainers.slots() == Slots(("dns:///trainers:50052",), answering=0, total=0, free=0)
        await names.say([])
        assert trainers.statuses()[0].problem == "cannot be resolved: it has no address"


async def test_a_trainer_whose_address_is_gone_gets_no_new_work_and_keeps_what_it_has(names) -> None:
    leaving, staying = Busy(), Front()
    async with (
        serving(leaving) as first,
        serving(staying) as second,
        Trainers(["dns:///trainers:50052"], names) as trainers,
    ):
        await names.say([first])
        await until(trainers, trainers.available)
        [trainer] = trainers.available()
        call = trainer.stub.Train()
        await call.read()
        await names.say([second])
        await until(trainers, trainers.available)
        assert addresses(trainers) == [second]
        assert trainers.for_training() == trainers.available()
        assert {trainers.pick_for_detection().address for _ in range(3)} == {second}
        gone = next(status for status in trainers.statuses() if status.address == first)
        assert not gone.is_available
        assert "no longer leads to its address" in gone.problem
        # It answers no more, as a trainer that is about to end, and is forgotten.
        leaving.told.put_nowait(None)
        await until(trainers, lambda: len(trainers.statuses()) == 1)
        leaving.go_on.set()
        assert await call.read() == pb.TrainResponse(heartbeat=pb.TrainResponse.Heartbeat())
        call.cancel()
        await leaving.left.wait()
        # Whoever works with it has the last reference to the connection.
        channel = weakref.ref(trainer.channel)
        del trainer
        assert channel() is None


async def test_an_address_that_is_gone_and_comes_back_is_the_same_trainer(names) -> None:
    async with (
        serving(Front()) as address,
        Trainers(["dns:///trainers:50052"], names) as trainers,
    ):
        await names.say([address])
        await until(trainers, trainers.available)
        [trainer] = trainers.available()
        await names.say(["127.0.0.1:1"])
        assert trainers.available() == []
        await names.say([address])
        assert trainers.available() == [trainer]


async def test_an_address_that_is_gone_and_never_answered_is_forgotten(names) -> None:
    async with Trainers(["dns:///trainers:50052"], names) as trainers:
        await names.say(["127.0.0.1:1"])
        await names.say(["127.0.0.1:2"])
        await until(trainers, lambda: [s.address for s in trainers.statuses()] == ["127.0.0.1:2"])
