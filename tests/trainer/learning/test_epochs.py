from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.trainer.chunks import chunk_grid, windows_per_step
from earmark.trainer.data.loading import load
from earmark.trainer.data.shards import HostShard
from earmark.trainer.events import Progress
from earmark.trainer.learning import epochs
from earmark.trainer.learning.epochs import Shards, draw_steps
from earmark.trainer.learning.loop import train
from earmark.trainer.learning.preparation import prepare
from earmark.trainer.regions import CERTAIN, draw_region
from tests.trainer.jobs import completed, never

SMALL = 1 << 13


def returned(generator):
    """Runs the generator to its end and gives its return value."""
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def host_shard(number):
    shape = (8, 2)
    return HostShard(
        np.full(shape, number, np.float16),
        np.full(shape, number, np.uint8),
        np.zeros((1, 4), np.int32),
        np.zeros(1, np.int32),
        8,
        (),
    )


@given(st.integers(1, 200), st.integers(1, 40), st.integers(0, 5))
def test_an_epoch_contains_every_window_once_in_equally_full_steps(windows, per_step, seed):
    table = np.arange(1, 4 * windows + 1, dtype=np.int32).reshape(-1, 4)
    steps = draw_steps(table, per_step, np.random.default_rng(seed))
    assert steps.shape == (-(-windows // per_step), per_step, 4)
    used = steps[..., 0] > 0
    assert sorted(map(tuple, steps[used].tolist())) == list(map(tuple, table.tolist()))
    assert not steps[~used].any()
    full = used.sum(axis=1)
    assert full.max() - full.min() <= 1


def test_another_epoch_draws_another_order():
    table = np.arange(1, 201, dtype=np.int32).reshape(-1, 4)
    one, again, other = (draw_steps(table, 4, np.random.default_rng((7, epoch))) for epoch in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("room", [0, float("inf")], ids=["one at a time", "resident"])
@pytest.mark.parametrize("order", [[0], [2, 0, 3, 1], [1, 1]])
def test_shards_come_in_order_whether_they_stay_on_the_device_or_not(monkeypatch, room, order):
    monkeypatch.setattr(epochs, "_room", lambda: room)
    shards = Shards([host_shard(number) for number in range(4)])
    for _ in range(2):
        seen = list(shards.in_order(order))
        assert [number for number, _ in seen] == order
        for number, shard in seen:
            np.testing.assert_array_equal(shard.features, host_shard(number).features)
            np.testing.assert_array_equal(shard.targets, host_shard(number).targets)


@pytest.mark.parametrize(("room", "copies"), [(0, 8), (float("inf"), 4)], ids=["one at a time", "resident"])
def test_shards_that_stay_on_the_device_are_copied_once(monkeypatch, room, copies):
    monkeypatch.setattr(epochs, "_room", lambda: room)
    shards = Shards([host_shard(number) for number in range(4)])
    seen = [shard for _ in range(2) for _, shard in shards.in_order(range(4))]
    assert len({id(shard) for shard in seen}) == copies


def test_only_one_shard_is_prefetched_if_they_do_not_stay_on_the_device(monkeypatch):
    monkeypatch.setattr(epochs, "_room", lambda: 0)
    put = jax.device_put
    copied = []
    monkeypatch.setattr(jax, "device_put", lambda values: (copied.append(1), put(values))[1])
    for place, _ in enumerate(Shards([host_shard(number) for number in range(4)]).in_order(range(4))):
        assert len(copied) == min(4, place + 2)


@pytest.fixture(scope="module")
def several(tiny):  # noqa: ARG001
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("earmark.trainer.data.shards.SHARD_FRAMES", SMALL)
        yield


@pytest.fixture(scope="module")
def resident(objects, job, several):  # noqa: ARG001
    return completed(replace(job, prefix="resident"), objects)


@pytest.mark.usefixtures("several")
def test_several_shards_contain_every_frame_and_every_annotation(objects, job):
    loaded = returned(load(job.files, objects, never))
    regions = [
        draw_region(loaded.files, number, 0, values.frames, job.config.artifact_types)
        for number, values in enumerate(loaded.features)
    ]
    grid = chunk_grid(job.config)
    data = prepare(loaded, regions, job.config, grid, windows_per_step(job.config, grid))
    assert len(data.shards) > 2
    # Each frame is there twice: as it is, and in a view.
    assert sum(shard.frames for shard in data.shards) == 2 * sum(values.frames for values in loaded.features)
    assert {shard.features.shape[0] for shard in data.shards} == {SMALL}
    positive_frames = sum((shard.targets == CERTAIN).sum() for shard in data.shards)
    lengths = [-(-a.end_ms // 10) - a.start_ms // 10 for file in job.files for a in file.annotations]
    assert positive_frames == 2 * sum(lengths)


def test_shards_that_do_not_stay_on_the_device_train_the_same_model(objects, job, resident, monkeypatch):
    monkeypatch.setattr(epochs, "_room", lambda: 0)
    assert completed(replace(job, prefix="passing"), objects).sha256 == resident.sha256


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize("seconds", [1e-9, 1e-3, 1e6])
def test_the_number_of_steps_in_a_device_call_does_not_change_the_model(
    objects, job, resident, monkeypatch, seconds
):
    monkeypatch.setattr(epochs, "CALL_SECONDS", seconds)
    assert completed(replace(job, prefix="calls"), objects).sha256 == resident.sha256


@pytest.mark.usefixtures("several")
def test_a_device_call_takes_call_steps_at_most(objects, job, resident, monkeypatch):
    monkeypatch.setattr(epochs, "CALL_SECONDS", 1e6)
    events = list(train(replace(job, prefix="few"), objects, never))
    steps = [event.step for event in events if isinstance(event, Progress) and event.epoch == 2]
    assert max(np.diff([0, *steps])) == epochs.CALL_STEPS
    assert steps[-1] == next(event.steps for event in events if isinstance(event, Progress))
    assert events[-1].sha256 == resident.sha256
