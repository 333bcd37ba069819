from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from bench.quality.sets import FAULTS
from demo.artifacts import INSERTED, LONG_PAUSE, REPETITION, TYPES, inject
from demo.effects import CROSSTALK, KINDS
from demo.placing import GAP_MS, Annotation

RATE = 22_050
TABLES = {"the demo's": KINDS, "the benchmark's": FAULTS}


def babble(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """Noise in syllables of 250 ms with dips of 50 ms, and a pause of 300 ms every 3 s."""
    time = np.arange(int(seconds * rate)) / rate
    loud = ((time % 0.3) < 0.25) & ((time % 3) < 2.7)
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (noise * np.where(loud, 0.1, 0.0005)).clip(-0.9, 0.9).astype(np.float32)


def planted(seconds=40.0, rate=RATE, seed=1, types=TYPES, per_minute=24.0, kinds=KINDS):
    clean, second = babble(seconds, rate), babble(10, rate, seed=1)
    return clean, *inject(clean, rate, np.random.default_rng(seed), types, per_minute, second, kinds)


def samples(annotation: Annotation, rate: int) -> slice:
    return slice(round(annotation.start_ms * rate / 1000), round(annotation.end_ms * rate / 1000))


def without_insertions(
    audio: np.ndarray, annotations: list[Annotation], rate: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the audio without what was inserted and, for each sample, whether an annotation covers it."""
    keep = np.ones(len(audio), bool)
    covered = np.zeros(len(audio), bool)
    for annotation in annotations:
        if annotation.artifact_type in INSERTED:
            keep[samples(annotation, rate)] = False
        else:
            covered[samples(annotation, rate)] = True
    return audio[keep], covered[keep]


def test_every_type_is_planted_about_equally_often():
    counts = Counter(annotation.artifact_type for annotation in planted(120)[2])
    assert set(counts) == set(TYPES)
    assert min(counts.values()) >= 5
    assert max(counts.values()) <= 8


@settings(max_examples=60)
@given(
    seconds=st.floats(0, 15),
    rate=st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100]),
    seed=st.integers(0, 2**32 - 1),
    types=st.lists(st.sampled_from(TYPES), unique=True),
    per_minute=st.floats(0, 200),
    table=st.sampled_from(sorted(TABLES)),
)
def test_annotations_are_in_order_apart_inside_the_audio_and_cover_every_change(
    seconds, rate, seed, types, per_minute, table
):
    kinds = TABLES[table]
    clean, audio, annotations = planted(seconds, rate, seed, types, per_minute, kinds)
    assert audio.dtype == np.float32
    assert np.isfinite(audio).all()
    assert np.abs(audio).max(initial=0) <= 1
    assert {annotation.artifact_type for annotation in annotations} <= set(types)
    assert len(annotations) <= round(len(clean) / rate / 60 * per_minute)
    last = -GAP_MS
    for annotation in annotations:
        assert annotation.start_ms >= max(0, last + GAP_MS)
        length = annotation.end_ms - annotation.start_ms
        if kind := kinds.get(annotation.artifact_type):
            assert kind.shortest_ms <= length <= kind.longest_ms
        else:
            assert length >= 120
        last = annotation.end_ms
    assert last <= int(len(audio) * 1000 / rate)
    rest, covered = without_insertions(audio, annotations, rate)
    assert len(rest) == len(clean)
    assert np.array_equal(rest[~covered], clean[~covered])


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("artifact", KINDS)
def test_the_signal_changes_from_the_first_to_the_last_millisecond_of_an_annotation(artifact, table):
    clean, audio, annotations = planted(types=[artifact], kinds=TABLES[table])
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


@pytest.mark.parametrize("artifact", INSERTED)
def test_what_is_inserted_opens_and_closes_without_a_click(artifact):
    _, audio, annotations = planted(types=[artifact])
    assert len(annotations) >= 8
    natural = np.abs(np.diff(babble(40, RATE))).max()
    for annotation in annotations:
        part = samples(annotation, RATE)
        assert np.abs(np.diff(audio[part.start - 3 : part.start + 3])).max() <= natural
        assert np.abs(np.diff(audio[part.stop - 3 : part.stop + 3])).max() <= natural


@pytest.mark.parametrize("rate", [8_000, 11_025, RATE])
def test_a_repetition_ends_as_the_speech_before_it_ends_and_the_speech_goes_on_after_it(rate):
    clean, audio, annotations = planted(rate=rate, types=[REPETITION])
    assert len(annotations) >= 8
    fade = rate * 8 // 1000
    inserted = 0
    for annotation in annotations:
        part = samples(annotation, rate)
        unit = rate * 120 // 1000 - fade
        assert np.array_equal(audio[part.stop - unit : part.stop], audio[part.start - unit : part.start])
        inserted += part.stop - part.start
        assert np.array_equal(audio[part.stop :][:fade], clean[part.stop - inserted :][:fade])


def test_a_repetition_has_one_to_three_equal_units():
    rate = 8_000  # at which a millisecond is a whole number of samples
    _, audio, annotations = planted(90, rate, types=[REPETITION])
    parts = [samples(annotation, rate) for annotation in annotations]
    assert {repeats(audio, part, fade=rate * 6 // 1000) for part in parts} == {1, 2, 3}


def repeats(audio: np.ndarray, part: slice, fade: int) -> int:
    """How many units, equal but for their first `fade` samples, make up the part; 0 if it does not repeat."""
    length = part.stop - part.start
    for count in (1, 2, 3):
        unit = length // count
        units = audio[part.start - unit : part.start - unit + (count + 1) * unit].reshape(-1, unit)[:, fade:]
        if unit * count == length and (units == units[0]).all():
            return count
    return 0


def test_a_dropout_of_the_benchmark_is_silence_or_repeats_its_first_sample():
    clean, audio, annotations = planted(90, types=["dropout"], kinds=FAULTS)
    parts = [audio[samples(annotation, RATE)] for annotation in annotations]
    assert all((part == part[0]).all() for part in parts)
    starts = [clean[samples(annotation, RATE)][0] for annotation in annotations]
    frozen = [part[0] == start for part, start in zip(parts, starts, strict=True)]
    assert {part[0] for part, repeats in zip(parts, frozen, strict=True) if not repeats} == {0}
    assert 0.1 < np.mean(frozen) < 0.6


def test_crosstalk_is_speech_of_the_second_voice_at_a_third_to_nine_tenths_of_the_level():
    clean, audio, annotations = planted(60, types=[CROSSTALK])
    assert len(annotations) >= 8
    second = babble(10, RATE, seed=1)
    fade = RATE // 50
    shares = []
    for annotation in annotations:
        part = samples(annotation, RATE)
        added = (audio - clean)[part][fade:-fade]
        match = signal.correlate(second, added, mode="valid")
        source = second[np.argmax(np.abs(match)) :][: len(added)]
        assert np.corrcoef(source, added)[0, 1] > 0.999
        shares.append(np.std(added) / np.std(clean[part]))
    assert min(shares) > 0.3
    assert max(shares) < 0.95
    assert max(shares) > 1.5 * min(shares)


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
    inject(clean, RATE, np.random.default_rng(0), TYPES, second_voice=babble(5, RATE))
    assert np.array_equal(clean, before)


def test_nothing_is_planted_without_speech():
    silence = np.zeros(RATE * 30, np.float32)
    audio, annotations = inject(silence, RATE, np.random.default_rng(0), TYPES, second_voice=babble(5, RATE))
    assert annotations == []
    assert np.array_equal(audio, silence)


def test_crosstalk_is_left_out_if_the_second_voice_is_silent():
    clean = babble(30, RATE)
    silence = np.zeros(RATE * 30, np.float32)
    audio, annotations = inject(clean, RATE, np.random.default_rng(0), [CROSSTALK], second_voice=silence)
    assert annotations == []
    assert np.array_equal(audio, clean)


def test_invalid_types_and_audio_are_refused():
    with pytest.raises(ValueError, match="no artifact hum; there are glitch, dropout"):
        inject(babble(1, RATE), RATE, np.random.default_rng(0), ["glitch", "hum"])
    with pytest.raises(ValueError, match="crosstalk needs a second voice"):
        inject(babble(1, RATE), RATE, np.random.default_rng(0), [CROSSTALK])
    with pytest.raises(ValueError, match=r"mono audio, not into shape \(10, 2\)"):
        inject(np.zeros((10, 2), np.float32), RATE, np.random.default_rng(0), ["glitch"])
