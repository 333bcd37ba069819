from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.trainer.data.copies import SHIFT_FRAMES
from earmark.trainer.data.split import split_files
from earmark.trainer.events import NoticeCode
from earmark.trainer.job import Annotation, TrainingFile
from earmark.trainer.model import KnownFiles
from earmark.trainer.regions import RegionEvent, draw_region

TYPES = ("common", "rare")
GAP = 114


def file(name, *kinds, sha=None, seconds=30):
    annotations = tuple(Annotation(kind, 1000 * n + 200, 1000 * n + 500) for n, kind in enumerate(kinds))
    return TrainingFile(name, sha or name, f"features/{name}", seconds * 1000, annotations)


def split(files, types, share, gap, seed, known=None):
    """Split with byte-identical files as copies."""
    groups = {}
    for number, one in enumerate(files):
        groups.setdefault(one.sha256, []).append(number)
    return split_files(files, list(groups.values()), types, share, gap, seed, known)


def kinds_of(files, regions):
    return Counter(
        event.artifact_type
        for region in regions
        for event in files[region.file].annotations
        if event.artifact_type in TYPES
        and 10 * region.start <= event.start_ms
        and event.end_ms <= 10 * region.end
    )


def codes(sides):
    return [notice.code for notice in sides.notices]


def test_whole_files_are_for_validation_and_every_type_is_on_both_sides():
    files = [file(f"{n:02}", "common", *["rare"] * (n in (3, 11))) for n in range(20)]
    for seed in range(10):
        sides = split(files, TYPES, 0.2, GAP, seed)
        assert sorted(r.file for r in (*sides.train, *sides.validation)) == list(range(20))
        assert all((region.start, region.end) == (0, 3000) for region in (*sides.train, *sides.validation))
        assert 3 <= len(sides.validation) <= 6
        assert kinds_of(files, sides.train)["rare"] == kinds_of(files, sides.validation)["rare"] == 1
        assert not sides.notices


def test_the_split_depends_on_the_seed_and_on_nothing_else():
    files = [file(f"{n:02}", "common", "rare") for n in range(20)]
    assert split(files, TYPES, 0.2, GAP, 1) == split(files, TYPES, 0.2, GAP, 1)
    assert len({split(files, TYPES, 0.2, GAP, seed).validation for seed in range(5)}) > 1


def test_copies_stay_on_one_side():
    files = [file(f"{n:02}", "common", "rare", sha=f"sha-{n % 7}") for n in range(21)]
    sides = split(files, TYPES, 0.3, GAP, 0)
    validated, trained = ({files[r.file].sha256 for r in side} for side in (sides.validation, sides.train))
    assert validated
    assert not validated & trained


def test_a_type_in_one_file_is_trained_on_and_reported_as_not_validated():
    files = [file(f"{n:02}", "common", *["rare"] * (n == 4)) for n in range(10)]
    for seed in range(10):
        sides = split(files, TYPES, 0.2, GAP, seed)
        assert 4 in [region.file for region in sides.train]
        assert codes(sides) == [NoticeCode.TYPE_NOT_VALIDATED]
        assert "'rare'" in sides.notices[0].message


def test_a_type_without_events_is_reported_as_not_trained():
    sides = split([file(f"{n}", "common") for n in range(6)], TYPES, 0.2, GAP, 0)
    assert codes(sides) == [NoticeCode.TYPE_NOT_VALIDATED, NoticeCode.TYPE_NOT_TRAINED]


@settings(max_examples=60)
@given(
    data=st.data(), seed=st.integers(0, 100), share=st.sampled_from([0.1, 0.2, 0.5]), gap=st.integers(1, 1100)
)
def test_few_recordings_are_cut_into_blocks_with_a_gap_and_no_event_in_two(data, seed, share, gap):
    files, groups = data.draw(few_recordings())
    sides = split_files(files, groups, TYPES, share, gap, seed)
    check(files, groups, gap, sides)
    assert sides.train


