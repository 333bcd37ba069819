"""Live streams: how soon detections come, and whether memory stays flat over hours of audio.

    python -m bench.live [--streams 20] [--seconds 120] [--hours 10] [--json]

First, so many streams are sent in real time, with a loud burst every three seconds, to one gateway and one
trainer. Prints how long after the last sample of each burst its detection came, at the 50th and the 95th
percentile. Then one stream of so many hours is sent as fast as it is taken. Prints the resident memory of the
gateway and of the trainer with its processes. Ends with status 1 if the 95th percentile is above the merge
window and two seconds, or if memory grew by 5 % or more after the first tenth. bench/README.md has the
details.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated
from uuid import UUID

import jax
import numpy as np
import psutil  # type: ignore[import-untyped]  # has no stubs
import typer
from uuid_utils.compat import uuid7

from bench.load.rows import insert_dataset, insert_job
from bench.load.system import Server, server, system
from earmark.client.aio import Client, connect, detect_live
from earmark.gateway.caller import DEFAULT_TENANT
from earmark.storage.database import Database
from earmark.storage.objects import ObjectStore
from earmark.storage.queries import models
from earmark.trainer.features.frontend import FEATURES, SPECTRUM
from earmark.trainer.features.spectrum import FLOORS
from earmark.trainer.job import TrainingConfig
from earmark.trainer.model import LearnedType, Model, StoredModel, store_model
from earmark.trainer.network import Architecture, initial_parameters
from earmark.trainer.pytrees import from_arrays, to_arrays
from earmark.trainer_secret import FILE as SECRET_FILE
from earmark.v1.detection_pb2 import PCM_ENCODING_S16LE, LiveAudio

RATE = 16_000
PCM = LiveAudio.Pcm(sample_rate_hz=RATE, channels=1, encoding=PCM_ENCODING_S16LE)
PART_SECONDS = 0.1  # of audio in a message, as callers send it
PERIOD_SECONDS, BURST_SECONDS = 3, 0.3
WARM_SECONDS = 20.0  # from the start of the first stream on: each has a process to start
WINDOW_MS = 200
MOST_SECONDS = WINDOW_MS / 1000 + 2
MOST_GROWTH = 0.05
SAMPLES = 100
RMS = SPECTRUM + FLOORS + 1
LOUD = np.log(0.1)
TYPES = ("glitch", "dropout")


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds from the last sample of a burst to its detection."""

    streams: int
    detections: int
    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class Memory:
    """MiB after so many hours of audio: of the gateway, and of the trainer with its processes."""

    hours: float
    gateway: float
    trainer: float


def bursts() -> bytes:
    """One period of quiet noise, with a burst in its middle."""
    audio = np.random.default_rng(0).normal(0, 0.001, PERIOD_SECONDS * RATE)
    first = len(audio) // 2
    audio[first : first + int(BURST_SECONDS * RATE)] *= 300
    return np.round(audio.clip(-1, 1) * 32_767).astype("<i2").tobytes()


def store_loud_model(objects: ObjectStore) -> StoredModel:
    """A model of the default size that finds a glitch wherever it is loud."""
    architecture = Architecture(outputs=8)
    shapes = jax.eval_shape(lambda: initial_parameters(architecture, 0))
    weights = to_arrays(jax.tree.map(lambda array: np.zeros(array.shape, array.dtype), shapes))
    weights["stem/kernel/value"][RMS, :2] = 100, -100
    weights["norm/scale/value"][:] = 1
    weights["head/kernel/value"][0, ::8] = 20
    weights["head/bias/value"][:] = -10
    mean, deviation = np.zeros(FEATURES, np.float32), np.ones(FEATURES, np.float32)
    mean[RMS] = LOUD
    types = tuple(LearnedType(name, smoothing=11, merge_window_ms=WINDOW_MS) for name in TYPES)
    model = Model(architecture, types, from_arrays(shapes, weights), mean, deviation)
    config = TrainingConfig(TYPES, 1, 0.2, 0.001, 8, 500, 250, 0)
    return store_model(objects, "default/jobs/loud", model, config, 1, {})


async def insert_model(database: Database, stored: StoredModel) -> UUID:
    """The id of an active model."""
    model_id = uuid7()
    async with database.transaction() as connection:
        dataset = await insert_dataset(connection, files=0, annotations_per_file=0)
        job_id = await insert_job(connection, dataset)
        await models.create(
            connection,
            DEFAULT_TENANT,
            id=model_id,
            training_job_id=job_id,
            dataset_id=dataset.id,
            name="loud",
            artifact_types=TYPES,
            eval_metrics={},
            recommended_thresholds={},
            merge_windows_ms=dict.fromkeys(TYPES, WINDOW_MS),
            min_durations_ms=dict.fromkeys(TYPES, 0),
            weights=stored.weights,
            model_config=stored.config,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            config={},
            best_epoch=1,
            audio_file_count=0,
            audio_duration_ms=0,
            earmark_version="",
            frontend_version="",
        )
        await models.update(connection, DEFAULT_TENANT, model_id, "loud", "", is_active=True)
    return model_id


@dataclass(frozen=True, slots=True)
class Running:
    """The services, a client of them, and the model."""

    gateway: Server
    trainer: Server
    client: Client
    model_id: str


