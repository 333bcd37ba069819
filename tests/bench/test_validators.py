"""Each validator finds each kind of violation of its promise, and nothing where there is none."""

from dataclasses import replace

import pytest
from earmark.v1 import annotation_service_pb2 as annotations
from earmark.v1 import training_service_pb2 as pb

from bench.faults import validators
from bench.faults.history import (
    Call,
    Failure,
    Fault,
    History,
    LogStream,
    LogWatcher,
    Stream,
    Upload,
    Watcher,
)
from bench.faults.tables import File, Tables
from tests.bench.histories import JOB_ID, REQUEST_ID, START, accepted, call, completed, only, twice


def create(request_id: str = REQUEST_ID, job_id: str = JOB_ID, **of) -> Call:
    request = pb.CreateTrainingJobRequest(request_id=request_id)
    return call("CreateTrainingJob", request, pb.CreateTrainingJobResponse(training_job={"id": job_id}), **of)


def kept(job_id: str = JOB_ID) -> dict[str, bytes]:
    return {REQUEST_ID: pb.CreateTrainingJobResponse(training_job={"id": job_id}).SerializeToString()}


class TestCreatesAreKept:
    def found(self, *calls: Call, jobs, replies=None) -> list[str]:
        tables = Tables(jobs, replies=kept() if replies is None else replies)
        return list(validators.creates_are_kept(History(calls=list(calls)), tables))

    def test_a_create_that_was_repeated_has_one_job(self):
        lost = call("CreateTrainingJob", create().request, failure=Failure("UNAVAILABLE"))
        assert self.found(lost, create(), create(), jobs=[accepted().job("training")]) == []

    def test_a_lost_job_is_found(self):
        only(self.found(create(), jobs=[]), JOB_ID, "is not there")

    def test_a_doubled_job_is_found(self):
        job = accepted().job("training")
        only(self.found(create(), jobs=[job, replace(job, id="other")]), "made 2 jobs")

    def test_a_second_reply_that_names_another_job_is_found(self):
        found = self.found(create(), create(job_id="other"), jobs=[accepted().job("training")])
        assert len(found) == 2
        assert all("other" in violation for violation in found)

    def test_a_job_that_nobody_asked_for_is_found(self):
        only(self.found(jobs=[accepted().job("training")]), "nobody asked")

    def test_a_reply_that_is_not_kept_is_found(self):
        only(self.found(create(), jobs=[accepted().job("training")], replies={}), "kept is ''")


class TestWatchesAreWhole:
    def found(self, *streams: list[pb.TrainingEvent], after: int = 0) -> list[str]:
        written = twice()
        watcher = Watcher("watcher", JOB_ID, after)
        watcher.streams = [Stream(number, 0, 0.0, 1.0, events) for number, events in enumerate(streams)]
        return list(validators.watches_are_whole(History(watchers=[watcher]), completed(written)))

    def test_a_watch_that_broke_and_was_resumed_is_well(self):
        events = twice().events
        assert self.found(events[:5], [], events[5:]) == []

    def test_a_watch_from_the_middle_is_well(self):
        assert self.found(twice().events[4:], after=4) == []

    def test_a_gap_is_found(self):
        events = twice().events
        only(self.found(events[:5], events[6:]), "revision 7 after 5")

    def test_a_duplicate_is_found(self):
        events = twice().events
        only(self.found(events[:5], events[4:]), "revision 5 after 5")

    def test_events_out_of_order_are_found(self):
        events = twice().events
        events[3], events[4] = events[4], events[3]
        assert "revision 5 after 3" in self.found(events)[0]

    def test_an_event_unlike_the_one_recorded_is_found(self):
        events = twice().events
        events[4] = pb.TrainingEvent.FromString(events[4].SerializeToString())
        events[4].progress.step += 1
        only(self.found(events), "revision 5 unlike")

    def test_an_event_that_is_not_recorded_is_found(self):
        only(self.found(twice().status("COMPLETED").events), "revision 18 unlike")

    def test_a_watch_without_the_end_is_found(self):
        only(self.found(twice().events[:-1]), "not the job's end")

    def test_a_watch_that_saw_nothing_is_found(self):
        only(self.found(), "not the job's end")


