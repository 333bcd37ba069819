"""The stages that a detection job's computing time goes into.

The system's processes say how much time they used while the job ran. The stages of a file are timed with the
trainer's own code in one process, alone, and multiplied by the number of files: the services are not slowed
down by measuring. What the system used beyond them is the rest: objects, rpcs, PostgreSQL.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]  # has no stubs

from earmark.client import Client, export
from earmark.scores import DetectionConfig, Scores
from earmark.storage.objects import ObjectStore
from earmark.trainer.export.native import CONFIG_NAME, WEIGHTS_NAME
from earmark.trainer.features.stored import FileFeatures, unpack_features, write_features
from earmark.trainer.model import Model, load_model
from earmark.trainer.scoring.detection import cleaned, raw_scores
from earmark.trainer.service.audio_pool import ONE_THREAD, decode_limits
from earmark.trainer.settings import TrainerSettings
from earmark.trainer.workers.decoding import DecodeFiles, decode
from earmark.trainer.workers.file_scorer import GROUP_FRAMES
from earmark.trainer.workers.limits import limit_cpu
from earmark.trainer.workers.wire import DecodeRequest
from earmark.v1 import model_service_pb2

PROFILED_FILES = 60
WARM_FILES = 12  # more than a batch
DECODING, FEATURES, NETWORK, CANDIDATES = "decoding", "features", "network", "candidates"


def system_cpu_seconds() -> float:
    """The CPU time of all processes below this one so far, those that have ended included."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])  # its own, and that of its children that have ended
    return total


def shares(
    files: int, wall_seconds: float, cpu_seconds: float, of_file: dict[str, float], cores: int
) -> dict[str, float]:
    """The share of each stage in the time of all cores while a job of so many files ran, in percent.

    `cpu_seconds`: what the system used of it. `of_file`: the seconds of each stage of a file. They may exceed
    what was used, by what their own measurement varies: then nothing is left for storing.
    """
    capacity = wall_seconds * cores
    stages = {name: seconds * files for name, seconds in of_file.items()}
    stages["storing, rpc"] = max(0.0, cpu_seconds - sum(stages.values()))
    stages["waiting"] = max(0.0, capacity - sum(stages.values()))
    return {name: round(100 * seconds / capacity, 1) for name, seconds in stages.items()}


def profile(client: Client, model_id: str, paths: Sequence[Path]) -> dict[str, float]:
    """CPU seconds of each stage of a file, on average over some of these files.

    A process of its own times them, which computes features with one thread, as each of the trainer's does.
    """
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as name:
        archive = export(client, model_id, Path(name) / "model.zip")
        folder = Path(name) / "model"
        zipfile.ZipFile(archive).extractall(folder)
        get = model_service_pb2.GetModelRequest(model_id=model_id)
        sha256 = client.models.GetModel(get).model.sha256
        files = map(str, paths[:PROFILED_FILES])
        command = [sys.executable, "-m", "bench.detection.stages", str(folder), sha256, *files]
        environment = os.environ | ONE_THREAD
        reply = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    of_file: dict[str, float] = json.loads(reply.stdout)
    return of_file


def main(folder: str, sha256: str, *files: str) -> None:
    """Prints the CPU seconds of each stage of a file, on average, with the exported model in the folder."""
    model = load_model(ObjectStore.open(folder), WEIGHTS_NAME, CONFIG_NAME, sha256)
    paths = list(map(Path, files))
    _profiled(model, paths[:WARM_FILES])  # compiles the network
    print(json.dumps({name: seconds / len(paths) for name, seconds in _profiled(model, paths).items()}))


def _profiled(model: Model, paths: Sequence[Path]) -> dict[str, float]:
    """The CPU seconds of each stage of all files, which are scored in groups as the trainer does."""
    times = dict.fromkeys((DECODING, FEATURES, NETWORK, CANDIDATES), 0.0)
    group: list[tuple[FileFeatures, int]] = []
    frames = 0
    for path in paths:
        features, duration_ms = _features(path, times)
        group.append((features, duration_ms))
        frames += len(features.tracks) * features.frames
        if frames >= GROUP_FRAMES or path is paths[-1]:
            _score(model, group, times)
            group, frames = [], 0
    return times


def _features(path: Path, times: dict[str, float]) -> tuple[FileFeatures, int]:
    limits = decode_limits(TrainerSettings.model_validate({}))
    with ExitStack() as stack:
        source = stack.enter_context(path.open("rb"))
        raw, packed = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        with _timed(times, DECODING):
            files = DecodeFiles(source.fileno(), raw.fileno(), packed.fileno())
            decoded, samples = decode(DecodeRequest(long=True), files, limits)
        limit_cpu(None)  # that of decoding is the process's
        with _timed(times, FEATURES):
            write_features(packed, samples, decoded.sample_rate)
        packed.seek(0)
        return unpack_features(packed.read()), decoded.duration_ms


def _score(model: Model, group: Sequence[tuple[FileFeatures, int]], times: dict[str, float]) -> None:
    with _timed(times, NETWORK):
        raw = iter(raw_scores(model, [track for features, _ in group for track in features.tracks]))
    with _timed(times, CANDIDATES):
        for features, duration_ms in group:
            tracks = np.stack([cleaned(next(raw), model.types) for _ in features.tracks])
            scores = Scores(tracks, features.channels, tuple(features.begins), duration_ms)
            scores.pack()
            scores.detections(model.types, DetectionConfig())


@contextmanager
def _timed(times: dict[str, float], stage: str) -> Iterator[None]:
    began = time.process_time()
    yield
    times[stage] += time.process_time() - began


if __name__ == "__main__":
    main(*sys.argv[1:])
