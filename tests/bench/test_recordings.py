"""The changes of recordings alter no annotation, and what they cost is judged."""

import numpy as np
import pytest
import soxr

from bench.recordings.__main__ import missed, table
from bench.recordings.changes import AS_IT_IS, CHANGES
from tests.sounds import RATE, speech


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_moves_nothing(name):
    audio = speech(3, seed=1)
    changed, rate = CHANGES[name].apply(audio[:, None], RATE)
    assert abs(len(changed) / rate - len(audio) / RATE) < 0.001
    again = soxr.resample(changed[:, 0], rate, RATE)[: len(audio)]
    size = 2 * len(audio)
    product = np.fft.irfft(np.conj(np.fft.rfft(audio, size)) * np.fft.rfft(again, size))
    assert min(product.argmax(), size - product.argmax()) <= 8  # half a millisecond


def runs(**f1):
    """A run for each change, with an event F1 of 0.8 or of what is given."""
    return [
        {
            "change": name,
            "event_f1": (value := f1.get(name.replace(" ", "_"), 0.8)),
            "event_f1_macro": value,
            "event_f1_per_type": {"glitch": value, "clipping": 0.8},
        }
        for name in CHANGES
    ]


def test_a_change_may_cost_what_is_allowed_and_no_more():
    assert list(missed(runs(offset=0.785))) == []
    (found,) = missed(runs(offset=0.77))
    assert found.startswith("offset: event F1 falls by 0.030, 0.02 is allowed")
    (found,) = missed(runs(Opus=0.69))
    assert found.startswith("Opus")


def test_lossy_changes_are_judged_without_clipping():
    figures = runs()
    for run in figures:
        if run["change"] == "MP3":
            run["event_f1"], run["event_f1_per_type"]["clipping"] = 0.5, 0.0
    assert list(missed(figures)) == []


def test_the_table_has_a_row_for_each_change():
    assert table(runs()).row_count == len(CHANGES)
    assert AS_IT_IS in CHANGES
