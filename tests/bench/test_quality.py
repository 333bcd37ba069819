"""The quality bench: its speech, its sets, its inexact annotations and its bounds."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bench.quality import __main__ as command
from bench.quality import bounds
from bench.quality.learning import Marks
from bench.quality.sets import RECIPES, write_set
from bench.quality.speech import (
    LONGEST_CLIP_SECONDS,
    RATE,
    Clip,
    Recording,
    clips,
    join,
    split_by_voice,
    voice_of,
    without_long_pauses,
    write_synthetic_clips,
)
from bench.tools.folder import annotations, durations_ms
from demo.artifacts import TYPES
from earmark.trainer.data.loading import Dataset
from earmark.trainer.job import Annotation, TrainingFile
from earmark.trainer.learning.precompile import DEFAULT
from earmark.trainer.network import new_architecture

HERTZ = {"ann": 400, "bob": 700, "eve": 1000, "jim": 1300}
ADDED = ("clicks", "long", "fifty")  # sets whose sounds are added to the speech


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """A folder with three clips of 4 s of each voice, of which each has a pitch of its own."""
    folder = tmp_path_factory.mktemp("tones")
    for voice, hertz in HERTZ.items():
        for number in range(3):
            rate = (8_000, 22_050, 48_000)[number]
            time = np.arange(4 * rate) / rate
            soundfile.write(folder / f"{voice}_{number}.wav", 0.1 * np.sin(2 * np.pi * hertz * time), rate)
    return folder


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    write_synthetic_clips(folder, 4)
    return folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory, speech):
    """The folder with all sets, of a minute of training audio each."""
    folder = tmp_path_factory.mktemp("sets")
    for name, recipe in RECIPES.items():
        write_set(folder / name, recipe, *split_by_voice(clips(speech)), scale=1 / recipe.train_minutes)
    return folder


def pitches(audio: np.ndarray) -> set[str]:
    """The voices whose tones are in the audio."""
    power = np.abs(np.fft.rfft(audio)) ** 2
    hertz = np.fft.rfftfreq(len(audio), 1 / RATE)
    near = {voice: power[np.abs(hertz - pitch) < 20].sum() / power.sum() for voice, pitch in HERTZ.items()}
    return {voice for voice, share in near.items() if share > 0.1}


@pytest.mark.parametrize(
    ("stem", "voice"),
    [
        ("libri-103_02", "libri-103"),
        ("103-1240-0000", "103"),
        ("a_b_1", "a_b"),
        ("anna", "anna"),
        ("x_", "x_"),
    ],
)
def test_a_clip_is_named_after_its_voice(stem, voice):
    assert voice_of(stem) == voice


@given(st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=200))
def test_no_voice_is_on_both_sides(voices):
    every = [Clip(Path(f"{voice}_{number}.wav"), voice) for number, voice in enumerate(voices)]
    if len(set(voices)) < 4:
        with pytest.raises(SystemExit, match="the sets need 4 voices"):
            split_by_voice(every)
        return
    train, test = split_by_voice(every)
    assert sorted(train + test, key=lambda clip: clip.path) == sorted(every, key=lambda clip: clip.path)
    sides = [{clip.voice for clip in side} for side in (train, test)]
    assert not sides[0] & sides[1]
    assert min(map(len, sides)) >= 2
    assert (train, test) == split_by_voice(every)


def test_a_third_of_the_clips_or_so_is_for_the_test():
    every = [Clip(Path(f"{number}.wav"), f"voice {number // 4}") for number in range(400)]
    assert 0.3 <= len(split_by_voice(every)[1]) / len(every) <= 0.31


def test_clips_are_read_at_one_rate_and_level(tones):
    read = [clip.read(np.random.default_rng(0)) for clip in clips(tones)]
    assert len(read) == 12
    for clip, audio in zip(clips(tones), read, strict=True):
        assert len(audio) == 4 * RATE
        assert np.sqrt(np.mean(audio**2)) == pytest.approx(1, abs=1e-3)
        assert pitches(audio) == {clip.voice}


def test_of_a_long_file_a_random_part_is_read(tmp_path):
    path = tmp_path / "ann_1.flac"
    soundfile.write(path, np.linspace(0.1, 0.2, 8_000 * 60), 8_000)
    parts = [Clip(path, "ann").read(np.random.default_rng(seed)) for seed in (1, 2)]
    assert [len(part) for part in parts] == [LONGEST_CLIP_SECONDS * RATE] * 2
    assert not np.array_equal(*parts)


@pytest.mark.parametrize(
    ("audio", "message"),
    [(np.ones((800, 2)) / 2, "2 channels; clips of speech must be mono"), (np.zeros(800), "is silent")],
)
def test_clips_that_are_not_mono_speech_are_refused(tmp_path, audio, message):
    path = tmp_path / "ann_1.wav"
    soundfile.write(path, audio, 8_000)
    with pytest.raises(SystemExit, match=message):
        Clip(path, "ann").read(np.random.default_rng(0))


@pytest.mark.parametrize("voices", [2, 3, 4])
def test_the_second_voice_of_a_recording_is_not_in_it(tones, voices):
    of_side = [clip for clip in clips(tones) if clip.voice in sorted(HERTZ)[:voices]]
    seconds = set()
    for recording in join(of_side, np.random.default_rng(3), 2):
        assert len(recording.audio) >= 20 * RATE
        assert 0.24 < np.abs(recording.audio).max() < 0.81
        first, second = pitches(recording.audio), pitches(recording.second_voice)
        assert len(second) == 1
        assert first
        assert not first & second
        seconds |= second
    assert len(seconds) > 1


def test_long_pauses_are_shortened_and_others_stay():
    rng = np.random.default_rng(0)

    def noise(ms, level):
        return (level * rng.standard_normal(ms * RATE // 1000)).astype(np.float32)

    words = [noise(1000, 1) for _ in range(4)]
    parts = [words[0], noise(900, 0.001), words[1], noise(380, 0.001), words[2], noise(2000, 0.001), words[3]]
    short = without_long_pauses(np.concatenate(parts))
    assert len(short) == (4000 + 300 + 380 + 300) * RATE // 1000
    assert np.array_equal(without_long_pauses(short), short)
    rest = np.concatenate([words[0], short[RATE : RATE * 13 // 10], *parts[2:5], short[-RATE * 13 // 10 :]])
    assert np.array_equal(short, rest)
    assert np.array_equal(short[-RATE:], words[3])


def test_the_same_speech_gives_the_same_files(tmp_path, speech, sets):
    recipe = RECIPES["faults"]
    write_set(tmp_path, recipe, *split_by_voice(clips(speech)), scale=1 / recipe.train_minutes)
    assert files(tmp_path) == files(sets / "faults")
    assert len(set(files(sets).values())) == len(files(sets))


def files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", RECIPES)
def test_a_set_has_its_minutes_and_annotations_of_its_types_inside_its_audio(sets, name):
    types = set()
    for side, minutes in (
        ("train", 1),
        ("test", RECIPES[name].test_minutes / RECIPES[name].train_minutes),
    ):
        folder = sets / name / side
        durations = durations_ms(folder)
        assert minutes <= sum(durations.values()) / 60_000 <= minutes + 1
        rows = annotations(folder)
        assert {row["filename"] for row in rows} == set(durations)
        for row in rows:
            assert 0 <= int(row["start_ms"]) < int(row["end_ms"]) <= durations[row["filename"]]
        types |= {row["artifact_type"] for row in rows}
    recipe = RECIPES[name].fill
    known = set(TYPES) if name == "faults" else set(recipe.sounds)
    assert types <= known
    assert len(types) >= 0.8 * len(known)


@pytest.mark.parametrize("name", ADDED)
def test_sounds_change_their_annotated_samples_and_no_others(name):
    rng = np.random.default_rng(5)
    speech = (0.05 * rng.standard_normal(30 * RATE)).astype(np.float32)
    audio, annotated = RECIPES[name].fill(Recording(speech, speech), rng)
    changed = audio != speech
    assert len(annotated) >= 8
    for annotation in annotated:
        part = changed[annotation.start_ms * RATE // 1000 : annotation.end_ms * RATE // 1000]
        places = np.flatnonzero(part)
        assert places[0] <= RATE // 1000
        assert places[-1] >= len(part) - 1 - RATE // 1000
        part[:] = False
    assert not changed.any()


@pytest.mark.parametrize(
    ("name", "lengths", "gaps"),
    [
        ("clicks", {10, 20}, range(25, 45)),
        ("long", range(800, 2500), range(60, 140)),
        ("fifty", range(80, 300), []),
    ],
)
def test_the_sounds_of_a_row_are_of_one_type_and_as_close_as_the_set_says(name, lengths, gaps):
    rng = np.random.default_rng(6)
    speech = (0.05 * rng.standard_normal(60 * RATE)).astype(np.float32)
    _, annotated = RECIPES[name].fill(Recording(speech, speech), rng)
    assert {one.end_ms - one.start_ms for one in annotated} <= set(lengths)
    in_a_row = 0
    for one, following in pairwise(annotated):
        gap = following.start_ms - one.end_ms
        assert gap >= 25
        if gap in gaps:
            in_a_row += 1
            assert one.artifact_type == following.artifact_type
    assert bool(in_a_row) == bool(gaps)


MARKED = Dataset(
    tuple(
        TrainingFile(
            str(number),
            "",
            "",
            60_000,
            tuple(Annotation("hum", at, at + 100) for at in range(0, 59_901, 100)),
        )
        for number in range(2)
    ),
    (),
)


def test_exact_marks_change_nothing():
    assert Marks().inexact(MARKED) == MARKED


def test_inexact_marks_are_moved_and_missing_as_they_say():
    moved, dropped = Marks(jitter_ms=30), Marks(drop=0.25)
    errors = [
        (new.start_ms - old.start_ms, new.end_ms - old.end_ms)
        for files_of in zip(MARKED.files, moved.inexact(MARKED).files, strict=True)
        for old, new in zip(*(file.annotations for file in files_of), strict=True)
    ]
    assert np.abs(errors).max() == 30
    assert np.abs(np.mean(errors, axis=0)).max() < 3
    assert abs(np.corrcoef(np.array(errors).T)[0, 1]) < 0.1
    kept = [file.annotations for file in dropped.inexact(MARKED).files]
    assert all(set(some) < set(file.annotations) for some, file in zip(kept, MARKED.files, strict=True))
    assert sum(map(len, kept)) / (2 * 600) == pytest.approx(0.75, abs=0.04)
    assert dropped.inexact(MARKED) == dropped.inexact(MARKED)


@given(st.integers(0, 59_990), st.integers(10, 60_000), st.integers(0, 500))
def test_moved_marks_stay_inside_the_audio(start, length, jitter):
    annotation = Annotation("hum", start, min(60_000, start + length))
    file = TrainingFile("0", "", "", 60_000, (annotation,))
    (new,) = Marks(jitter).inexact(Dataset((file,), ())).files
    assert 0 <= new.annotations[0].start_ms <= new.annotations[0].end_ms - 10 <= 59_990


def test_a_figure_below_its_bound_is_named():
    for (name, marks), lowest in bounds.BOUNDS.items():
        good = {"set": name, "seed": 1, **lowest}
        assert bounds.missed([good], marks) == []
        bad = good | {"event_f1": lowest["event_f1"] - 0.001}
        (failure,) = bounds.missed([good, bad], marks)
        assert failure.startswith(f"{name}, seed 1: event_f1 is ")
        assert len(bounds.missed([good | dict.fromkeys(lowest)], marks)) == len(lowest)
    assert {name for name, _ in bounds.BOUNDS} == set(RECIPES)


def test_the_command_prints_the_figures_and_writes_them(monkeypatch, tmp_path, tones):
    # A network and shards so small that compiling is quick.
    monkeypatch.setattr(
        "earmark.trainer.learning.warm_start.new_architecture",
        lambda types, _: new_architecture(types, "tiny"),
    )
    monkeypatch.setattr("earmark.trainer.data.shards.SHARD_FRAMES", 1 << 14)
    monkeypatch.setattr("bench.tools.data.DEFAULT", replace(DEFAULT, epochs=1))
    options = ["--speech", str(tones), "--out", str(tmp_path), "--sets", "long", "--seeds", "4,5"]
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app(), [*options, "--minutes", "0.5", "--drop", "0.1"])
    assert done.exit_code == 0, done.output
    assert "2 voices to train on and 2 others to test on" in done.stderr
    written = json.loads((tmp_path / "quality.json").read_text())
    assert [(run["set"], run["seed"]) for run in written["figures"]] == [("long", 4), ("long", 5)]
    for run in written["figures"]:
        assert f"{run['frame_accuracy']:.3f}" in done.stdout
        assert set(run["event_f1_per_type"]) == {"hum", "hiss"}
    assert written["settings"] == {
        "speech": str(tones), "train": None, "test": None, "minutes": 0.5, "jitter_ms": 0, "drop": 0.1
    }  # fmt: skip


def test_the_command_ends_with_status_1_and_names_the_bound_that_is_missed(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "make_sets", lambda *_: [command.Folders("long", tmp_path, tmp_path)])
    low = {"set": "long", "seed": 1, "event_f1": 0.5, "event_f1_macro": 1, "segment_f1": 1, "seconds": 1}
    others = dict.fromkeys(("edit_distance", "frame_accuracy", "onset_error_ms", "offset_error_ms"))
    monkeypatch.setattr(command, "measure", lambda *_: [{**low, **others, "event_f1_per_type": {"hum": 0.5}}])
    options = ["--speech", str(tmp_path), "--out", str(tmp_path)]
    done = CliRunner().invoke(app(), options)
    assert done.exit_code == 1
    assert "long, seed 1: event_f1 is 0.5, and its bound is 0.944" in done.stdout
    assert CliRunner().invoke(app(), [*options, "--drop", "0.5"]).exit_code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train", "a"], "--train and --test belong together"),
        (["--speech", ".", "--sets", "long,short"], "no set short; there are faults, clicks, long, fifty"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, message):
    done = CliRunner().invoke(app(), [*options, "--out", str(tmp_path)])
    assert done.exit_code == 1
    assert message in str(done.exception) + done.output


def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(command.main)
    return made
