"""Trainers that come, go and come back, on real servers."""

import time

import pytest
from earmark.trainer.v1 import trainer_service_pb2 as pb

from gateway.errors import UnavailableError
from gateway.fleet.cool_down import PAUSES_SECONDS
from gateway.fleet.trainers import TrainerLostError, Trainers, send
from gateway.fleet.waiting import Slots
from tests.gateway.trainer_fronts import Front, addresses, port_of, serving, until


async def test_a_trainer_comes_goes_and_comes_back() -> None:
    async with serving(Front(slots=2)) as address:
        trainers = await Trainers([address]).__aenter__()
        await until(trainers, trainers.available)
        [trainer] = trainers.available()
        assert (trainer.address, trainer.capacity.free_training_slots) == (address, 2)
    await until(trainers, lambda: not trainers.available())
    assert trainer.capacity == pb.Capacity()
    async with serving(Front(slots=1), port_of(address)):
        await until(trainers, trainers.available)
        assert trainers.available() == [trainer]
        assert trainer.capacity.free_training_slots == 1
        await trainers.__aexit__(None, None, None)


async def test_a_trainer_may_come_late() -> None:
    async with serving(Front()) as address:
        pass
    async with Trainers([address]) as trainers:
        assert trainers.available() == []
        async with serving(Front(), port_of(address)):
            await until(trainers, trainers.available)


async def test_changes_of_capacity_wake_and_repetitions_do_not() -> None:
    front = Front(slots=1)
    async with serving(front) as address, Trainers([address]) as trainers:
        await until(trainers, trainers.available)
        seen = []
        with trainers.subscribe() as changed:
            for slots in (1, 1, 0):
                front.told.put_nowait(slots)
            await changed.wait()
            seen.append(trainers.available()[0].capacity.free_training_slots)
        assert seen == [0]


async def test_a_watch_that_ends_is_taken_up_again() -> None:
    front = Front()
    async with serving(front) as address, Trainers([address]) as trainers:
        await until(trainers, trainers.available)
        front.told.put_nowait(None)
        await until(trainers, lambda: not trainers.available())
        front.told.put_nowait(3)
        await until(trainers, trainers.available)


async def test_detection_takes_turns() -> None:
    async with (
        serving(Front()) as first,
        serving(Front()) as second,
        Trainers([first, second]) as trainers,
    ):
        await until(trainers, lambda: len(trainers.available()) == 2)
        picked = [trainers.pick_for_detection().address for _ in range(4)]
    assert picked == [first, second, first, second]


async def test_without_a_trainer_the_addresses_are_named() -> None:
    async with Trainers(["127.0.0.1:1", "127.0.0.1:2"]) as trainers:
        with pytest.raises(UnavailableError, match=r"tried 127\.0\.0\.1:1, 127\.0\.0\.1:2") as error:
            trainers.pick_for_detection()
    assert error.value.reason == "TRAINER_UNAVAILABLE"
    assert error.value.details()


async def test_without_any_entry_the_setting_is_named() -> None:
    async with Trainers([]) as trainers:
        with pytest.raises(UnavailableError, match="EARMARK_TRAINERS"):
            trainers.pick_for_detection()


async def test_a_malformed_entry_is_refused() -> None:
    with pytest.raises(ValueError, match="'trainer' has no port"):
        Trainers(["trainer"])


async def test_an_ipv6_trainer_is_written_in_brackets() -> None:
    async with serving(Front(), host="[::1]") as address, Trainers([address]) as trainers:
        await until(trainers, trainers.available)
        assert addresses(trainers) == [address]


async def test_statuses_say_what_is_seen_in_order_of_address() -> None:
    async with (
        serving(Front(slots=2)) as address,
        Trainers(["localhost:1", address]) as trainers,
    ):
        fresh = trainers.statuses()
        assert [status.problem for status in fresh] == ["nothing was heard of it yet"] * 2
        await until(trainers, trainers.available)
        here, away = trainers.statuses()
        assert (here.address, here.is_available, here.problem) == (address, True, "")
        assert here.capacity.free_training_slots == 2
        assert here.seen_at is not None
        assert (away.address, away.is_available, away.seen_at) == ("localhost:1", False, None)


async def test_a_trainer_that_went_away_keeps_the_time_at_which_it_was_seen() -> None:
    async with serving(Front()) as address:
        trainers = await Trainers([address]).__aenter__()
        await until(trainers, trainers.available)
        seen = trainers.statuses()[0].seen_at
    await until(trainers, lambda: not trainers.available())
    [status] = trainers.statuses()
    assert status.seen_at == seen
    assert status.problem.startswith("cannot be reached: UNAVAILABLE: ")
    await trainers.__aexit__(None, None, None)


async def test_slots_are_those_of_the_trainers_that_answer() -> None:
    async with (
        serving(Front(slots=2)) as first,
        serving(Front(slots=1)) as second,
        Trainers([first, second, "127.0.0.1:1"]) as trainers,
    ):
        tried = (first, second, "127.0.0.1:1")
        assert trainers.slots() == Slots(tried, answering=0, total=0, free=0)
        await until(trainers, lambda: len(trainers.available()) == 2)
        assert trainers.slots() == Slots(tried, answering=2, total=8, free=3)


async def test_jobs_are_kept_from_a_trainer_that_loses_them_while_another_is_well() -> None:
    async with (
        serving(Front()) as first,
        serving(Front()) as second,
        Trainers([first, second]) as trainers,
    ):
        await until(trainers, lambda: len(trainers.available()) == 2)
        one, other = trainers.available()
        assert trainers.for_training() == [one, other]
        one.record_loss()
        assert trainers.for_training() == [other]
        assert trainers.available() == [one, other]
        assert "attempts lost on it in a row: 1" in one.problem(time.monotonic())
        # Nothing better would come of waiting for either.
        other.record_loss()
        assert trainers.for_training() == [one, other]
        one.record_success()
        assert trainers.for_training() == [one]
        assert one.problem(time.monotonic()) == ""


async def test_after_its_pause_a_trainer_gets_what_the_others_have_no_room_for() -> None:
    async with (
        serving(Front()) as first,
        serving(Front()) as second,
        Trainers([first, second]) as trainers,
    ):
        await until(trainers, lambda: len(trainers.available()) == 2)
        one, other = trainers.available()
        one.cool_down.record_loss(time.monotonic() - PAUSES_SECONDS[0])
        assert trainers.for_training() == [other, one]


async def test_at_the_end_the_trainers_are_left_alone() -> None:
    front = Front()
    async with serving(front) as address:
        async with Trainers([address]) as trainers:
            await until(trainers, trainers.available)
        await front.gone.wait()


async def test_a_write_to_a_call_that_is_over_says_so() -> None:
    async with serving(Front()) as address, Trainers([address]) as trainers:
        await until(trainers, trainers.available)
        call = trainers.available()[0].stub.Train()
        await send(call, pb.TrainRequest())
        await call.code()
        with pytest.raises(TrainerLostError):
            await send(call, pb.TrainRequest())
