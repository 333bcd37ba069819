"""Each validator reports each kind of violation of its promise, and nothing else."""

from dataclasses import replace

import pytest

from bench.faults import validators
from bench.faults.observations import (
    Call,
    Failure,
    Fault,
    Observations,
    Stream,
    Upload,
    Watcher,
)
from bench.faults.tables import AnnotationRow, File, Tables
from earmark.v1 import annotation_service_pb2 as annotations
from earmark.v1 import training_service_pb2 as pb
from tests.bench.example_jobs import (
    JOB_ID,
    REQUEST_ID,
    accepted_job,
    assert_one,
    call,
    completed,
    resumed_job,
)


def create(request_id: str = REQUEST_ID, job_id: str = JOB_ID, **of) -> Call:
    request = pb.CreateTrainingJobRequest(request_id=request_id)
    return call("CreateTrainingJob", request, pb.CreateTrainingJobResponse(training_job={"id": job_id}), **of)


def stored_replies(job_id: str = JOB_ID) -> dict[str, bytes]:
    return {REQUEST_ID: pb.CreateTrainingJobResponse(training_job={"id": job_id}).SerializeToString()}


class TestCreatesAreKept:
    def violations(self, *calls: Call, jobs, replies=None) -> list[str]:
        tables = Tables(jobs, replies=stored_replies() if replies is None else replies)
        return list(validators.creates_are_kept(Observations(calls=list(calls)), tables))

    def test_a_create_that_was_repeated_has_one_job(self):
        lost = call("CreateTrainingJob", create().request, failure=Failure("UNAVAILABLE"))
        assert self.violations(lost, create(), create(), jobs=[accepted_job().row("training")]) == []

    def test_a_lost_job_is_reported(self):
        assert_one(self.violations(create(), jobs=[]), JOB_ID, "does not exist")

    def test_a_doubled_job_is_reported(self):
        job = accepted_job().row("training")
        assert_one(self.violations(create(), jobs=[job, replace(job, id="other")]), "made 2 jobs")

    def test_a_second_reply_that_names_another_job_is_reported(self):
        violations = self.violations(create(), create(job_id="other"), jobs=[accepted_job().row("training")])
        assert len(violations) == 2
        assert all("other" in violation for violation in violations)

    def test_a_job_that_nobody_asked_for_is_reported(self):
        assert_one(self.violations(jobs=[accepted_job().row("training")]), "nobody asked")

    def test_a_reply_that_is_not_kept_is_reported(self):
        assert_one(
            self.violations(create(), jobs=[accepted_job().row("training")], replies={}),
            "stored reply has ''",
        )


class TestWatchesAreWhole:
    def violations(self, *streams: list[pb.TrainingEvent], after: int = 0) -> list[str]:
        job = resumed_job()
        watcher = Watcher("watcher", JOB_ID, after)
        watcher.streams = [Stream(number, 0, 0.0, 1.0, events) for number, events in enumerate(streams)]
        return list(validators.watches_are_whole(Observations(watchers=[watcher]), completed(job)))

    def test_a_watch_that_broke_and_was_resumed_passes(self):
        events = resumed_job().events
        assert self.violations(events[:5], [], events[5:]) == []

    def test_a_watch_from_the_middle_passes(self):
        assert self.violations(resumed_job().events[4:], after=4) == []

    def test_a_gap_is_reported(self):
        events = resumed_job().events
        assert_one(self.violations(events[:5], events[6:]), "revision 7 after 5")

    def test_a_duplicate_is_reported(self):
        events = resumed_job().events
        assert_one(self.violations(events[:5], events[4:]), "revision 5 after 5")

    def test_events_out_of_order_are_reported(self):
        events = resumed_job().events
        events[3], events[4] = events[4], events[3]
        assert "revision 5 after 3" in self.violations(events)[0]

    def test_an_event_unlike_the_one_recorded_is_reported(self):
        events = resumed_job().events
        events[4] = pb.TrainingEvent.FromString(events[4].SerializeToString())
        events[4].progress.step += 1
        assert_one(self.violations(events), "revision 5 unlike")

    def test_an_event_that_is_not_recorded_is_reported(self):
        assert_one(self.violations(resumed_job().status("COMPLETED").events), "revision 18 unlike")

    def test_a_watch_without_the_end_is_reported(self):
        assert_one(self.violations(resumed_job().events[:-1]), "not the job's end")

    def test_a_watch_that_saw_nothing_is_reported(self):
        assert_one(self.violations(), "not the job's end")


DATABASE_UNAVAILABLE = Failure("UNAVAILABLE", reason="DATABASE_UNAVAILABLE", retry=True)


