"""The validators of jobs report each kind of violation of their promises, and nothing else."""

from dataclasses import replace

import pytest

from bench.faults.job_validators import (
    jobs_leave_only_models,
    little_work_lost,
    longest_gap,
    no_job_fails,
    one_end_and_no_stale_writes,
)
from bench.faults.observations import Call, Fault, Observations
from bench.faults.tables import Tables
from earmark.v1 import training_service_pb2 as pb
from tests.bench.example_jobs import (
    JOB_ID,
    START,
    ExampleJob,
    accepted_job,
    assert_one,
    call,
    completed,
    ended,
    resumed_job,
)


class TestOneEndAndNoStaleWrites:
    def violations(self, tables: Tables, *calls: Call) -> list[str]:
        return list(one_end_and_no_stale_writes(Observations(calls=list(calls)), tables))

    def test_a_job_that_was_lost_and_completed_passes(self):
        assert self.violations(completed(resumed_job())) == []

    def test_a_job_that_was_cancelled_while_it_waited_passes(self):
        request = pb.CancelTrainingJobRequest(training_job_id=JOB_ID)
        job = ExampleJob().statuses("PENDING", "QUEUED", "CANCELLED")
        assert self.violations(ended(job, "cancelled"), call("CancelTrainingJob", request)) == []

    def test_a_job_that_nobody_cancelled_is_reported(self):
        assert_one(self.violations(ended(accepted_job().status("CANCELLED"), "cancelled")), "nobody asked")

    def test_a_job_without_an_end_is_reported(self):
        violations = self.violations(ended(accepted_job(), "training"))
        assert "still training" in violations[0]

    def test_a_second_end_is_reported(self):
        job = resumed_job().status("COMPLETED")
        assert any("end it 2 times" in violation for violation in self.violations(completed(job)))

    def test_an_event_after_the_end_is_reported(self):
        assert_one(self.violations(completed(resumed_job().notice("FILE_LEFT_OUT"))), "comes after its end")

    def test_a_gap_in_the_revisions_is_reported(self):
        tables = completed(resumed_job())
        del tables.events[JOB_ID][4]
        assert any("not those from 1" in violation for violation in self.violations(tables))

    def test_a_completed_job_without_its_model_is_reported(self):
        tables = completed(resumed_job())
        tables.models.clear()
        assert_one(self.violations(tables), "has 0")

    def test_a_second_model_is_reported(self):
        tables = completed(resumed_job())
        tables.models.append(tables.models[0])
        assert_one(self.violations(tables), "has 2")

    def test_a_model_of_a_failed_job_is_reported(self):
        tables = ended(accepted_job().status("FAILED"), "failed")
        tables.models = completed(accepted_job()).models
        assert_one(self.violations(tables), "has 1")

    def test_the_model_of_a_stale_attempt_is_reported(self):
        tables = completed(resumed_job())
        tables.models = [
            replace(tables.models[0], weights=f"default/jobs/{JOB_ID}/attempt-1/model.safetensors")
        ]
        assert_one(self.violations(tables), "attempt-1")

    def test_weights_that_are_not_those_of_the_row_are_reported(self):
        tables = completed(resumed_job())
        tables.models = [replace(tables.models[0], intact=False)]
        assert_one(self.violations(tables), "not those")

    @pytest.mark.parametrize(
        ("figures", "words"),
        [({"attempt": 1}, "its attempt is 1"), ({"current_epoch": 2}, "current epoch is 2")],
    )
    def test_figures_that_do_not_agree_with_the_events_are_reported(self, figures, words):
        assert any(words in violation for violation in self.violations(completed(resumed_job(), **figures)))

    def test_a_job_that_completes_too_early_is_reported(self):
        job = accepted_job().epochs(1, 2).model().status("COMPLETED")
        assert_one(self.violations(completed(job)), "after 2 of 3 epochs")


