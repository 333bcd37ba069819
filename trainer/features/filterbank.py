"""The filterbank of the front end, made by librosa.

    python -m earmark.trainer.features.filterbank

writes filterbank.npz beside this file, from which the front end reads it: importing librosa takes longer than
starting a process that decodes audio.
"""

from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32

FILE = Path(__file__).with_name("filterbank.npz")

BIN_HZ = 25  # of every spectrum, at every sample rate: one filterbank serves all
MEL_BANDS = 64
MEL_TOP_HZ = 8_000
HIGH_BANDS = 8
TOP_HZ = 24_000
BINS = TOP_HZ // BIN_HZ + 1


@cache
def filterbank() -> Float32[np.ndarray, "bands bins"]:
    """Read MEL_BANDS filters up to MEL_TOP_HZ, and HIGH_BANDS from there to TOP_HZ."""
    with np.load(FILE) as stored:
        filters: np.ndarray = stored["filters"]
    return filters


def made() -> Float32[np.ndarray, "bands bins"]:
    """Make these filters: librosa's default scale and normalisation."""
    from librosa.filters import mel  # noqa: PLC0415  # see above

    rate, size = 2 * TOP_HZ, 2 * TOP_HZ // BIN_HZ
    low = mel(sr=rate, n_fft=size, n_mels=MEL_BANDS, fmax=MEL_TOP_HZ)
    high = mel(sr=rate, n_fft=size, n_mels=HIGH_BANDS, fmin=MEL_TOP_HZ, fmax=TOP_HZ)
    return np.concatenate([low, high])


if __name__ == "__main__":
    np.savez_compressed(FILE, filters=made())
