from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.artifacts import GAP_MS, LONG_PAUSE, TYPES, Annotation, inject

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


def samples(annotation: Annotation, rate: int) -> slice:
    return slice(round(annotation.start_ms * rate / 1000), round(annotation.end_ms * rate / 1000))


def without_pauses(
    audio: np.ndarray, annotations: list[Annotation], rate: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the audio without the pauses and, for each sample, whether another annotation covers it."""
    keep = np.ones(len(audio), bool)
    covered = np.zeros(len(audio), bool)
    for annotation in annotations:
        if annotation.artifact_type == LONG_PAUSE:
            keep[samples(annotation, rate)] = False
        else:
            covered[samples(annotation, rate)] = True
    return audio[keep], covered[keep]


def test_every_type_is_planted_about_equally_often():
    counts = Counter(annotation.artifact_type for annotation in planted(120)[2])
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
def test_annotations_are_in_order_apart_inside_the_audio_and_cover_every_change(
    seconds, rate, seed, types, per_minute
):
    clean, audio, annotations = planted(seconds, rate, seed, types, per_minute)
    assert audio.dtype == np.float32
    assert np.isfinite(audio).all()
    assert np.abs(audio).max(initial=0) <= 1
    assert {annotation.artifact_type for annotation in annotations} <= set(types)
    assert len(annotations) <= round(len(clean) / rate / 60 * per_minute)
    last = -GAP_MS
    for annotation in annotations:
        assert annotation.start_ms >= max(0, last + GAP_MS)
        assert annotation.end_ms - annotation.start_ms >= 50
        last = annotation.end_ms
    assert last <= int(len(audio) * 1000 / rate)
    rest, covered = without_pauses(audio, annotations, rate)
    assert len(rest) == len(clean)
    assert np.array_equal(rest[~covered], clean[~covered])


@pytest.mark.parametrize("artifact", sorted(set(TYPES) - {LONG_PAUSE}))
def test_the_signal_changes_from_the_first_to_the_last_millisecond_of_an_annotation(artifact):
    clean, audio, annotations = planted(types=[artifact])
    assert len(annotations) >= 8
    fade = RATE * 6 // 1000  # of the last click of a glitch
    for annotation in annotations:
        changed = np.flatnonzero(audio[samples(annotation, RATE)] != clean[samples(annotation, RATE)])
        length = samples(annotation, RATE).stop - samples(annotation, RATE).start
        assert changed[0] <= RATE // 1000
        assert changed[-1] >= length - (fade if artifact == "glitch" else RATE // 1000)


def test_a_pause_is_longer_than_natural_ones_and_as_quiet():
    _, audio, annotations = planted(types=[LONG_PAUSE])
    assert len(annotations) >= 8
    edge = RATE * 8 // 1000
    for annotation in annotations:
        pause = audio[samples(annotation, RATE)]
        assert annotation.end_ms - annotation.start_ms > 700
        assert 1e-4 < np.std(pause[edge:-edge]) < 1e-3


def test_a_pause_opens_and_closes_without_a_click():
    _, audio, annotations = planted(types=[LONG_PAUSE])
    natural = np.abs(np.diff(babble(40, RATE))).max()
    for annotation in annotations:
        part = samples(annotation, RATE)
        assert np.abs(np.diff(audio[part.start - 3 : part.start + 3])).max() <= natural
        assert np.abs(np.diff(audio[part.stop - 3 : part.stop + 3])).max() <= natural


def test_each_artifact_has_the_properties_of_its_type():
    clean, audio, annotations = planted(60, types=["dropout"])
    assert all(not audio[samples(annotation, RATE)].any() for annotation in annotations)

    clean, audio, annotations = planted(60, types=["clipping"])
    for annotation in annotations:
        part = np.abs(audio[samples(annotation, RATE)])
        assert np.mean(part >= 0.999 * part.max()) > 0.05  # flat tops

    clean, audio, annotations = planted(60, types=["glitch"])
    assert all(
        np.abs(audio[samples(annotation, RATE)]).max() > 0.7 * np.abs(clean).max()
        for annotation in annotations
    )

    clean, audio, annotations = planted(60, types=["static"])
    added = [(audio - clean)[samples(annotation, RATE)] for annotation in annotations]
    assert all(np.std(noise) > 0.02 for noise in added)

    clean, audio, annotations = planted(60, types=["echo"])
    for annotation in annotations:
        part = samples(annotation, RATE)
        added = (audio - clean)[part]
        delays = np.arange(round(0.11 * RATE), round(0.24 * RATE))
        similarity = [np.dot(added, clean[part.start - delay : part.stop - delay]) for delay in delays]
        assert max(similarity) > 5 * np.median(np.abs(similarity))  # the echo repeats earlier speech


def test_the_same_generator_state_gives_the_same_samples():
    _, audio, annotations = planted(seed=3)
    _, again, same = planted(seed=3)
    _, other, different = planted(seed=4)
    assert audio.tobytes() == again.tobytes()
    assert annotations == same
    assert annotations != different
    assert audio.tobytes() != other.tobytes()


def test_the_clean_audio_is_not_changed():
    clean = babble(20, RATE)
    before = clean.copy()
    inject(clean, RATE, np.random.default_rng(0))
    assert np.array_equal(clean, before)


def test_nothing_is_planted_without_speech():
    silence = np.zeros(RATE * 30, np.float32)
    audio, annotations = inject(silence, RATE, np.random.default_rng(0))
    assert annotations == []
    assert np.array_equal(audio, silence)


def test_invalid_types_and_audio_are_refused():
    with pytest.raises(ValueError, match="no artifact crosstalk; there are glitch, dropout"):
        inject(babble(1, RATE), RATE, np.random.default_rng(0), ["glitch", "crosstalk"])
    with pytest.raises(ValueError, match=r"mono audio, not into shape \(10, 2\)"):
        inject(np.zeros((10, 2), np.float32), RATE, np.random.default_rng(0))
