import math

import jax
import pytest

from bench.accelerator import TOLERANCES, difference, epoch
from bench.hot_loop import HotLoop
from bench.tools.data import made_up, minutes_of, repeated, split, types_of
from bench.tools.roofline import MatmulRate, products, step_flops

CPU = jax.devices("cpu")[0]


@pytest.fixture(scope="module")
def loaded():
    return made_up(["click", "echo"], 2)


@pytest.fixture(scope="module")
def loop(loaded):
    return HotLoop(loaded, "float32", CPU)


def test_the_products_are_those_that_the_compiler_counts(loop):
    assert step_flops(loop.shape) == pytest.approx(loop.compiled_flops(), rel=0.1)
    assert step_flops(loop.shape) < loop.compiled_flops()
    assert len(products(loop.shape)) == 2 + 2 * len(loop.shape.architecture.dilations)


def test_the_loop_trains(loop):
    loss, chunks = loop.take(3)
    assert math.isfinite(loss)
    assert 0 < chunks <= 3 * loop.shape.windows * loop.shape.grid.chunks
    pace = loop.measure(0.05)
    assert 0 < pace.steps_per_second < pace.chunks_per_second


def test_a_rate_is_of_what_was_done_in_its_time():
    assert 1e8 < MatmulRate((64, 32, 16), "float32", CPU).measure(0.01) < 1e13


def test_files_repeat_until_there_are_enough(loaded):
    assert types_of(loaded) == ("click", "echo")
    assert minutes_of(loaded) == 2
    assert minutes_of(repeated(loaded, 5.5)) == 5
    assert repeated(loaded, 4).features[2] is loaded.features[0]
    assert [len(side) for side in (split(loaded, 0.5).train, split(loaded, 0.5).validation)] == [1, 1]


def test_a_device_is_compared_with_another(loaded):
    same = difference(loaded, "float32", CPU, CPU)
    assert same == dict.fromkeys(TOLERANCES["float32"], 0)


def test_an_epoch_is_measured(loaded):
    figures = epoch(repeated(loaded, 6), "float32", CPU)
    assert figures["minutes"] == 6
    assert figures["training_seconds"] > 0
    assert figures["evaluating_seconds"] > 0