class TestErrorsArePassing:
    def violations(self, failure: Failure, *faults: Fault, expected=()) -> list[str]:
        failed = call("GetTrainingJob", pb.GetTrainingJobRequest(), failure=failure, at=10, expected=expected)
        observed = Observations(calls=[failed], faults=list(faults))
        return list(validators.errors_are_passing(observed, Tables()))

    @pytest.mark.parametrize(
        "failure", [DATABASE_UNAVAILABLE, *map(Failure, ("UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED"))]
    )
    @pytest.mark.parametrize("ended", [None, 6.0, 10.5, 99.0])
    def test_an_unavailability_during_a_fault_passes(self, failure, ended):
        assert self.violations(failure, Fault("kill", "postgres", 5.0, ended)) == []

    @pytest.mark.parametrize(
        "failure", [DATABASE_UNAVAILABLE, Failure("UNAVAILABLE"), Failure("DEADLINE_EXCEEDED")]
    )
    @pytest.mark.parametrize("faults", [[], [Fault("cut", "link", 1.0, 2.0)], [Fault("cut", "link", 20.0)]])
    def test_an_error_without_a_fault_is_reported(self, failure, faults):
        assert_one(self.violations(failure, *faults), "failed without a fault")

    @pytest.mark.parametrize(
        "failure",
        [
            replace(DATABASE_UNAVAILABLE, retry=False),
            Failure("INTERNAL", reason="INTERNAL"),
            Failure("UNKNOWN"),
            Failure("INTERNAL"),
            Failure("NOT_FOUND", reason="NOT_FOUND"),
            Failure("DEADLINE_EXCEEDED", reason="DATABASE_UNAVAILABLE", retry=True),
        ],
    )
    def test_an_error_of_another_kind_is_reported_even_during_a_fault(self, failure):
        assert_one(self.violations(failure, Fault("kill", "postgres", 5.0)), failure.code)

    def test_a_refusal_that_was_expected_passes(self):
        assert self.violations(Failure("NOT_FOUND", reason="NOT_FOUND"), expected=["NOT_FOUND"]) == []

    def test_an_error_of_a_stream_counts_by_when_it_ended(self):
        stream = Stream(0, 0, 0.0, 50.0, failure=Failure("UNAVAILABLE"))
        observed = Observations(watchers=[Watcher("watcher", JOB_ID, 0, [stream])])
        observed.faults = [Fault("cut", "link", 1.0, 2.0)]
        assert_one(validators.errors_are_passing(observed, Tables()), "failed without a fault")
        observed.faults = [Fault("cut", "link", 49.0, 49.0)]
        assert list(validators.errors_are_passing(observed, Tables())) == []


class TestPublishedSetsStay:
    ANNOTATIONS = ({"audio_file_id": "file", "artifact_type": "burst", "start_ms": 1, "end_ms": 2},)
    ROW = ("file", "burst", 1, 2, -1)

    def batch(self, request_id: str = "batch", at: float = 1) -> Call:
        request = annotations.BatchCreateAnnotationsRequest(
            annotation_set_id="set", annotations=self.ANNOTATIONS, request_id=request_id
        )
        reply = annotations.BatchCreateAnnotationsResponse(annotation_ids=["annotation"])
        return call("BatchCreateAnnotations", request, reply, at=at)

    def published(self, at: float = 5) -> Call:
        request = annotations.PublishAnnotationSetRequest(annotation_set_id="set")
        return call("PublishAnnotationSet", request, annotations.PublishAnnotationSetResponse(), at=at)

    def violations(self, *calls: Call, count: int = 1, row: AnnotationRow = ROW) -> list[str]:
        tables = Tables(annotations={"set": [row] * count})
        return list(validators.published_sets_stay(Observations(calls=list(calls)), tables))

    def test_a_set_as_it_was_published_passes(self):
        assert self.violations(self.batch(), self.batch(), self.published()) == []

    def test_a_draft_may_change(self):
        assert self.violations(self.batch(), count=3) == []

    def test_another_channel_than_was_published_is_reported(self):
        row = (*self.ROW[:-1], 0)
        assert_one(self.violations(self.batch(), self.published(), row=row), "has 1 others")

    @pytest.mark.parametrize("count", [0, 2])
    def test_other_annotations_than_were_published_are_reported(self, count):
        assert_one(
            self.violations(self.batch(), self.published(), count=count),
            "with 1 annotations",
            f"has {count} others",
        )

    @pytest.mark.parametrize(
        ("method", "request_"),
        [
            ("UpdateAnnotation", annotations.UpdateAnnotationRequest(annotation={"id": "annotation"})),
            ("DeleteAnnotation", annotations.DeleteAnnotationRequest(annotation_id="annotation")),
            ("DeleteAnnotationSet", annotations.DeleteAnnotationSetRequest(annotation_set_id="set")),
        ],
    )
    def test_a_change_that_was_taken_is_reported(self, method, request_):
        changed = call(method, request_, object(), at=20)
        assert_one(self.violations(self.batch(), self.published(), changed), method)
        refused = call(method, request_, failure=Failure("FAILED_PRECONDITION", reason="WRONG_STATE"), at=20)
        assert self.violations(self.batch(), self.published(), refused) == []

    def test_annotations_added_later_are_reported(self):
        violations = self.violations(self.batch(), self.published(), self.batch("later", at=20))
        assert_one(violations, "BatchCreateAnnotations")