@asynccontextmanager
async def running(streams: int) -> AsyncIterator[Running]:
    """Starts a trainer and a gateway. Their logs are not shown."""
    with (
        tempfile.TemporaryDirectory(prefix="earmark-live-") as folder,
        (Path(folder) / "log").open("wb") as log,
    ):
        store = str(Path(folder) / "objects")
        stored = store_loud_model(ObjectStore.open(store).created())
        flags = ("--trainer-port", "0", "--data-dir", folder, "--live-streams", str(streams), "--precompile")
        async with (
            server("earmark.trainer", *flags, "false", log=log) as trainer,
            system(
                EARMARK_OBJECT_STORE=store,
                EARMARK_TRAINERS=trainer.address,
                EARMARK_TRAINER_SECRET=(Path(folder) / SECRET_FILE).read_text().strip(),
            ) as started,
            connect(started.gateway.address) as client,
        ):
            model_id = await insert_model(started.database, stored)
            yield Running(started.gateway, trainer, client, str(model_id))


async def in_real_time(running: Running, streams: int, seconds: float) -> Delays:
    """Sends streams that begin at different times of a period, and measures their detections."""
    began = time.monotonic()

    async def one(number: int) -> list[float]:
        await asyncio.sleep(PERIOD_SECONDS * number / streams)
        start, delays = time.monotonic(), []
        async for found in detect_live(running.client, running.model_id, _paced(start, seconds), PCM):
            ended = start + found.end_ms / 1000
            if ended > began + WARM_SECONDS:
                delays.append(time.monotonic() - ended)
        return delays

    delays = [delay for each in await asyncio.gather(*map(one, range(streams))) for delay in each]
    return Delays(streams, len(delays), median(delays), quantiles(delays, n=20)[-1])


async def _paced(start: float, seconds: float) -> AsyncIterator[bytes]:
    """Yields each part when its last sample has been spoken."""
    period, size = bursts(), int(PART_SECONDS * RATE) * 2
    for number in range(int(seconds / PART_SECONDS)):
        await asyncio.sleep(max(0, start + (number + 1) * PART_SECONDS - time.monotonic()))
        at = number * size % len(period)
        yield period[at : at + size]


async def as_fast_as_possible(running: Running, hours: float, show: Callable[[Memory], None]) -> list[Memory]:
    """Sends one long stream, and measures the memory of the services."""
    samples: list[Memory] = []
    period = bursts()
    periods = int(hours * 3600 / PERIOD_SECONDS)

    async def audio() -> AsyncIterator[bytes]:
        for number in range(periods):
            if number % max(1, periods // SAMPLES) == 0:
                samples.append(_memory(running, number * PERIOD_SECONDS / 3600))
                show(samples[-1])
            yield period

    found = [each async for each in detect_live(running.client, running.model_id, audio(), PCM)]
    if len(found) != periods:
        raise RuntimeError(f"{len(found)} bursts of {periods} were found")
    return samples


def _memory(running: Running, hours: float) -> Memory:
    trainer, total = running.trainer.process, 0
    for each in [trainer, *trainer.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # a stream's process may end at any time
            total += each.memory_info().rss
    return Memory(hours, running.gateway.rss() / 2**20, total / 2**20)


def growth(samples: list[Memory]) -> float:
    """The larger growth of both services' memory from the second tenth of the samples to the last."""
    tenth = max(1, len(samples) // 10)
    early, late = samples[tenth : 2 * tenth], samples[-tenth:]
    return (
        max(
            median(each.gateway for each in late) / median(each.gateway for each in early),
            median(each.trainer for each in late) / median(each.trainer for each in early),
        )
        - 1
    )


def main(
    streams: Annotated[int, typer.Option(min=1, help="Streams at once, in real time.")] = 20,
    seconds: Annotated[float, typer.Option(min=30, help="Their length.")] = 120,
    hours: Annotated[float, typer.Option(min=0, help="Length of the stream that is sent fast.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002 a flag
) -> None:
    """Measures live streams."""
    show = (lambda _: None) if as_json else _show
    delays, samples = asyncio.run(_measure(streams, seconds, hours, show))
    grown = growth(samples) if len(samples) > 1 else 0.0
    if as_json:
        typer.echo(json.dumps({"delays": asdict(delays), "memory": [*map(asdict, samples)], "growth": grown}))
    else:
        typer.echo(
            f"{delays.streams} streams, {delays.detections} detections: {delays.p50:.2f} s at the median,"
        )
        typer.echo(f"{delays.p95:.2f} s at the 95th percentile ({MOST_SECONDS:.2f} s at most)")
        typer.echo(f"memory grew by {grown:.1%} ({MOST_GROWTH:.0%} at most)")
    sys.exit(int(delays.p95 > MOST_SECONDS or grown >= MOST_GROWTH))


async def _measure(
    streams: int, seconds: float, hours: float, show: Callable[[Memory], None]
) -> tuple[Delays, list[Memory]]:
    async with running(streams) as started:
        await _until_found(started)
        delays = await in_real_time(started, streams, seconds)
        return delays, await as_fast_as_possible(started, hours, show)


async def _until_found(running: Running) -> None:
    """Waits until the trainer is warm and has compiled what it needs."""

    async def audio() -> AsyncIterator[bytes]:
        yield 2 * bursts()

    async for _ in detect_live(running.client, running.model_id, audio(), PCM):
        pass


def _show(sample: Memory) -> None:
    typer.echo(f"{sample.hours:6.2f} h: gateway {sample.gateway:6.0f} MiB, trainer {sample.trainer:6.0f} MiB")


if __name__ == "__main__":
    typer.run(main)
