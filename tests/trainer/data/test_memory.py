from dataclasses import replace

import pytest

from earmark.storage.objects import ObjectStore
from earmark.trainer.data.memory import available_bytes
from earmark.trainer.events import TrainingFailedError
from earmark.trainer.learning.loop import train
from tests.trainer.jobs import never, training_job


def machine(folder, available_kb):
    path = folder / "meminfo"
    path.write_text(f"MemTotal: 99 kB\nMemAvailable: {available_kb} kB\nCached: 1 kB\n")
    return path


def container(folder, limit, current):
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{current}\n")
    return folder


def test_the_machines_memory_counts_if_the_container_has_no_limit(tmp_path):
    assert available_bytes(container(tmp_path, "max", 5), machine(tmp_path, 3)) == 3 * 1024


def test_the_containers_limit_counts_if_it_is_lower(tmp_path):
    assert available_bytes(container(tmp_path, 2500, 500), machine(tmp_path, 3)) == 2000


def test_memory_is_unlimited_if_neither_states_a_limit(tmp_path):
    assert available_bytes(tmp_path / "none", tmp_path / "none") == float("inf")


def test_a_dataset_too_large_for_the_memory_is_refused_with_both_sizes_before_anything_is_read(
    tmp_path, monkeypatch
):
    objects = ObjectStore.open(str(tmp_path))
    job = training_job(objects, files=0)
    hour = 3_600_000
    files = tuple(replace(file, duration_ms=500 * hour, features="gone") for file in one_file(objects))
    monkeypatch.setattr("earmark.trainer.data.loading.available_bytes", lambda: 2**30)
    with pytest.raises(TrainingFailedError, match=r"500\.0 hours .* 317\.\d GiB .* has 1\.0 GiB") as error:
        next(train(replace(job, files=files), objects, never))
    assert error.value.reason == "DATASET_TOO_LARGE"


def one_file(objects):
    return training_job(objects, files=1, seconds=1).files