class TestStaleAttempts:
    """Events that a second writer would leave if no fencing token guarded the writes."""

    def violations(self, job: ExampleJob) -> list[str]:
        return list(one_end_and_no_stale_writes(Observations(), completed(job)))

    def test_a_second_acceptance_is_reported(self):
        assert_one(
            self.violations(second().notice("ACCEPTED").epochs(2, 3).model().status("COMPLETED")), "ACCEPTED"
        )

    def test_an_epoch_before_the_acceptance_is_reported(self):
        job = accepted_job().epochs(1).statuses("QUEUED", "TRAINING").epochs(2).notice("ACCEPTED")
        assert_one(self.violations(job.epochs(3).model().status("COMPLETED")), "has not accepted")

    def test_progress_before_the_acceptance_is_reported(self):
        job = accepted_job().epochs(1).statuses("QUEUED", "TRAINING").progress(2, 1).notice("ACCEPTED")
        assert_one(self.violations(job.epochs(2, 3).model().status("COMPLETED")), "has not accepted")

    def test_an_epoch_that_comes_twice_is_reported(self):
        job = second().epochs(2, 2, 3).model().status("COMPLETED")
        assert_one(self.violations(job), "epoch 2 completed after epoch 2")

    def test_an_epoch_that_is_left_out_is_reported(self):
        job = accepted_job().epochs(1, 3).model().status("COMPLETED")
        assert_one(self.violations(job), "epoch 3 completed after epoch 1")

    def test_progress_that_falls_back_is_reported(self):
        job = second().progress(2, 8).progress(2, 4).epochs(2, 3).model().status("COMPLETED")
        assert_one(self.violations(job), "progress")

    def test_progress_of_an_epoch_that_is_over_is_reported(self):
        job = second().epochs(2).progress(2, 9).epochs(3).model().status("COMPLETED")
        assert_one(self.violations(job), "progress")

    def test_work_on_a_job_that_waits_is_reported(self):
        job = accepted_job().epochs(1).status("QUEUED").epochs(2).status("TRAINING").notice("ACCEPTED")
        assert_one(self.violations(job.epochs(3).model().status("COMPLETED")), "does not train")

    def test_an_attempt_that_falls_is_reported(self):
        job = second()
        job.attempt = 1
        job.epochs(2)
        job.attempt = 2
        violations = self.violations(job.epochs(3).model().status("COMPLETED"))
        assert any("is of attempt 1, in attempt 2" in violation for violation in violations)

    def test_an_attempt_that_never_began_is_reported(self):
        job = second()
        job.attempt = 3
        violations = self.violations(job.epochs(2, 3).model().status("COMPLETED"))
        assert any("is of attempt 3, in attempt 2" in violation for violation in violations)

    def test_a_loss_in_the_middle_of_an_attempt_is_reported(self):
        job = second().notice("TRAINER_LOST").epochs(2, 3).model().status("COMPLETED")
        assert_one(self.violations(job), "lost, and the attempt goes on")

    def test_a_model_in_the_middle_of_an_attempt_is_reported(self):
        job = second().epochs(2).model().epochs(3).status("COMPLETED")
        assert_one(self.violations(job), "model is there, and the attempt goes on")

    def test_a_change_from_a_status_that_the_job_has_not_is_reported(self):
        job = second()
        job._status = "QUEUED"
        violations = self.violations(
            job.status("TRAINING").notice("ACCEPTED").epochs(2, 3).model().status("COMPLETED")
        )
        assert_one(violations, "goes from TRAINING_JOB_STATUS_QUEUED")


def second() -> ExampleJob:
    """A job in its second attempt, with one epoch completed in the first."""
    return accepted_job().epochs(1).statuses("QUEUED", "TRAINING").notice("ACCEPTED")


