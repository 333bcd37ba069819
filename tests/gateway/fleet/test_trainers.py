"""Trainers on real servers: their availability, capacity, choice and statuses."""

import time

import pytest
import structlog

from earmark.gateway.errors import UnavailableError
from earmark.gateway.fleet.cool_down import FACTORS
from earmark.gateway.fleet.queue_state import Slots
from earmark.gateway.fleet.trainers import TrainerLostError, Trainers, send
from earmark.internal.v1 import trainer_service_pb2 as pb
from tests.gateway.trainer_fronts import FakeTrainer, addresses, port_of, serving, until


async def test_a_trainer_is_available_then_unavailable_then_available_again() -> None:
    async with serving(FakeTrainer(slots=2)) as address:
        trainers = await Trainers([address]).__aenter__()
        await until(trainers, trainers.available)
        [trainer] = trainers.available()
        assert (trainer.address, trainer.capacity.free_training_slots) == (address, 2)
    await until(trainers, lambda: not trainers.available())
    assert trainer.capacity == pb.Capacity()
    async with serving(FakeTrainer(slots=1), port_of(address)):
        await until(trainers, trainers.available)
        assert trainers.available() == [trainer]
        assert trainer.capacity.free_training_slots == 1
        await trainers.__aexit__(None, None, None)


async def test_a_trainer_may_start_later_than_the_gateway() -> None:
    async with serving(FakeTrainer()) as address:
        pass
    async with Trainers([address]) as trainers:
        assert trainers.available() == []
        async with serving(FakeTrainer(), port_of(address)):
            await until(trainers, trainers.available)


async def test_a_change_of_capacity_wakes_subscribers_and_a_repetition_does_not() -> None:
    trainer = FakeTrainer(slots=1)
    async with serving(trainer) as address, Trainers([address]) as trainers:
        await until(trainers, trainers.available)
        seen = []
        with trainers.subscribe() as changed:
            for slots in (1, 1, 0):
                trainer.reports.put_nowait(slots)
            await changed.wait()
            seen.append(trainers.available()[0].capacity.free_training_slots)
        assert seen == [0]


async def test_a_watch_that_ends_is_started_again() -> None:
    trainer = FakeTrainer()
    async with serving(trainer) as address, Trainers([address]) as trainers:
        await until(trainers, trainers.available)
        trainer.reports.put_nowait(None)
        await until(trainers, lambda: not trainers.available())
        trainer.reports.put_nowait(3)
        await until(trainers, trainers.available)


async def test_detection_uses_the_trainers_in_turn() -> None:
    async with (
        serving(FakeTrainer()) as first,
        serving(FakeTrainer()) as second,
        Trainers([first, second]) as trainers,
    ):
        await until(trainers, lambda: len(trainers.available()) == 2)
        picked = [trainers.pick_for_detection().address for _ in range(4)]
    assert picked == [first, second, first, second]


async def test_without_an_available_trainer_the_log_names_the_entries_and_the_error_does_not() -> None:
    entries = ("127.0.0.1:1", "127.0.0.1:2")
    async with Trainers(entries) as trainers:
        with structlog.testing.capture_logs() as logs, pytest.raises(UnavailableError) as error:
            trainers.pick_for_detection()
    assert (error.value.reason, str(error.value)) == (
        "TRAINER_UNAVAILABLE",
        "no trainer answers: try again shortly",
    )
    assert error.value.details()
    [line] = [line for line in logs if line["event"] == "no trainer for a detection"]
    assert line["entries"] == entries


async def test_a_trainer_that_never_answered_is_logged() -> None:
    with structlog.testing.capture_logs() as logs:
        async with Trainers(["127.0.0.1:1"]) as trainers:
            await until(trainers, lambda: trainers.states()[0].problem.startswith("cannot be reached"))
    warnings = [line["trainer"] for line in logs if line["log_level"] == "warning"]
    assert warnings == ["127.0.0.1:1"]


