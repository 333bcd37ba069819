"""A trainer whose work is done by the nodes of a Ray cluster, one of which is killed while it works."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

from bench.tools.raylets import Raylets, raylets
from earmark.configuration import SettingsError
from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.trainer.features.version import FRONTEND_VERSION
from earmark.trainer.service import ray_cluster
from earmark.trainer.service.ray_cluster import Place, places_on
from earmark.trainer.service.ray_node import Report, settings_of_node
from earmark.trainer.settings import TrainerSettings
from earmark.v1 import training_service_pb2
from tests.records import records
from tests.sounds import bursts, encoded
from tests.trainer.process import (
    JOB_ID,
    SECONDS,
    Trainer,
    audio_request,
    failure,
    kind,
    processes,
    responses_and_error,
    running,
    training_job,
    wait_for_exit,
)

EPOCHS = 8
LOST, HANDED_BACK = pb.FAILURE_KIND_ATTEMPT, pb.FAILURE_KIND_HANDED_BACK


@contextmanager
def on_ray(cluster: Raylets, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trainer]:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    flags = {"executor": "ray", "ray-address": cluster.address, "network": "tiny", "precompile": "false"}
    flags |= {"heartbeat-seconds": "0.2"}
    with running(
        data_dir, *chain.from_iterable((f"--{name}", value) for name, value in flags.items())
    ) as trainer:
        yield trainer


def processed(trainer: Trainer) -> list[pb.TrainRequest]:
    """A manifest of four files, whose features are stored."""
    manifest = []
    for number in range(4):
        audio, annotations = bursts(16, number)
        name = f"dataset/{number}"
        responses = trainer.process_audio(encoded(audio, "WAV"), name)
        assert [r.WhichOneof("content") for r in responses] == ["normalizing", "embedding", "ready"]
        key = f"default/audio/{name}/features"
        assert trainer.objects.get(key)
        file = {"audio_file_id": name, "sha256": f"{number:064x}", "features": key, "duration_ms": 16_000}
        file["annotations"] = records(annotations, ["static"])
        manifest.append(pb.TrainRequest(file=file))
    return manifest


def train(trainer: Trainer, files, attempt: int, resume_from: str = "", epochs: int = EPOCHS):
    job = training_job(epochs=epochs)
    job.attempt, job.resume_from = attempt, resume_from
    return trainer.stub.Train(iter([pb.TrainRequest(job=job), *files]), timeout=4 * SECONDS)


def until_checkpoint(call) -> list[pb.TrainResponse]:
    """The responses up to the first checkpoint."""
    seen = []
    for response in call:
        seen.append(response)
        if response.HasField("checkpoint"):
            return seen
    raise AssertionError("no checkpoint")


def epochs(responses: list[pb.TrainResponse]) -> list[int]:
    return [r.epoch_completed.epoch for r in responses if r.HasField("epoch_completed")]


def last_checkpoint(responses: list[pb.TrainResponse]) -> str:
    return [r.checkpoint.key for r in responses if r.HasField("checkpoint")][-1]


def actors() -> dict[int, dict[int, str]]:
    """The processes of the actors, and the commands of what they have started."""
    live = processes()
    return {
        pid: {child: command for child, (parent, command) in live.items() if parent == pid}
        for pid, (_, title) in live.items()
        if title.startswith("ray::RayNode")
    }


@contextmanager
def decoders_paused() -> Iterator[None]:
    """No node decodes in the block, as if what it has was long."""
    pids = [
        pid for started in actors().values() for pid, command in started.items() if "workers.audio" in command
    ]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    yield
    for pid in pids:
        if pid in processes():
            os.kill(pid, signal.SIGCONT)


def test_work_is_not_lost_with_its_node_and_ends_with_its_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with raylets() as cluster, on_ray(cluster, tmp_path, monkeypatch) as trainer:
        assert trainer.capacity().problem
        first = cluster.add(1)
        trainer.warm()
        files = processed(trainer)
        cluster.add(1)
        capacity = trainer.wait_for(lambda capacity: capacity.free_training_slots == 2)
        assert (capacity.training_slots, capacity.detection_slots, capacity.device) == (2, 2, "cpu")

        # Both are given to the first node, since all nodes have as much to give.
        call = train(trainer, files, attempt=1)
        seen = until_checkpoint(call)
        with decoders_paused():
            trainer.objects.put("default/audio/late/source", encoded(bursts(4, 9)[0], "WAV"))
            late = trainer.stub.ProcessAudio(audio_request("late"), timeout=SECONDS)
            assert next(late).HasField("normalizing")
            cluster.kill(first)
            _, lost = responses_and_error(late)
            assert (failure(lost)[1], kind(lost)) == ("STOPPING", HANDED_BACK)
        rest, lost = responses_and_error(call)
        assert (failure(lost)[1], kind(lost)) == ("TRAINER_LOST", LOST)
        seen += rest
        trainer.wait_for(lambda capacity: capacity.training_slots == 1 and capacity.free_training_slots == 1)
        assert list(trainer.stub.ProcessAudio(audio_request("late"), timeout=SECONDS))[-1].HasField("ready")

        # The other node goes on, is asked to hand back, and goes on.
        call = train(trainer, files, attempt=2, resume_from=last_checkpoint(seen))
        again = until_checkpoint(call)
        trainer.stub.HandBack(pb.HandBackRequest(training_job_id=JOB_ID, attempt=2), timeout=SECONDS)
        rest, handed_back = responses_and_error(call)
        assert (failure(handed_back)[1], kind(handed_back)) == ("STOPPING", HANDED_BACK)
        again += rest
        notices = [r.notice.code for r in again if r.HasField("notice")]
        assert training_service_pb2.NOTICE_CODE_RESUMED in notices
        trainer.warm()

        cancelled = train(trainer, files, attempt=3, epochs=100)
        prefix = until_checkpoint(cancelled)[-1].checkpoint.key.rpartition("/")[0]
        cancelled.cancel()
        trainer.warm()
        assert not any("model" in key for key in trainer.objects.keys(prefix))

        end = list(train(trainer, files, attempt=4, resume_from=last_checkpoint(again)))
        assert end[-1].HasField("completed")
        trained = epochs(seen) + epochs(again) + epochs(end)
        assert trained == list(range(1, EPOCHS + 1))

        recordings = [trainer.recording(encoded(bursts(3, seed)[0], "WAV")) for seed in range(3)]
        answers = list(trainer.detect_files(end[-1].completed, recordings))
        completed = {r.completed.file_id for r in answers if r.HasField("completed")}
        assert completed == {request.file.file_id for request in recordings}

        ((actor, started),) = actors().items()
        trainer.process.kill()
        wait_for_exit([actor, *started])


@pytest.mark.parametrize(
    ("resources", "device", "expected"),
    [
        ({"CPU": 4.0}, "", [(4, 0)]),
        ({"memory": 1.0}, "", []),
        ({"CPU": 4.0, "GPU": 2.0}, "cpu", [(4, 0)]),
        ({"CPU": 5.0, "GPU": 2.0}, "", [(2, 1), (2, 1)]),
        ({"CPU": 1.0, "GPU": 2.0}, "cuda", [(1, 2)]),
        ({"CPU": 4.0, "GPU": 2.0}, "cuda:all", [(4, 2)]),
        ({"CPU": 4.0}, "cuda", []),
    ],
)
def test_a_node_has_an_actor_for_each_gpu(resources, device, expected) -> None:
    places = places_on("node", resources, device)
    assert places == [Place("node", number, *share) for number, share in enumerate(expected)]


@pytest.mark.parametrize(
    ("different", "problem"),
    [
        ({}, ""),
        ({"problem": "its disk is full"}, "its disk is full"),
        ({"store_id": "another"}, "another object store"),
        ({"frontend": "0"}, "has front end 0"),
    ],
)
def test_a_node_that_is_not_the_fronts_match_gets_no_work(different, problem) -> None:
    slots = {"training": 1, "detection": 1, "audio": 2}
    report = Report(
        "cpu", slots, slots, problem="", store_id="", frontend=FRONTEND_VERSION, decode_failures={}
    )
    assert problem in replace(report, **different).problem_at("ours")
    assert bool(problem) == bool(replace(report, **different).problem_at("ours"))


def test_a_front_without_a_cluster_says_so() -> None:
    with pytest.raises(SettingsError, match=r"no Ray cluster answers at 127\.0\.0\.1:9: start one"):
        ray_cluster._join(TrainerSettings(ray_address="127.0.0.1:9"))


def test_a_node_gets_no_secret_and_no_folder_of_the_front(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    front = TrainerSettings(executor="ray", trainer_secret="secret", data_dir="data", trainer_tls_key="key")
    node = TrainerSettings(**settings_of_node(front, cpus=3))
    assert (node.executor, node.trainer_secret, node.trainer_tls_key) == ("local", None, None)
    assert (node.data_dir, node.object_store_url) == (tmp_path / "data", str(tmp_path / "data" / "objects"))
    assert node.audio_processes == 3
    asked = TrainerSettings(executor="ray", audio_processes=7, object_store="s3://bucket")
    node = TrainerSettings(**settings_of_node(asked, cpus=3))
    assert (node.audio_processes, node.object_store_url) == (7, "s3://bucket")