class TestLittleWorkIsLost:
    def violations(self, job: ExampleJob, *faults: Fault) -> list[str]:
        return list(little_work_lost(Observations(faults=list(faults)), completed(job)))

    def test_an_attempt_that_goes_on_with_the_next_epoch_passes(self):
        job = accepted_job().epochs(1, 2).statuses("QUEUED", "TRAINING").notice("ACCEPTED")
        assert self.violations(job.epochs(3).model().status("COMPLETED")) == []

    @pytest.mark.parametrize("first", [1, 2, 4])
    def test_an_attempt_that_goes_on_elsewhere_is_reported(self, first):
        job = accepted_job().epochs(1, 2).statuses("QUEUED", "TRAINING").notice("ACCEPTED")
        assert_one(self.violations(job.epochs(first).model().status("COMPLETED")), f"the next ended {first}")

    def test_an_attempt_that_begins_further_back_is_reported(self):
        job = accepted_job().epochs(1, 2).statuses("QUEUED", "TRAINING").notice("ACCEPTED").status("QUEUED")
        job.status("TRAINING").notice("ACCEPTED").epochs(1, 2, 3)
        assert_one(self.violations(job.model().status("COMPLETED")), "after epoch 2", "ended 1")

    def waited(self, seconds: int) -> ExampleJob:
        job = accepted_job().epochs(1).status("QUEUED").after(seconds).status("TRAINING").notice("ACCEPTED")
        return job.epochs(2, 3).model().status("COMPLETED")

    def test_a_short_wait_passes(self):
        assert self.violations(self.waited(20)) == []

    def test_a_long_wait_without_faults_is_reported(self):
        assert_one(self.violations(self.waited(50)), "waited 51 s")

    def test_a_long_wait_during_faults_passes(self):
        lost = START + 6
        faults = [Fault("kill", "trainer-0", lost + 20, lost + 22)]
        assert self.violations(self.waited(50), *faults) == []

    def test_a_long_wait_while_every_trainer_was_busy_passes(self):
        tables = completed(self.waited(50))
        lost, again = START + 6, START + 57
        # Two jobs trained at once before the loss, so there are two trainers.
        tables.events["longest"] = self.trained(START, again + 50)
        assert len(list(little_work_lost(Observations(), tables))) == 1
        tables.events["between"] = self.trained(lost, again)
        assert list(little_work_lost(Observations(), tables)) == []

    def trained(self, began: int, ended: int) -> list[pb.TrainingEvent]:
        events = ExampleJob().statuses("TRAINING", "COMPLETED").events
        for event, at in zip(events, (began, ended), strict=True):
            event.time.FromSeconds(at)
        return events

    @pytest.mark.parametrize(
        ("spans", "longest"),
        [
            ([], 10),
            ([(4, 5)], 5),
            ([(0, 3), (2, 6)], 4),
            ([(-5, 20)], 0),
            ([(12, 20)], 10),
            ([(6, 7), (1, 2)], 4),
        ],
    )
    def test_the_longest_gap_is_not_covered_by_any_span(self, spans, longest):
        assert longest_gap(0, 10, spans) == longest


def test_a_job_that_failed_is_reported() -> None:
    job = accepted_job().epochs(1).status("FAILED")
    job.events[-1].status_changed.reason = "its trainer was lost"
    tables = Tables([job.row("failed")], {JOB_ID: job.events})
    assert_one(list(no_job_fails(Observations(), tables)), JOB_ID, "its trainer was lost")
    tables = Tables([job.row("cancelled")], {JOB_ID: job.events})
    assert list(no_job_fails(Observations(), tables)) == []


def test_a_job_may_leave_only_the_objects_of_its_model() -> None:
    tables = completed(resumed_job())
    folder = tables.models[0].weights.removesuffix("/model.safetensors")
    objects = [f"{folder}/model.json", f"{folder}/model.safetensors"]

    def violations(stored: list[str]) -> list[str]:
        return list(jobs_leave_only_models(Observations(), replace(tables, objects=["store-id", *stored])))

    assert violations(objects) == []
    assert_one(violations(objects[1:]), "no object", objects[0])
    assert_one(violations([*objects, f"{folder}/checkpoint-1-2.safetensors"]), "checkpoint-1-2", "no model")