async def test_a_malformed_entry_is_refused() -> None:
    with pytest.raises(ValueError, match="'trainer' has no port"):
        Trainers(["trainer"])


async def test_an_ipv6_address_is_written_in_brackets() -> None:
    async with serving(FakeTrainer(), host="[::1]") as address, Trainers([address]) as trainers:
        await until(trainers, trainers.available)
        assert addresses(trainers) == [address]


async def test_statuses_are_in_order_of_address() -> None:
    async with (
        serving(FakeTrainer(slots=2)) as address,
        Trainers(["localhost:1", address]) as trainers,
    ):
        fresh = trainers.states()
        assert [status.problem for status in fresh] == ["it has not answered yet"] * 2
        await until(trainers, trainers.available)
        available, missing = trainers.states()
        assert (available.address, available.is_available, available.problem) == (address, True, "")
        assert available.capacity.free_training_slots == 2
        assert available.seen_at is not None
        assert (missing.address, missing.is_available, missing.seen_at) == ("localhost:1", False, None)


async def test_an_unavailable_trainer_keeps_the_time_at_which_it_was_last_seen() -> None:
    async with serving(FakeTrainer()) as address:
        trainers = await Trainers([address]).__aenter__()
        await until(trainers, trainers.available)
        seen = trainers.states()[0].seen_at
    await until(trainers, lambda: not trainers.available())
    [status] = trainers.states()
    assert status.seen_at == seen
    assert status.problem.startswith("cannot be reached: UNAVAILABLE: ")
    await trainers.__aexit__(None, None, None)


async def test_slots_count_the_trainers_that_answer() -> None:
    async with (
        serving(FakeTrainer(slots=2)) as first,
        serving(FakeTrainer(slots=1)) as second,
        Trainers([first, second, "127.0.0.1:1"]) as trainers,
    ):
        assert trainers.slots() == Slots(answering=0, total=0, free=0, frontends=set())
        await until(trainers, lambda: len(trainers.available()) == 2)
        assert trainers.slots() == Slots(answering=2, total=8, free=3, frontends={""})


async def test_a_trainer_in_its_cool_down_gets_no_jobs() -> None:
    async with (
        serving(FakeTrainer()) as first,
        serving(FakeTrainer()) as second,
        Trainers([first, second]) as trainers,
    ):
        await until(trainers, lambda: len(trainers.available()) == 2)
        one, other = trainers.available()
        assert trainers.for_training() == [one, other]
        one.record_loss()
        assert trainers.for_training() == [other]
        assert trainers.available() == [one, other]
        assert "attempts lost on it in a row: 1" in one.problem(time.monotonic())
        other.record_loss()
        assert trainers.for_training() == []
        one.record_success()
        assert trainers.for_training() == [one]
        assert one.problem(time.monotonic()) == ""


async def test_after_its_cool_down_a_trainer_comes_after_those_without_losses() -> None:
    async with (
        serving(FakeTrainer()) as first,
        serving(FakeTrainer()) as second,
        Trainers([first, second]) as trainers,
    ):
        await until(trainers, lambda: len(trainers.available()) == 2)
        one, other = trainers.available()
        one.cool_down.record_loss(time.monotonic() - FACTORS[0])
        assert trainers.for_training() == [other, one]


async def test_at_the_end_the_watches_of_capacity_end() -> None:
    trainer = FakeTrainer()
    async with serving(trainer) as address:
        async with Trainers([address]) as trainers:
            await until(trainers, trainers.available)
        await trainer.watch_ended.wait()


async def test_a_write_to_an_ended_call_raises() -> None:
    async with serving(FakeTrainer()) as address, Trainers([address]) as trainers:
        await until(trainers, trainers.available)
        call = trainers.available()[0].stub.Train()
        await send(call, pb.TrainRequest())
        await call.code()
        with pytest.raises(TrainerLostError):
            await send(call, pb.TrainRequest())
