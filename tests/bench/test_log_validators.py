"""The validators of the log report each kind of violation of their promises, and nothing else."""

import pytest

from bench.faults import validators
from bench.faults.observations import DeletedDataset, LogStream, LogWatcher, Observations
from bench.faults.tables import Tables
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import training_service_pb2 as pb
from tests.bench.example_jobs import START, assert_one, completed, resumed_job


class TestLogsAreWhole:
    def violations(self, *received: list[pb.TrainingEvent], cursors=None, **watcher) -> list[str]:
        """The violations of one watcher of all jobs that received these events, stream by stream."""
        log, number = LogWatcher("all jobs", **{"from_start": True} | watcher), 0
        for events in received:
            stream = LogStream(0, START - 60, 1.0)
            for event in events:
                cursor = cursors[number] if cursors else str(number)
                stream.responses.append(pb.WatchTrainingJobsResponse(event=event, cursor=cursor))
                number += 1
            stream.responses.append(pb.WatchTrainingJobsResponse(heartbeat={}, cursor="beat"))
            log.streams.append(stream)
        return list(validators.logs_are_whole(Observations(log_watchers=[log]), completed(resumed_job())))

    def test_a_watch_that_broke_and_was_resumed_passes(self):
        events = resumed_job().events
        assert self.violations(events[:5], [], events[5:]) == []

    def test_a_gap_a_duplicate_and_a_wrong_order_are_reported(self):
        events = resumed_job().events
        assert_one(self.violations(events[:5], events[6:]), "received [1, 2, 3, 4, 5, 7")
        assert_one(self.violations(events[:5], events[4:]), "received [1, 2, 3, 4, 5, 5")
        assert_one(self.violations([events[1], events[0], *events[2:]]), "received [2, 1, 3")

    def test_a_filter_lets_the_last_event_of_a_completed_job_through_and_no_other(self):
        events, statuses = resumed_job().events, (pb.TRAINING_JOB_STATUS_COMPLETED,)
        assert self.violations(events[-1:], statuses=statuses) == []
        assert_one(self.violations([], statuses=statuses), "received []")
        assert_one(self.violations(events[-2:], statuses=statuses), "received [16, 17]", "not [17]")

    def test_a_watch_from_some_moment_has_all_that_came_after_it(self):
        events = resumed_job().events
        assert self.violations(events, from_start=False) == []
        assert_one(self.violations(events[3:], from_start=False), "received [4, 5")

    def test_a_job_that_is_not_there_is_reported(self):
        event = pb.TrainingEvent(training_job_id="another", revision=1)
        assert_one(self.violations([*resumed_job().events, event]), "another")

    def test_a_cursor_that_comes_twice_is_reported(self):
        events = resumed_job().events
        assert_one(self.violations(events, cursors=["same"] * len(events)), "two events")


def file_event(
    file_id: str = "", at: float = START, dataset_id: str = "dataset", **kind
) -> audio.AudioFileEvent:
    event = audio.AudioFileEvent(audio_file_id=file_id, dataset_id=dataset_id, **kind)
    event.time.FromMicroseconds(int(at * 1e6))
    return event


FILE_EVENTS = [
    file_event("one", created={}),
    file_event("two", dataset_id="another", created={}),
    file_event("one", status_changed={"to": audio.AUDIO_PROCESSING_STATUS_NORMALIZING}),
    file_event("one", status_changed={"to": audio.AUDIO_PROCESSING_STATUS_FAILED}),
    file_event("one", deleted={}),
    file_event(dataset_deleted={}),
]


class TestFileLogsAreWhole:
    def violations(self, *received: list[audio.AudioFileEvent], cursors=None, **watcher) -> list[str]:
        log = LogWatcher("all files", "WatchAudioFiles", **{"from_start": True} | watcher)
        log.streams = [LogStream(0, START - 60, 1.0)]
        for number, event in enumerate(event for events in received for event in events):
            cursor = cursors[number] if cursors else str(number)
            log.streams[-1].responses.append(audio.WatchAudioFilesResponse(event=event, cursor=cursor))
        observed = Observations(log_watchers=[log])
        return list(validators.file_logs_are_whole(observed, Tables(file_events=FILE_EVENTS)))

    def test_a_watch_of_all_and_one_of_a_dataset_pass(self):
        assert self.violations(FILE_EVENTS) == []
        mine = [event for event in FILE_EVENTS if event.dataset_id == "dataset"]
        assert self.violations(mine, dataset_ids=("dataset",)) == []

    def test_the_error_of_a_deleted_file_may_have_been_received(self):
        failed = {"to": audio.AUDIO_PROCESSING_STATUS_FAILED, "error_message": "no audio"}
        event = file_event("one", status_changed=failed)
        assert self.violations([*FILE_EVENTS[:3], event, *FILE_EVENTS[4:]]) == []

    def test_a_gap_a_duplicate_and_a_wrong_order_are_reported(self):
        first, second, *rest = FILE_EVENTS
        assert_one(self.violations([first, *rest]), "received 5 events, not 6", "from event 1 on")
        assert_one(self.violations([first, first, second, *rest]), "received 7 events", "from event 1 on")
        assert_one(self.violations([second, first, *rest]), "from event 0 on")
        assert_one(self.violations(FILE_EVENTS[:-1]), "at the end")

    def test_an_event_of_another_dataset_is_reported(self):
        assert_one(self.violations(FILE_EVENTS, dataset_ids=("dataset",)), "from event 1 on")

    def test_a_watch_from_some_moment_has_all_that_came_after_it(self):
        assert self.violations(FILE_EVENTS, from_start=False) == []
        assert_one(self.violations(FILE_EVENTS[2:], from_start=False), "received 4 events, not 6")

    def test_a_cursor_that_comes_twice_is_reported(self):
        assert_one(self.violations(FILE_EVENTS, cursors=["same"] * 6), "two events")


class TestDeletionsAreComplete:
    def violations(self, events=FILE_EVENTS, **tables) -> list[str]:
        observed = Observations(deleted=[DeletedDataset("dataset", ("one",))])
        return list(validators.deletions_are_complete(observed, Tables(file_events=events, **tables)))

    def test_a_dataset_that_left_events_only_passes(self):
        assert self.violations(ids=frozenset({"another", "two"}), objects=["default/audio/two/source"]) == []

    @pytest.mark.parametrize("left", ["dataset", "one"])
    def test_a_row_that_is_left_is_reported(self, left):
        assert_one(self.violations(ids=frozenset({left})), "rows name", left)

    def test_an_object_that_is_left_is_reported(self):
        assert_one(self.violations(objects=["default/audio/one/features"]), "default/audio/one/features")

    @pytest.mark.parametrize("index", [4, 5])
    def test_a_deletion_that_is_not_in_the_log_once_is_reported(self, index):
        for count in (0, 2):
            events = [*FILE_EVENTS[:index], *[FILE_EVENTS[index]] * count, *FILE_EVENTS[index + 1 :]]
            assert_one(self.violations(events), f"{count} events")