class TestLogsAreWhole:
    def found(self, *seen: list[pb.TrainingEvent], cursors=None, **watcher) -> list[str]:
        """What one watcher of all jobs saw, stream by stream."""
        log, number = LogWatcher("all jobs", **watcher), 0
        for events in seen:
            stream = LogStream(0, START - 60, 1.0)
            for event in events:
                cursor = cursors[number] if cursors else str(number)
                stream.responses.append(pb.WatchTrainingJobsResponse(event=event, cursor=cursor))
                number += 1
            stream.responses.append(pb.WatchTrainingJobsResponse(heartbeat={}, cursor="beat"))
            log.streams.append(stream)
        return list(validators.logs_are_whole(History(log_watchers=[log]), completed(twice())))

    def test_a_watch_that_broke_and_was_resumed_is_well(self):
        events = twice().events
        assert self.found(events[:5], [], events[5:]) == []

    def test_a_gap_a_duplicate_and_a_wrong_order_are_found(self):
        events = twice().events
        only(self.found(events[:5], events[6:]), "came [1, 2, 3, 4, 5, 7")
        only(self.found(events[:5], events[4:]), "came [1, 2, 3, 4, 5, 5")
        only(self.found([events[1], events[0], *events[2:]]), "came [2, 1, 3")

    def test_a_filter_lets_the_last_event_of_a_completed_job_through_and_no_other(self):
        events, statuses = twice().events, (pb.TRAINING_JOB_STATUS_COMPLETED,)
        assert self.found(events[-1:], statuses=statuses) == []
        only(self.found([], statuses=statuses), "came []")
        only(self.found(events[-2:], statuses=statuses), "came [16, 17], not [17]")

    def test_a_watch_from_some_moment_has_all_that_came_after_it(self):
        events = twice().events
        assert self.found(events, from_now=True) == []
        only(self.found(events[3:], from_now=True), "came [4, 5")

    def test_a_job_that_is_not_there_is_found(self):
        event = pb.TrainingEvent(training_job_id="another", revision=1)
        only(self.found([*twice().events, event]), "another")

    def test_a_cursor_that_comes_twice_is_found(self):
        events = twice().events
        only(self.found(events, cursors=["same"] * len(events)), "two events")


AWAY = Failure("UNAVAILABLE", reason="DATABASE_UNAVAILABLE", retry=True)


class TestErrorsArePassing:
    def found(self, failure: Failure, *faults: Fault, expected=()) -> list[str]:
        failed = call("GetTrainingJob", pb.GetTrainingJobRequest(), failure=failure, at=10, expected=expected)
        history = History(calls=[failed], faults=list(faults))
        return list(validators.errors_are_passing(history, Tables()))

    @pytest.mark.parametrize(
        "failure", [AWAY, *map(Failure, ("UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED"))]
    )
    @pytest.mark.parametrize("ended", [None, 6.0, 10.5, 99.0])
    def test_what_passes_while_something_is_away_is_well(self, failure, ended):
        assert self.found(failure, Fault("kill", "postgres", 5.0, ended)) == []

    @pytest.mark.parametrize("failure", [AWAY, Failure("UNAVAILABLE"), Failure("DEADLINE_EXCEEDED")])
    @pytest.mark.parametrize("faults", [[], [Fault("cut", "link", 1.0, 2.0)], [Fault("cut", "link", 20.0)]])
    def test_an_error_while_all_is_well_is_found(self, failure, faults):
        only(self.found(failure, *faults), "while all was well")

    @pytest.mark.parametrize(
        "failure",
        [
            replace(AWAY, retry=False),
            Failure("INTERNAL", reason="INTERNAL"),
            Failure("UNKNOWN"),
            Failure("INTERNAL"),
            Failure("NOT_FOUND", reason="NOT_FOUND"),
            Failure("DEADLINE_EXCEEDED", reason="DATABASE_UNAVAILABLE", retry=True),
        ],
    )
    def test_an_error_of_another_kind_is_found_whatever_is_away(self, failure):
        only(self.found(failure, Fault("kill", "postgres", 5.0)), failure.code)

    def test_a_refusal_that_was_expected_is_well(self):
        assert self.found(Failure("NOT_FOUND", reason="NOT_FOUND"), expected=["NOT_FOUND"]) == []

    def test_an_error_of_a_stream_counts_by_when_it_ended(self):
        stream = Stream(0, 0, 0.0, 50.0, failure=Failure("UNAVAILABLE"))
        history = History(watchers=[Watcher("watcher", JOB_ID, 0, [stream])])
        history.faults = [Fault("cut", "link", 1.0, 2.0)]
        only(validators.errors_are_passing(history, Tables()), "while all was well")
        history.faults = [Fault("cut", "link", 49.0, 49.0)]
        assert list(validators.errors_are_passing(history, Tables())) == []


