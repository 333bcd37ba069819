from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.events import NoticeCode
from trainer.job import Annotation, TrainingFile
from trainer.split import Region, events_inside, split_files

TYPES = ("common", "rare")
GAP = 114


def file(name, *kinds, sha=None, seconds=30):
    marks = tuple(Annotation(kind, 1000 * n + 200, 1000 * n + 500) for n, kind in enumerate(kinds))
    return TrainingFile(name, sha or name, f"features/{name}", seconds * 1000, marks)


def kinds_of(files, regions):
    return Counter(
        kind for region in regions for kind, *_ in events_inside(files[region.file], region, TYPES)
    )


def codes(split):
    return [notice.code for notice in split.notices]


def test_whole_files_are_held_out_and_every_type_is_on_both_sides():
    files = [file(f"{n:02}", "common", *["rare"] * (n in (3, 11))) for n in range(20)]
    for seed in range(10):
        split = split_files(files, TYPES, 0.2, GAP, seed)
        assert sorted(r.file for r in (*split.train, *split.validation)) == list(range(20))
        assert all((region.start, region.end) == (0, 3000) for region in (*split.train, *split.validation))
        assert 3 <= len(split.validation) <= 6
        assert kinds_of(files, split.train)["rare"] == kinds_of(files, split.validation)["rare"] == 1
        assert not split.notices


def test_the_split_depends_on_the_seed_and_on_nothing_else():
    files = [file(f"{n:02}", "common", "rare") for n in range(20)]
    assert split_files(files, TYPES, 0.2, GAP, 1) == split_files(files, TYPES, 0.2, GAP, 1)
    assert len({split_files(files, TYPES, 0.2, GAP, seed).validation for seed in range(5)}) > 1


def test_copies_stay_on_one_side():
    files = [file(f"{n:02}", "common", "rare", sha=f"sha-{n % 7}") for n in range(21)]
    split = split_files(files, TYPES, 0.3, GAP, 0)
    held, trained = ({files[r.file].sha256 for r in side} for side in (split.validation, split.train))
    assert held
    assert not held & trained


def test_a_type_of_one_file_is_trained_on_and_said_not_to_be_held_out():
    files = [file(f"{n:02}", "common", *["rare"] * (n == 4)) for n in range(10)]
    for seed in range(10):
        split = split_files(files, TYPES, 0.2, GAP, seed)
        assert 4 in [region.file for region in split.train]
        assert codes(split) == [NoticeCode.TYPE_NOT_HELD_OUT]
        assert "'rare'" in split.notices[0].message


def test_a_type_without_events_is_said_not_to_be_trained():
    split = split_files([file(f"{n}", "common") for n in range(6)], TYPES, 0.2, GAP, 0)
    assert codes(split) == [NoticeCode.TYPE_NOT_HELD_OUT, NoticeCode.TYPE_NOT_TRAINED]


@settings(deadline=None, max_examples=60)
@given(
    data=st.data(),
    seed=st.integers(0, 100),
    share=st.sampled_from([0.1, 0.2, 0.5]),
    copies=st.integers(1, 2),
)
def test_one_long_file_is_cut_into_blocks_with_a_gap_and_no_event_in_two(data, seed, share, copies):
    onsets = data.draw(st.lists(st.integers(0, 290), min_size=4, max_size=60, unique=True))
    marks = tuple(
        Annotation(data.draw(st.sampled_from(TYPES)), 1000 * at, 1000 * at + data.draw(st.integers(30, 4000)))
        for at in sorted(onsets)
    )
    one = TrainingFile("a", "sha", "features/a", 300_000, marks)
    files = [replace(one, audio_file_id=name) for name in "ab"[:copies]]
    split = split_files(files, TYPES, share, GAP, seed)
    assert split.train
    for region in (*split.train, *split.validation):
        for mark in marks:
            touched = mark.end_ms > region.start * 10 and mark.start_ms < region.end * 10
            whole = mark.start_ms >= region.start * 10 and mark.end_ms <= region.end * 10
            assert whole or not touched
    for held in split.validation:
        for trained in split.train:
            apart = max(held.start - trained.end, trained.start - held.end)
            assert apart >= GAP or held.file != trained.file


def test_blocks_hold_out_about_their_share():
    rng = np.random.default_rng(0)
    marks = tuple(
        Annotation(TYPES[n % 2], 3000 * n + 100, 3000 * n + int(rng.integers(200, 900))) for n in range(190)
    )
    for share in (0.1, 0.2, 0.5):
        split = split_files([TrainingFile("a", "s", "f", 600_000, marks)], TYPES, share, GAP, 3)
        held = sum(region.end - region.start for region in split.validation) / 60_000
        assert held == pytest.approx(share, abs=0.1)
        assert not split.notices


def test_events_are_given_from_the_regions_start():
    one = file("a", "common", "rare", "unchosen")
    assert events_inside(one, Region(0, 100, 300), TYPES) == [("rare", 200, 500)]
    assert events_inside(one, Region(0, 0, 140), TYPES) == [("common", 200, 500)]