@settings(max_examples=100)
@given(data=st.data(), seed=st.integers(0, 100), share=st.sampled_from([0.1, 0.2, 0.5]))
def test_every_type_is_on_both_sides_if_whole_files_allow_it(data, seed, share):
    files, groups = data.draw(recordings(4, 7))
    sides = split_files(files, groups, TYPES, share, GAP, seed)
    check(files, groups, GAP, sides)
    whole = {(number, 0, file.duration_ms // 10) for number, file in enumerate(files)}
    assert {(r.file, r.start, r.end) for r in (*sides.train, *sides.validation)} == whole
    validated = {region.file for region in sides.validation}
    assert not any(0 < len(validated & set(group)) < len(group) for group in groups)
    carriers = {kind: [kind in kinds_in(files, group) for group in groups] for kind in TYPES}
    if both_sides_can_have_all(carriers, len(groups)):
        assert len(sides.notices) == sum(max(0, 2 - sum(carriers[kind])) for kind in TYPES)


@given(data=st.data(), seed=st.integers(0, 5))
def test_the_order_of_copies_and_of_annotations_does_not_matter(data, seed):
    files, groups = data.draw(st.one_of(few_recordings(), recordings(4, 7)))
    sides = split_files(files, groups, TYPES, 0.2, GAP, seed)
    reversed_files = [replace(file, annotations=file.annotations[::-1]) for file in files]
    again = split_files(reversed_files, [group[::-1] for group in groups[::-1]], TYPES, 0.2, GAP, seed)
    assert sides == again


def kinds_in(files, group):
    return {one.artifact_type for number in group for one in files[number].annotations}


def both_sides_can_have_all(carriers, groups):
    """Whether any split has every type of two or more groups on both sides, and trains on every type."""
    return any(
        all(
            not any(carried) or {side for side, has in zip(sides, carried, strict=True) if has} >= wanted
            for carried in carriers.values()
            for wanted in [{"train", "validation"} if sum(carried) > 1 else {"train"}]
        )
        for sides in product(["train", "validation"], repeat=groups)
    )


def check(files, groups, gap, sides):
    """What must be true of any split."""
    every = (*sides.train, *sides.validation)
    for region in every:
        file = files[region.file]
        assert 0 <= region.start < region.end <= -(-file.duration_ms // 10)
        for annotation in file.annotations:
            overlaps = annotation.end_ms > region.start * 10 and annotation.start_ms < region.end * 10
            inside = annotation.start_ms >= region.start * 10 and annotation.end_ms <= region.end * 10
            assert inside or not overlaps
    for validated in sides.validation:
        copies = next(group for group in groups if validated.file in group)
        for trained in sides.train:
            distance = max(validated.start - trained.end, trained.start - validated.end)
            smallest = gap + SHIFT_FRAMES if len(copies) > 1 else gap
            assert distance >= smallest or trained.file not in copies
    covered = Counter((r.file, frame) for r in every for frame in (r.start, r.end - 1))
    assert max(covered.values()) == 1 or any(r.end - r.start == 1 for r in every)
    for code, regions in (
        (NoticeCode.TYPE_NOT_VALIDATED, sides.validation),
        (NoticeCode.TYPE_NOT_TRAINED, sides.train),
    ):
        reported = [notice.message.split("'")[1] for notice in sides.notices if notice.code == code]
        assert reported == [kind for kind in TYPES if not kinds_of(files, regions)[kind]]


def annotated(name, sha, seconds):
    """Files with up to twelve annotations, as a strategy."""
    events = st.lists(
        st.tuples(st.sampled_from(TYPES), st.integers(0, seconds * 1000 - 2500), st.integers(30, 2500)),
        max_size=12,
    )
    return events.map(
        lambda drawn: TrainingFile(
            name,
            sha,
            f"features/{name}",
            seconds * 1000,
            tuple(Annotation(kind, start, start + length) for kind, start, length in drawn),
        )
    )


@st.composite
def recordings(draw, fewest, most):
    """Files of 5 to 60 s, and their groups. Some are copies, with annotations of their own."""
    files, groups = [], []
    for number in range(draw(st.integers(fewest, most))):
        seconds, copies = draw(st.integers(5, 60)), draw(st.sampled_from([1, 1, 1, 2]))
        groups.append([len(files) + copy for copy in range(copies)])
        files += [draw(annotated(f"{number}-{copy}", f"{number}-{copy}", seconds)) for copy in range(copies)]
    return files, groups


@st.composite
def few_recordings(draw):
    """One to three recordings of one to ten minutes, and their groups.

    They have many annotations, and some have a copy of a slightly different length.
    """
    files, groups = [], []
    for number in range(draw(st.integers(1, 3))):
        seconds = draw(st.integers(60, 600))
        onsets = draw(st.lists(st.integers(0, seconds - 6), min_size=1, max_size=60, unique=True))
        annotations = tuple(
            Annotation(
                draw(st.sampled_from(TYPES)),
                1000 * at,
                1000 * at + draw(st.sampled_from([30, 1000, 1705, 5000])),
            )
            for at in sorted(onsets)
        )
        one = TrainingFile(f"{number}", f"{number}", f"features/{number}", seconds * 1000, annotations)
        groups.append([len(files)])
        files.append(one)
        if draw(st.booleans()):
            groups[-1].append(len(files))
            shift = draw(st.integers(-150, 150))
            files.append(replace(one, audio_file_id=f"{number}-copy", duration_ms=one.duration_ms + shift))
    return files, groups


def test_a_minute_leaves_training_audio_beside_half_of_it_held_out_and_a_gap_of_ten_seconds():
    annotations = tuple(
        Annotation(kind, start, end)
        for kind, start, end in (
            ("common", 0, 30), ("common", 1000, 1030), ("common", 2000, 2030), ("rare", 3000, 3030),
            ("common", 4000, 5705), ("common", 5000, 6000), ("common", 6000, 6030), ("rare", 7000, 7030),
        )
    )  # fmt: skip
    files = [TrainingFile("a", "a", "features/a", 60_000, annotations)]
    for seed in range(30):
        sides = split(files, TYPES, 0.5, 1000, seed)
        check(files, [[0]], 1000, sides)
        assert sides.train
        assert sides.validation


def test_the_gap_is_kept_if_a_block_is_shorter_than_it():
    annotations = tuple(Annotation(TYPES[n % 2], 1000 * n, 1000 * n + 500) for n in range(120))
    files = [TrainingFile("a", "a", "features/a", 120_000, annotations)]
    for seed in range(30):
        sides = split(files, TYPES, 0.2, 1064, seed)
        check(files, [[0]], 1064, sides)
        assert sides.train
        assert sides.validation


def test_about_the_requested_share_of_blocks_is_for_validation():
    rng = np.random.default_rng(0)
    annotations = tuple(
        Annotation(TYPES[n % 2], 3000 * n + 100, 3000 * n + int(rng.integers(200, 900))) for n in range(190)
    )
    for share in (0.1, 0.2, 0.5):
        sides = split([TrainingFile("a", "s", "f", 600_000, annotations)], TYPES, share, GAP, 3)
        validated = sum(region.end - region.start for region in sides.validation) / 60_000
        assert validated == pytest.approx(share, abs=0.1)
        assert not sides.notices


def test_events_count_from_the_start_of_their_region():
    one = file("a", "common", "rare", "unchosen")
    assert draw_region([one], 0, 100, 300, TYPES).events == (RegionEvent("rare", 200, 500),)
    assert draw_region([one], 0, 0, 140, TYPES).events == (RegionEvent("common", 200, 500),)


def test_identical_annotations_count_once_with_the_highest_confidence():
    annotations = (
        Annotation("rare", 100, 200, 0.4),
        Annotation("rare", 100, 200, 0.9),
        Annotation("rare", 100, 200, 0.7),
        Annotation("common", 100, 200),
    )
    one = replace(file("a"), annotations=annotations)
    events = (RegionEvent("common", 100, 200), RegionEvent("rare", 100, 200, 0.9))
    assert draw_region([one], 0, 0, 100, TYPES).events == events


def test_unlikely_events_are_no_examples_of_a_type():
    def rare(name, confidence):
        one = file(name, "common", "rare")
        return replace(one, annotations=tuple(a._replace(confidence=confidence) for a in one.annotations))

    files = [rare(f"{n:02}", 0.3 if n else 0.5) for n in range(8)]
    sides = split(files, ("rare",), 0.25, GAP, 0)
    assert codes(sides) == [NoticeCode.TYPE_NOT_VALIDATED]
    assert {region.file for region in sides.train} >= {0}
    assert sum(len(region.spans().get("rare", ())) for region in sides.train) == 1


def validated(files, known, share=0.2, seed=1):
    """The names of the files for validation, and the notices of the split."""
    sides = split(files, ("common",), share, GAP, seed, known)
    return {files[region.file].audio_file_id for region in sides.validation}, sides.notices


def names(start, end):
    return frozenset(f"{number:02}" for number in range(start, end))


FIFTY = [file(name, "common") for name in sorted(names(0, 50))]
KNOWN = KnownFiles(trained=names(0, 40), held_out=names(40, 50))


@pytest.mark.parametrize("seed", range(3))
def test_what_a_base_model_held_out_stays_held_out_and_new_files_are_divided(seed):
    files = [*FIFTY, *(file(name, "common") for name in sorted(names(50, 60)))]
    held_out, notices = validated(files, KNOWN, seed=seed)
    assert names(40, 50) <= held_out
    assert not held_out & names(0, 40)
    assert 1 <= len(held_out & names(50, 60)) <= 3
    assert not notices


def test_half_of_the_new_files_at_most_are_for_validation():
    held_out, notices = validated(FIFTY, KnownFiles(trained=names(0, 40)))
    assert held_out < names(40, 50)
    assert 4 <= len(held_out) <= 5
    assert not notices


def test_a_notice_says_that_the_base_model_was_trained_on_the_validation_audio():
    held_out, notices = validated(FIFTY, KnownFiles(trained=names(0, 48)))
    assert 8 <= len(held_out) <= 12
    (notice,) = notices
    assert notice.code == NoticeCode.VALIDATION_SEEN
    assert f"{len(held_out & names(0, 48))} of {len(held_out)} parts" in notice.message


def test_a_copy_of_a_file_that_the_base_model_was_trained_on_is_not_new():
    copies = [file(f"copy {number}", "common", sha=f"{number:02}") for number in range(10)]
    held_out, _ = validated([*FIFTY, *copies], KNOWN)
    assert held_out == names(40, 50)


def test_a_type_that_only_known_files_have_is_still_validated():
    files = [file(name, "common", *["rare"] * (name in ("03", "07"))) for name in sorted(names(0, 50))]
    sides = split(files, TYPES, 0.2, GAP, 0, KNOWN)
    assert kinds_of(files, sides.train)["rare"] == kinds_of(files, sides.validation)["rare"] == 1
    assert codes(sides) == [NoticeCode.VALIDATION_SEEN]


def test_blocks_of_few_known_recordings_are_validated_with_a_notice():
    files = [file("00", "common", "common", seconds=120)]
    assert NoticeCode.VALIDATION_SEEN in codes(split(files, ("common",), 0.2, GAP, 0, KNOWN))
    assert NoticeCode.VALIDATION_SEEN not in codes(split(files, ("common",), 0.2, GAP, 0))
