import numpy as np
import pytest

from earmark.trainer.data.loading import Dataset
from earmark.trainer.data.notices import FEW_EVENTS, annotation_notices
from earmark.trainer.events import NoticeCode
from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.features.stored import FileFeatures
from earmark.trainer.job import Annotation, TrainingFile
from earmark.trainer.regions import draw_region

SECONDS = 60


def dataset(*files):
    """One file of a minute for each list of annotations (type, onset, offset in ms)."""
    return Dataset(
        tuple(
            TrainingFile(
                f"file-{number}", "", "", SECONDS * 1000, tuple(Annotation(*event) for event in events)
            )
            for number, events in enumerate(files)
        ),
        tuple(FileFeatures.of_mono(np.zeros((SECONDS * 100, FEATURES), np.float16)) for _ in files),
    )


def notices(*files, types=("x",), copies=None):
    """The notices if all of the files are trained on."""
    data = dataset(*files)
    train = [draw_region(data.files, number, 0, SECONDS * 100, types) for number in range(len(files))]
    return annotation_notices(data, copies or [[number] for number in range(len(files))], train, types)


def spaced(count, first_ms=0, name="x", confidence=1.0):
    """Events of 100 ms, 500 ms apart."""
    return [
        (name, first_ms + 500 * number, first_ms + 500 * number + 100, confidence) for number in range(count)
    ]


def test_good_annotations_give_no_notice():
    assert notices(spaced(20), spaced(20)) == []
    touching = [("x", 500 * number, 500 * number + 500) for number in range(40)]
    assert notices(touching, touching) == []


def test_overlapping_annotations_are_counted_with_the_place_of_the_first():
    overlapping = [*spaced(20), ("x", 1050, 1200), ("x", 3000, 3050), ("x", 3000, 3050)]
    (notice,) = notices(spaced(20), overlapping)
    assert (notice.code, notice.artifact_type) == (NoticeCode.EVENTS_OVERLAP, "x")
    assert notice.audio_file_id == "file-1"
    assert "2 of 42 annotations of 'x'" in notice.message
    assert "at 1.050 s of audio file file-1" in notice.message


@pytest.mark.parametrize(("count", "few"), [(FEW_EVENTS, False), (FEW_EVENTS - 1, True), (0, False)])
def test_a_type_with_few_training_examples_is_named_with_their_number(count, few):
    """A type without any has a notice of its own, and unlikely events are no examples."""
    events = [*spaced(count), *spaced(30, 20_000, confidence=0.3)]
    found = [n for n in notices(events, [], copies=[[0, 1]]) if n.code == NoticeCode.FEW_EVENTS]
    assert [n.artifact_type for n in found] == ["x"] * few
    assert all(f"only {count} examples of 'x'" in n.message for n in found)


def test_a_type_that_only_one_of_several_recordings_has_is_named_with_its_file():
    (notice,) = notices(spaced(0), spaced(30), spaced(0))
    assert notice.code == NoticeCode.TYPE_IN_ONE_RECORDING
    assert (notice.artifact_type, notice.audio_file_id) == ("x", "file-1")
    assert "one of 3 recordings" in notice.message
    assert notices(spaced(30)) == []


def test_a_type_that_covers_nearly_all_audio_is_named_with_its_share():
    nearly_all = [("x", 1000 * second, 1000 * second + 900) for second in range(60)]
    (notice,) = notices(nearly_all, nearly_all)
    assert notice.code == NoticeCode.TYPE_COVERS_AUDIO
    assert "90%" in notice.message


def test_audio_that_overlapping_annotations_cover_counts_once():
    half = [("x", 2000 * second, 2000 * second + 1000) for second in range(30)]
    twice = [("x", start, end - 10) for _, start, end in half]
    codes = {notice.code for notice in notices([*half, *twice], half)}
    assert codes == {NoticeCode.EVENTS_OVERLAP}


def test_copies_of_a_recording_with_other_annotations_are_named():
    shifted = spaced(30, 150)
    assert notices(spaced(30), shifted, spaced(30), copies=[[0, 1], [2]]) == []
    (notice,) = notices(spaced(30), spaced(29), spaced(30), copies=[[0, 1], [2]])
    assert notice.code == NoticeCode.COPIES_DIFFER
    assert "file-0 and file-1 have the same recording" in notice.message
    assert "(30 and 29)" in notice.message
    (notice,) = notices(spaced(30), spaced(30, 20_000), spaced(30), copies=[[0, 1], [2]])
    assert notice.code == NoticeCode.COPIES_DIFFER


def test_each_notice_is_about_one_type():
    files = [[*spaced(30, name="a"), *spaced(3, name="b")], spaced(30, name="a")]
    found = {(n.code, n.artifact_type) for n in notices(*files, types=("a", "b"))}
    assert found == {(NoticeCode.FEW_EVENTS, "b"), (NoticeCode.TYPE_IN_ONE_RECORDING, "b")}
