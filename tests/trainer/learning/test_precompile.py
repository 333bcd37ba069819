from dataclasses import asdict, replace

import pytest

from earmark.gateway.convert.training import DEFAULTS
from earmark.storage.objects import ObjectStore
from earmark.trainer.learning.loop import train
from earmark.trainer.learning.precompile import DEFAULT, precompile
from earmark.trainer.learning.step import run_steps
from earmark.trainer.scoring.detection import tile_scores
from tests.sounds import annotated_speech
from tests.trainer.jobs import never, stored_file, training_job


def test_precompile_uses_the_settings_that_gateways_send_by_default():
    assert {name: asdict(DEFAULT)[name] for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize("network", ["standard", "tiny"])
def test_a_job_with_default_settings_compiles_nothing_more(tmp_path, network):
    precompile(network)
    compiled = run_steps._cache_size(), tile_scores._cache_size()
    objects = ObjectStore.open(str(tmp_path))
    files = [stored_file(objects, f"file-{number}", *annotated_speech(60, number)) for number in range(6)]
    types = ("gone", "noisy")
    job = replace(
        training_job(objects, files=0),
        files=tuple(files),
        config=replace(DEFAULT, artifact_types=types, epochs=1, seed=5),
    )
    list(train(job, objects, never, network))
    assert (run_steps._cache_size(), tile_scores._cache_size()) == compiled