class TestPublishedSetsStay:
    MARKS = ({"audio_file_id": "file", "artifact_type": "burst", "start_ms": 1, "end_ms": 2},)

    def batch(self, request_id: str = "batch", at: float = 1) -> Call:
        request = annotations.BatchCreateAnnotationsRequest(
            annotation_set_id="set", annotations=self.MARKS, request_id=request_id
        )
        reply = annotations.BatchCreateAnnotationsResponse(annotation_ids=["mark"])
        return call("BatchCreateAnnotations", request, reply, at=at)

    def published(self, at: float = 5) -> Call:
        request = annotations.PublishAnnotationSetRequest(annotation_set_id="set")
        return call("PublishAnnotationSet", request, annotations.PublishAnnotationSetResponse(), at=at)

    def found(self, *calls: Call, marks: int = 1) -> list[str]:
        tables = Tables(annotations={"set": [("file", "burst", 1, 2)] * marks})
        return list(validators.published_sets_stay(History(calls=list(calls)), tables))

    def test_a_set_as_it_was_published_is_well(self):
        assert self.found(self.batch(), self.batch(), self.published()) == []

    def test_a_draft_may_change(self):
        assert self.found(self.batch(), marks=3) == []

    @pytest.mark.parametrize("marks", [0, 2])
    def test_other_annotations_than_were_published_are_found(self, marks):
        only(self.found(self.batch(), self.published(), marks=marks), "with 1 annotations", f"other {marks}")

    @pytest.mark.parametrize(
        ("method", "request_"),
        [
            ("UpdateAnnotation", annotations.UpdateAnnotationRequest(annotation_id="mark")),
            ("DeleteAnnotation", annotations.DeleteAnnotationRequest(annotation_id="mark")),
            ("DeleteAnnotationSet", annotations.DeleteAnnotationSetRequest(annotation_set_id="set")),
        ],
    )
    def test_a_change_that_was_taken_is_found(self, method, request_):
        changed = call(method, request_, object(), at=20)
        only(self.found(self.batch(), self.published(), changed), method)
        refused = call(method, request_, failure=Failure("FAILED_PRECONDITION", reason="WRONG_STATE"), at=20)
        assert self.found(self.batch(), self.published(), refused) == []

    def test_annotations_added_later_are_found(self):
        found = self.found(self.batch(), self.published(), self.batch("later", at=20))
        only(found, "BatchCreateAnnotations")


