"""Features are read many at a time, and the dataset is the same as if they were read one by one."""

import threading
from contextlib import closing

import numpy as np
import pytest

from earmark.storage.objects import ObjectStore
from earmark.trainer.data.loading import READS, load
from earmark.trainer.events import Loading, NoticeCode, TrainingStoppedError
from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.features.stored import FileFeatures, pack_features
from earmark.trainer.job import Stop, TrainingFile
from tests.trainer.jobs import never

FILES = 3 * READS
SECONDS = 30  # how long a read waits for the others before the test fails


@pytest.fixture
def files(tmp_path):
    """Files of a frame each, whose value is their place in the order of content."""
    objects = ObjectStore.open(str(tmp_path))
    for number in range(FILES):
        values = FileFeatures.of_mono(np.full((1, FEATURES), number, np.float16))
        objects.put(f"features/{number}", pack_features(values))
    return [
        TrainingFile(str(number), f"{number:064x}", f"features/{number}", 10, ()) for number in range(FILES)
    ]


def watched(folder, read):
    """An object store that calls `read` with each key before it gets the object."""

    class Watched(ObjectStore):
        def get(self, key):
            read(key)
            return super().get(key)

    return Watched(ObjectStore.open(str(folder)).backend)


def dataset(events):
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value


def test_many_files_are_read_at_a_time_and_stay_in_the_order_of_their_content(tmp_path, files):
    together = threading.Barrier(READS, timeout=SECONDS)
    objects = watched(tmp_path, lambda _: together.wait())
    loaded = dataset(load(files[::-1], objects, never))
    assert loaded.files == tuple(files)
    assert [values.tracks[0, 0, 0] for values in loaded.features] == list(range(FILES))


def test_no_more_files_are_read_ahead_than_that(tmp_path, files):
    started = []
    objects = watched(tmp_path, started.append)
    with closing(load(files, objects, never)) as events:
        for event in events:
            assert isinstance(event, Loading)
            assert len(started) <= event.files + READS


def test_a_missing_file_is_left_out_in_its_turn(tmp_path, files):
    ObjectStore.open(str(tmp_path)).delete("features/5")
    events = load(files, ObjectStore.open(str(tmp_path)), never)
    notice = next(event for event in events if not isinstance(event, Loading))
    assert (notice.code, notice.audio_file_id) == (NoticeCode.FILE_LEFT_OUT, "5")
    assert [file.audio_file_id for file in dataset(events).files] == [str(n) for n in range(FILES) if n != 5]


def test_a_job_that_stops_does_not_wait_for_reads(tmp_path, files):
    answered = threading.Event()
    with pytest.raises(TrainingStoppedError):
        dataset(load(files, watched(tmp_path, lambda _: answered.wait(SECONDS)), lambda: Stop.DROP))
    assert not answered.is_set()
    answered.set()
