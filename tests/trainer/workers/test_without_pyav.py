"""A machine without PyAV decodes what libsndfile decodes, and blames itself for the rest."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.sounds import RATE, encoded
from tests.trainer.process import SECONDS

AUDIO = np.random.default_rng(3).normal(0, 0.1, RATE)
CODE = """
import json, sys
sys.modules["av"] = None
from earmark.trainer.workers.audio import process_file, warm_up
from earmark.trainer.workers.decoding import DecodeFiles
from earmark.trainer.workers.wire import DecodeRequest
from tests.trainer.workers.conftest import LIMITS
from earmark.trainer.service.decoding import AudioFiles
from pathlib import Path

warm_up(LIMITS)
with AudioFiles(Path(sys.argv[1])).opened(stores_audio=True) as descriptors:
    outcomes = [*process_file(DecodeRequest(long=True), DecodeFiles(*descriptors), LIMITS)]
print(json.dumps([repr(outcome) for outcome in outcomes]))
"""


def outcomes(folder, data):
    (folder / "source").write_bytes(data)
    command = [sys.executable, "-c", CODE, str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    return json.loads(run.stdout)


@pytest.mark.parametrize("container", ["WAV", "FLAC", "AIFF"])
def test_what_libsndfile_decodes_is_decoded(tmp_path, container):
    decoded, featured = outcomes(tmp_path, encoded(AUDIO, container))
    assert decoded == "Decoded(duration_ms=1000, sample_rate=16000, channels=1)"
    assert featured == "Featured()"


@pytest.mark.parametrize("container", ["MP3", "OGG"])
def test_what_needs_pyav_fails_and_the_file_is_not_blamed(tmp_path, container):
    (failed,) = outcomes(tmp_path, encoded(AUDIO, container))
    assert failed.startswith("DecodeFailed(reason='INTERNAL'")
    assert f"this trainer cannot decode {container}: install the package av on it" in failed