class TestAudioFailsAlone:
    def violations(self, *files: File, unexpected_exits=()) -> list[str]:
        observed = Observations(uploads=[Upload("good.wav", good=True), Upload("bad.wav", good=False)])
        observed.unexpected_exits = list(unexpected_exits)
        return list(validators.audio_fails_alone(observed, Tables(files=list(files))))

    GOOD, BAD = File("good.wav", "ready", ""), File("bad.wav", "failed", "no audio")

    def test_good_audio_is_ready_and_bad_audio_failed_with_a_reason(self):
        assert self.violations(self.GOOD, self.BAD) == []

    @pytest.mark.parametrize("status", ["failed", "embedding"])
    def test_good_audio_that_is_not_ready_is_reported(self, status):
        assert_one(self.violations(replace(self.GOOD, status=status), self.BAD), "good.wav", status)

    @pytest.mark.parametrize("change", [{"status": "ready"}, {"status": "pending"}, {"error_message": ""}])
    def test_bad_audio_that_is_not_failed_with_a_reason_is_reported(self, change):
        assert_one(self.violations(self.GOOD, replace(self.BAD, **change)), "bad.wav")

    def test_a_lost_upload_is_reported(self):
        assert_one(self.violations(self.GOOD), "bad.wav", "0 files")

    def test_a_doubled_upload_is_reported(self):
        assert_one(self.violations(self.GOOD, self.GOOD, self.BAD), "good.wav", "2 files")

    def test_a_process_that_ended_by_itself_is_reported(self):
        assert_one(
            self.violations(self.GOOD, self.BAD, unexpected_exits=["trainer-0 ended by itself"]), "trainer-0"
        )


class TestTenantsAreApart:
    ASKED = pb.GetTrainingJobRequest(training_job_id="secret id")

    def violations(self, *calls: Call, watchers=()) -> list[str]:
        observed = Observations(calls=list(calls), watchers=list(watchers))
        return list(validators.tenants_are_apart(observed, ["secret id", "secret name"], ["our dataset"]))

    def test_an_error_may_repeat_the_id_that_was_asked_for(self):
        failure = Failure("NOT_FOUND", "there is no secret id", "NOT_FOUND")
        assert self.violations(call("GetTrainingJob", self.ASKED, failure=failure)) == []

    def test_a_successful_call_for_a_secret_id_is_reported(self):
        assert_one(
            self.violations(call("CancelTrainingJob", self.ASKED, pb.CancelTrainingJobResponse())),
            "secret id",
        )

    def test_a_secret_in_a_list_is_reported(self):
        reply = pb.ListTrainingJobsResponse(training_jobs=[{"metadata": {"name": "a secret name"}}])
        assert_one(
            self.violations(call("ListTrainingJobs", pb.ListTrainingJobsRequest(), reply)), "secret name"
        )

    def test_a_secret_in_an_error_is_reported(self):
        failure = Failure("NOT_FOUND", "secret id is called secret name", "NOT_FOUND")
        assert_one(self.violations(call("GetTrainingJob", self.ASKED, failure=failure)), "secret name")

    def test_a_secret_in_a_watch_is_reported(self):
        stream = Stream(0, 0, 0.0, 1.0, [pb.TrainingEvent(notice={"message": "secret name"})])
        assert_one(self.violations(watchers=[Watcher("watcher", JOB_ID, 0, [stream])]), "secret name")

    def test_the_stranger_sees_what_is_its_own_and_nothing_of_the_others(self):
        watcher = Watcher("watcher", JOB_ID, 0, [])
        request = pb.ListTrainingJobsRequest()
        for name, is_seen in (("secret name", True), ("our dataset", False), (JOB_ID, False)):
            reply = pb.ListTrainingJobsResponse(training_jobs=[{"metadata": {"name": name}}])
            by_stranger = replace(call("ListTrainingJobs", request, reply), client="stranger")
            found = self.violations(by_stranger, watchers=[watcher])
            assert ([] if is_seen else [True]) == [name in violation for violation in found]
        cancel = pb.CancelTrainingJobRequest(training_job_id=JOB_ID)
        cancelled = call("CancelTrainingJob", cancel, pb.CancelTrainingJobResponse())
        assert_one(
            self.violations(replace(cancelled, client="stranger"), watchers=[watcher]), "accepted", JOB_ID
        )


def test_work_that_never_ends_is_reported() -> None:
    observed = Observations(unfinished=["jobs: not done"])
    found = validators.violations(observed, Tables(), [], [])
    assert found["everything comes to its end"] == ["jobs: not done"]


def test_errors_are_counted_by_code_and_reason_without_expected_refusals() -> None:
    request = pb.GetTrainingJobRequest()
    missing = Failure("NOT_FOUND", reason="NOT_FOUND")
    calls = [
        call("GetTrainingJob", request, failure=DATABASE_UNAVAILABLE),
        call("GetTrainingJob", request, failure=missing, expected=["NOT_FOUND"]),
    ]
    streams = [Stream(0, 0, 0.0, failure=Failure("UNAVAILABLE"))]
    observed = Observations(calls=calls, watchers=[Watcher("watcher", JOB_ID, 0, streams)])
    assert validators.refusals_by_reason(observed) == {"NOT_FOUND": 1}
    assert validators.errors_by_code(observed) == {"UNAVAILABLE DATABASE_UNAVAILABLE": 1, "UNAVAILABLE": 1}