class TestAudioFailsAlone:
    def found(self, *files: File, deaths=()) -> list[str]:
        history = History(uploads=[Upload("good.wav", good=True), Upload("bad.wav", good=False)])
        history.deaths = list(deaths)
        return list(validators.audio_fails_alone(history, Tables(files=list(files))))

    GOOD, BAD = File("good.wav", "ready", ""), File("bad.wav", "failed", "no audio")

    def test_good_audio_is_ready_and_bad_audio_failed_with_a_reason(self):
        assert self.found(self.GOOD, self.BAD) == []

    @pytest.mark.parametrize("status", ["failed", "embedding"])
    def test_good_audio_that_is_not_ready_is_found(self, status):
        only(self.found(replace(self.GOOD, status=status), self.BAD), "good.wav", status)

    @pytest.mark.parametrize("change", [{"status": "ready"}, {"status": "pending"}, {"error_message": ""}])
    def test_bad_audio_that_is_not_failed_with_a_reason_is_found(self, change):
        only(self.found(self.GOOD, replace(self.BAD, **change)), "bad.wav")

    def test_a_lost_upload_is_found(self):
        only(self.found(self.GOOD), "bad.wav", "0 files")

    def test_a_doubled_upload_is_found(self):
        only(self.found(self.GOOD, self.GOOD, self.BAD), "good.wav", "2 files")

    def test_a_process_that_ended_by_itself_is_found(self):
        only(self.found(self.GOOD, self.BAD, deaths=["trainer-0 ended by itself"]), "trainer-0")


class TestTenantsAreApart:
    ASKED = pb.GetTrainingJobRequest(training_job_id="secret id")

    def found(self, *calls: Call, watchers=()) -> list[str]:
        history = History(calls=list(calls), watchers=list(watchers))
        return list(validators.tenants_are_apart(history, ["secret id", "secret name"]))

    def test_who_asks_for_an_id_may_be_told_that_there_is_none(self):
        failure = Failure("NOT_FOUND", "there is no secret id", "NOT_FOUND")
        assert self.found(call("GetTrainingJob", self.ASKED, failure=failure)) == []

    def test_a_reply_to_who_asks_is_found(self):
        only(self.found(call("CancelTrainingJob", self.ASKED, pb.CancelTrainingJobResponse())), "secret id")

    def test_a_secret_in_a_list_is_found(self):
        reply = pb.ListTrainingJobsResponse(training_jobs=[{"metadata": {"name": "a secret name"}}])
        only(self.found(call("ListTrainingJobs", pb.ListTrainingJobsRequest(), reply)), "secret name")

    def test_a_secret_in_an_error_is_found(self):
        failure = Failure("NOT_FOUND", "secret id is called secret name", "NOT_FOUND")
        only(self.found(call("GetTrainingJob", self.ASKED, failure=failure)), "secret name")

    def test_a_secret_in_a_watch_is_found(self):
        stream = Stream(0, 0, 0.0, 1.0, [pb.TrainingEvent(notice={"message": "secret name"})])
        only(self.found(watchers=[Watcher("watcher", JOB_ID, 0, [stream])]), "secret name")


def test_what_is_never_done_is_found() -> None:
    history = History(unfinished=["jobs: not done"])
    assert validators.violations(history, Tables(), [])["everything comes to its end"] == ["jobs: not done"]


def test_errors_are_counted_by_code_and_reason_without_those_that_must_be() -> None:
    request = pb.GetTrainingJobRequest()
    missing = Failure("NOT_FOUND", reason="NOT_FOUND")
    calls = [
        call("GetTrainingJob", request, failure=AWAY),
        call("GetTrainingJob", request, failure=missing, expected=["NOT_FOUND"]),
    ]
    streams = [Stream(0, 0, 0.0, failure=Failure("UNAVAILABLE"))]
    history = History(calls=calls, watchers=[Watcher("watcher", JOB_ID, 0, streams)])
    assert validators.refusals_by_reason(history) == {"NOT_FOUND": 1}
    assert validators.errors_by_code(history) == {"UNAVAILABLE DATABASE_UNAVAILABLE": 1, "UNAVAILABLE": 1}
