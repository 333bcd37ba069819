import math

import jax
import pytest

from bench.accelerator.correctness import TOLERANCES, difference
from bench.accelerator.epochs import epoch
from bench.hot_loop import HotLoop
from bench.tools.data import minutes_of, repeated, split, synthetic_dataset, types_of
from bench.tools.roofline import MatmulRate, products, step_flops

CPU = jax.devices("cpu")[0]


@pytest.fixture(scope="module")
def dataset():
    return synthetic_dataset(["click", "echo"], 2)


@pytest.fixture(scope="module")
def loop(dataset):
    return HotLoop(dataset, "float32", CPU)


def test_the_flops_of_the_products_are_close_to_the_compilers_count(loop):
    assert step_flops(loop.shape) == pytest.approx(loop.compiled_flops(), rel=0.1)
    assert step_flops(loop.shape) < loop.compiled_flops()
    assert len(products(loop.shape)) == 2 + 2 * len(loop.shape.architecture.dilations)


def test_the_loop_trains(loop):
    loss, chunks = loop.take(3)
    assert math.isfinite(loss)
    assert 0 < chunks <= 3 * loop.shape.windows * loop.shape.grid.chunks
    pace = loop.measure(0.05)
    assert 0 < pace.steps_per_second < pace.chunks_per_second


def test_a_matmul_rate_is_plausible():
    assert 1e8 < MatmulRate((64, 32, 16), "float32", CPU).measure(0.01) < 1e13


def test_files_are_repeated_up_to_the_minutes(dataset):
    assert types_of(dataset) == ("click", "echo")
    assert minutes_of(dataset) == 2
    assert minutes_of(repeated(dataset, 5.5)) == 5
    assert repeated(dataset, 4).features[2] is dataset.features[0]
    assert [len(side) for side in (split(dataset, 0.5).train, split(dataset, 0.5).validation)] == [1, 1]


def test_a_device_is_compared_with_another(dataset):
    same = difference(dataset, "float32", CPU, CPU)
    assert same == dict.fromkeys(TOLERANCES["float32"], 0)


def test_an_epoch_is_measured(dataset):
    figures = epoch(repeated(dataset, 6), "float32", CPU)
    assert figures["minutes"] == 6
    assert figures["training_seconds"] > 0
    assert figures["evaluating_seconds"] > 0
