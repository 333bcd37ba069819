"""Groups of files in the split: no group is on both sides."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.trainer.data.split import split_files
from earmark.trainer.events import NoticeCode
from earmark.trainer.job import Annotation, TrainingFile
from earmark.trainer.model import KnownFiles

TYPES = ("common", "rare")
GAP = 114


def file(number, group=None, seconds=30):
    """A file with an event of each type every five seconds."""
    annotations = tuple(
        Annotation(kind, 5000 * at + 1000 * n, 5000 * at + 1000 * n + 300)
        for at in range(seconds // 5)
        for n, kind in enumerate(TYPES)
    )
    return TrainingFile(f"{number:03}", f"{number:03}", "features", 1000 * seconds, annotations, group)


def split(files, copies=None, share=0.2, seed=0, known=None):
    recordings = copies or [[number] for number in range(len(files))]
    return split_files(files, recordings, TYPES, share, GAP, seed, known)


def numbers(regions):
    return {region.file for region in regions}


def seconds_of(regions):
    return sum(region.frames for region in regions) / 100


@st.composite
def grouped_files(draw):
    """Files of 5 to 60 s, some in groups, and the files that are copies of one recording."""
    names = st.sampled_from([None, None, "Ana", "Bo", "Cy", "Di", "Em"])
    drawn = draw(st.lists(st.tuples(names, st.integers(1, 12), st.integers(0, 9)), min_size=2, max_size=16))
    files = [file(number, group, 5 * length) for number, (group, length, _) in enumerate(drawn)]
    copies = {}
    for number, (*_, recording) in enumerate(drawn):
        copies.setdefault(recording, []).append(number)
    return files, list(copies.values())


def connected(files, copies):
    """The files that must be together, found by the definition: by growing each set until it stays."""
    links = [set(recording) for recording in copies]
    links += [
        {n for n, one in enumerate(files) if one.group == name} for name in {f.group for f in files} - {None}
    ]
    grown = []
    for start in range(len(files)):
        together, before = {start}, set()
        while together != before:
            before = set(together)
            together.update(*(link for link in links if link & together))
        grown.append(frozenset(together))
    return set(grown)


@settings(max_examples=150)
@given(drawn=grouped_files(), share=st.sampled_from([0.1, 0.2, 0.5]), seed=st.integers(0, 50))
def test_no_group_is_on_both_sides_also_if_copies_connect_groups(drawn, share, seed):
    files, copies = drawn
    sides = split(files, copies, share, seed)
    trained, validated = numbers(sides.train), numbers(sides.validation)
    together = connected(files, copies)
    named = {unit for unit in together if any(files[number].group for number in unit)}
    codes = [notice.code for notice in sides.notices]
    if len(together) == 1 and named:
        assert NoticeCode.ONE_GROUP in codes
        return
    assert NoticeCode.ONE_GROUP not in codes
    assert sides.train
    whole = together if len(together) >= 4 else named
    assert not [unit for unit in whole if unit & trained and unit & validated]
    # Nothing of what is whole is lost to a gap.
    assert {number for unit in whole for number in unit} <= trained | validated


@settings(max_examples=50)
@given(drawn=grouped_files(), seed=st.integers(0, 5))
def test_the_names_of_groups_and_the_order_of_copies_do_not_matter(drawn, seed):
    files, copies = drawn
    other = [replace(one, group=one.group and f"not {one.group}") for one in files]
    assert split(files, copies, seed=seed) == split(other, [c[::-1] for c in copies[::-1]], seed=seed)


@pytest.mark.parametrize("seed", range(5))
def test_about_the_requested_share_is_for_validation_and_every_type_is_on_both_sides(seed):
    files = [file(number, f"speaker {number // 3}") for number in range(60)]
    sides = split(files, share=0.2, seed=seed)
    assert 0.1 <= seconds_of(sides.validation) / 1800 <= 0.3
    assert not sides.notices
    assert len({files[number].group for number in numbers(sides.validation)}) == len(sides.validation) / 3


def test_a_copy_in_another_group_joins_the_two():
    """File 0 is in Ana's group and a copy of file 1; file 1 is in Bo's, with file 2."""
    groups = ["Ana", "Bo", "Bo", "Ana", *(f"{number}" for number in range(8))]
    files = [file(number, group) for number, group in enumerate(groups)]
    copies = [[0, 1], *([number] for number in range(2, len(files)))]
    on_validation = 0
    for seed in range(20):
        validated = numbers(split(files, copies, seed=seed, share=0.5).validation) & {0, 1, 2, 3}
        assert validated in (set(), {0, 1, 2, 3})
        on_validation += bool(validated)
    assert 0 < on_validation < 20


def test_two_groups_are_a_side_each():
    files = [file(number, "Ana" if number < 4 else "Bo") for number in range(6)]
    sides = split(files)
    assert {frozenset(numbers(sides.train)), frozenset(numbers(sides.validation))} == {
        frozenset(range(4)),
        frozenset({4, 5}),
    }
    assert not sides.notices


def test_of_a_group_and_one_other_recording_only_the_recording_is_cut():
    files = [*(file(number, "Ana") for number in range(4)), file(4, seconds=300)]
    for seed in range(10):
        sides = split(files, seed=seed)
        assert not {0, 1, 2, 3} & numbers(sides.train) & numbers(sides.validation)
        assert numbers(sides.train) | numbers(sides.validation) == set(range(5))


@pytest.mark.parametrize(
    "files", [[file(number, "Ana") for number in range(8)], [file(0, "Ana", 300)]], ids=len
)
def test_if_one_group_has_everything_the_audio_is_divided_as_without_groups_and_a_notice_says_so(files):
    sides, without = split(files), split([replace(one, group=None) for one in files])
    assert (sides.train, sides.validation) == (without.train, without.validation)
    assert sides.validation
    assert [notice.code for notice in sides.notices] == [NoticeCode.ONE_GROUP]
    assert not without.notices


def test_a_group_keeps_the_side_that_its_files_had_for_the_base_model():
    files = [file(number, f"speaker {number // 2}") for number in range(40)]
    known = KnownFiles(
        trained=frozenset(one.sha256 for one in files[:20:2]), held_out=frozenset({"021", "023"})
    )
    for seed in range(3):
        validated = numbers(split(files, seed=seed, known=known).validation)
        assert not validated & set(range(20))
        assert {20, 21, 22, 23} <= validated


def test_the_split_says_by_what_it_is():
    by_group = split([file(number, f"{number // 2}") for number in range(10)]).description
    assert by_group == (
        "the split is by group: 1 of 5 parts, 20 % of the audio, are for validation, and no group is on both "
        "sides"
    )
    by_file = split([file(number) for number in range(10)]).description
    assert by_file == (
        "the split is by file: 2 of 10 recordings, 20 % of the audio, are for validation; one speaker may be "
        "on both sides"
    )
    by_block = split([file(0, seconds=300)]).description
    assert by_block.startswith("the split is by block: ")


def test_many_files_in_long_chains_of_groups_are_joined():
    """Each recording has two copies, each in a group with one of the next recording: all are together."""
    files = [file(number, f"{(number + 1) // 2}", seconds=1) for number in range(20_000)]
    files += [file(20_000 + number, f"other {number}") for number in range(6)]
    copies = [[number, number + 1] for number in range(0, 20_000, 2)]
    sides = split(files, [*copies, *([20_000 + number] for number in range(6))])
    chain = [number for number in numbers(sides.train) if number < 20_000]
    assert len(chain) in (0, 20_000)
