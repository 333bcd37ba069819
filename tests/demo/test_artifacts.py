from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.artifacts import GAP_MS, LONG_PAUSE, TYPES, Mark, inject

RATE = 22_050


def babble(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """Noise in syllables of 250 ms with dips of 50 ms, and a pause of 300 ms every 3 s."""
    time = np.arange(int(seconds * rate)) / rate
    loud = ((time % 0.3) < 0.25) & ((time % 3) < 2.7)
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (noise * np.where(loud, 0.1, 0.0005)).clip(-0.9, 0.9).astype(np.float32)


def planted(seconds=40.0, rate=RATE, seed=1, types=None, per_minute=24.0):
    clean = babble(seconds, rate)
    return clean, *inject(clean, rate, np.random.default_rng(seed), types, per_minute)


def samples(mark: Mark, rate: int) -> slice:
    return slice(round(mark.start_ms * rate / 1000), round(mark.end_ms * rate / 1000))


def without_pauses(audio: np.ndarray, marks: list[Mark], rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the audio with the pauses cut out and, per sample, whether another mark covers it."""
    keep = np.ones(len(audio), bool)
    covered = np.zeros(len(audio), bool)
    for mark in marks:
        if mark.artifact_type == LONG_PAUSE:
            keep[samples(mark, rate)] = False
        else:
            covered[samples(mark, rate)] = True
    return audio[keep], covered[keep]


def test_every_type_is_planted_about_equally_often():
    counts = Counter(mark.artifact_type for mark in planted(120)[2])
    assert set(counts) == set(TYPES)
    assert min(counts.values()) >= 5
    assert max(counts.values()) <= 8


@settings(max_examples=60, deadline=None)
@given(
    seconds=st.floats(0, 15),
    rate=st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100]),
    seed=st.integers(0, 2**32 - 1),
    types=st.lists(st.sampled_from(TYPES), unique=True),
    per_minute=st.floats(0, 200),
)
def test_marks_are_in_order_apart_inside_the_audio_and_cover_every_change(
    seconds, rate, seed, types, per_minute
):
    clean, audio, marks = planted(seconds, rate, seed, types, per_minute)
    assert audio.dtype == np.float32
    assert np.isfinite(audio).all()
    assert np.abs(audio).max(initial=0) <= 1
    assert {mark.artifact_type for mark in marks} <= set(types)
    assert len(marks) <= round(len(clean) / rate / 60 * per_minute)
    last = -GAP_MS
    for mark in marks:
        assert mark.start_ms >= max(0, last + GAP_MS)
        assert mark.end_ms - mark.start_ms >= 50
        last = mark.end_ms
    assert last <= int(len(audio) * 1000 / rate)
    rest, covered = without_pauses(audio, marks, rate)
    assert len(rest) == len(clean)
    assert np.array_equal(rest[~covered], clean[~covered])


@pytest.mark.parametrize("artifact", sorted(set(TYPES) - {LONG_PAUSE}))
def test_the_signal_changes_from_the_first_to_the_last_millisecond_of_a_mark(artifact):
    clean, audio, marks = planted(types=[artifact])
    assert len(marks) >= 8
    fade = RATE * 6 // 1000  # of the last click of a glitch
    for mark in marks:
        changed = np.flatnonzero(audio[samples(mark, RATE)] != clean[samples(mark, RATE)])
        length = samples(mark, RATE).stop - samples(mark, RATE).start
        assert changed[0] <= RATE // 1000
        assert changed[-1] >= length - (fade if artifact == "glitch" else RATE // 1000)


def test_a_pause_is_longer_than_any_natural_one_and_as_quiet():
    _, audio, marks = planted(types=[LONG_PAUSE])
    assert len(marks) >= 8
    edge = RATE * 8 // 1000
    for mark in marks:
        pause = audio[samples(mark, RATE)]
        assert mark.end_ms - mark.start_ms > 700
        assert 1e-4 < np.std(pause[edge:-edge]) < 1e-3


def test_a_pause_opens_and_closes_without_a_click():
    _, audio, marks = planted(types=[LONG_PAUSE])
    natural = np.abs(np.diff(babble(40, RATE))).max()
    for mark in marks:
        part = samples(mark, RATE)
        assert np.abs(np.diff(audio[part.start - 3 : part.start + 3])).max() <= natural
        assert np.abs(np.diff(audio[part.stop - 3 : part.stop + 3])).max() <= natural


def test_each_artifact_looks_like_what_it_is_called():
    clean, audio, marks = planted(60, types=["dropout"])
    assert all(not audio[samples(mark, RATE)].any() for mark in marks)

    clean, audio, marks = planted(60, types=["clipping"])
    for mark in marks:
        part = np.abs(audio[samples(mark, RATE)])
        assert np.mean(part >= 0.999 * part.max()) > 0.05  # flat tops

    clean, audio, marks = planted(60, types=["glitch"])
    assert all(np.abs(audio[samples(mark, RATE)]).max() > 0.7 * np.abs(clean).max() for mark in marks)

    clean, audio, marks = planted(60, types=["static"])
    added = [(audio - clean)[samples(mark, RATE)] for mark in marks]
    assert all(np.std(noise) > 0.02 for noise in added)

    clean, audio, marks = planted(60, types=["echo"])
    for mark in marks:
        part = samples(mark, RATE)
        added = (audio - clean)[part]
        delays = np.arange(round(0.11 * RATE), round(0.24 * RATE))
        heard = [np.dot(added, clean[part.start - delay : part.stop - delay]) for delay in delays]
        assert max(heard) > 5 * np.median(np.abs(heard))  # the added sound is the speech of a while ago


def test_the_same_generator_state_gives_the_same_samples():
    _, audio, marks = planted(seed=3)
    _, again, same = planted(seed=3)
    _, other, different = planted(seed=4)
    assert audio.tobytes() == again.tobytes()
    assert marks == same
    assert marks != different
    assert audio.tobytes() != other.tobytes()


def test_the_clean_audio_is_left_alone():
    clean = babble(20, RATE)
    before = clean.copy()
    inject(clean, RATE, np.random.default_rng(0))
    assert np.array_equal(clean, before)


def test_where_nobody_speaks_nothing_is_planted():
    silence = np.zeros(RATE * 30, np.float32)
    audio, marks = inject(silence, RATE, np.random.default_rng(0))
    assert marks == []
    assert np.array_equal(audio, silence)


def test_what_cannot_be_planted_is_refused_by_name():
    with pytest.raises(ValueError, match="no artifact crosstalk; there are glitch, dropout"):
        inject(babble(1, RATE), RATE, np.random.default_rng(0), ["glitch", "crosstalk"])
    with pytest.raises(ValueError, match=r"mono audio, not into shape \(10, 2\)"):
        inject(np.zeros((10, 2), np.float32), RATE, np.random.default_rng(0))
