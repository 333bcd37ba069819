"""The validators of jobs find each kind of violation of their promises, and nothing where there is none."""

from dataclasses import replace

import pytest
from earmark.v1 import training_service_pb2 as pb

from bench.faults.history import Call, Fault, History
from bench.faults.lifecycle import little_work_lost, longest_gap, one_end_and_no_stale_writes
from bench.faults.tables import Tables
from tests.bench.histories import JOB_ID, START, Written, accepted, call, completed, ended, only, twice


class TestOneEndAndNoStaleWrites:
    def found(self, tables: Tables, *calls: Call) -> list[str]:
        return list(one_end_and_no_stale_writes(History(calls=list(calls)), tables))

    def test_a_job_that_was_lost_and_completed_is_well(self):
        assert self.found(completed(twice())) == []

    def test_a_job_that_was_cancelled_while_it_waited_is_well(self):
        request = pb.CancelTrainingJobRequest(training_job_id=JOB_ID)
        written = Written().statuses("PENDING", "QUEUED", "CANCELLED")
        assert self.found(ended(written, "cancelled"), call("CancelTrainingJob", request)) == []

    def test_a_job_that_nobody_cancelled_is_found(self):
        only(self.found(ended(accepted().status("CANCELLED"), "cancelled")), "nobody asked")

    def test_a_job_without_an_end_is_found(self):
        found = self.found(ended(accepted(), "training"))
        assert "still training" in found[0]

    def test_a_second_end_is_found(self):
        written = twice().status("COMPLETED")
        assert any("end it 2 times" in violation for violation in self.found(completed(written)))

    def test_an_event_after_the_end_is_found(self):
        only(self.found(completed(twice().notice("FILE_LEFT_OUT"))), "comes after its end")

    def test_a_gap_in_the_revisions_is_found(self):
        tables = completed(twice())
        del tables.events[JOB_ID][4]
        assert any("not those from 1" in violation for violation in self.found(tables))

    def test_a_completed_job_without_its_model_is_found(self):
        tables = completed(twice())
        tables.models.clear()
        only(self.found(tables), "has 0")

    def test_a_second_model_is_found(self):
        tables = completed(twice())
        tables.models.append(tables.models[0])
        only(self.found(tables), "has 2")

    def test_a_model_of_a_failed_job_is_found(self):
        tables = ended(accepted().status("FAILED"), "failed")
        tables.models = completed(accepted()).models
        only(self.found(tables), "has 1")

    def test_the_model_of_a_stale_attempt_is_found(self):
        tables = completed(twice())
        tables.models = [replace(tables.models[0], weights=f"jobs/{JOB_ID}/attempt-1/model.safetensors")]
        only(self.found(tables), "attempt-1")

    def test_weights_that_are_not_those_of_the_row_are_found(self):
        tables = completed(twice())
        tables.models = [replace(tables.models[0], intact=False)]
        only(self.found(tables), "not those")

    @pytest.mark.parametrize(
        ("figures", "words"),
        [({"attempt": 1}, "its attempt is 1"), ({"current_epoch": 2}, "current epoch is 2")],
    )
    def test_figures_that_do_not_agree_with_the_events_are_found(self, figures, words):
        assert any(words in violation for violation in self.found(completed(twice(), **figures)))

    def test_a_job_that_completes_too_early_is_found(self):
        written = accepted().epochs(1, 2).model().status("COMPLETED")
        only(self.found(completed(written)), "after 2 of 3 epochs")


class TestStaleAttempts:
    """What a second writer leaves behind in the events when nothing fences it."""

    def found(self, written: Written) -> list[str]:
        return list(one_end_and_no_stale_writes(History(), completed(written)))

    def test_a_second_acceptance_is_found(self):
        only(self.found(second().notice("ACCEPTED").epochs(2, 3).model().status("COMPLETED")), "ACCEPTED")

    def test_an_epoch_before_the_acceptance_is_found(self):
        written = accepted().epochs(1).statuses("QUEUED", "TRAINING").epochs(2).notice("ACCEPTED")
        only(self.found(written.epochs(3).model().status("COMPLETED")), "has not accepted")

    def test_progress_before_the_acceptance_is_found(self):
        written = accepted().epochs(1).statuses("QUEUED", "TRAINING").progress(2, 1).notice("ACCEPTED")
        only(self.found(written.epochs(2, 3).model().status("COMPLETED")), "has not accepted")

    def test_an_epoch_that_comes_twice_is_found(self):
        written = second().epochs(2, 2, 3).model().status("COMPLETED")
        only(self.found(written), "epoch 2 completed after epoch 2")

    def test_an_epoch_that_is_left_out_is_found(self):
        written = accepted().epochs(1, 3).model().status("COMPLETED")
        only(self.found(written), "epoch 3 completed after epoch 1")

    def test_progress_that_falls_back_is_found(self):
        written = second().progress(2, 8).progress(2, 4).epochs(2, 3).model().status("COMPLETED")
        only(self.found(written), "progress")

    def test_progress_of_an_epoch_that_is_over_is_found(self):
        written = second().epochs(2).progress(2, 9).epochs(3).model().status("COMPLETED")
        only(self.found(written), "progress")

    def test_work_on_a_job_that_waits_is_found(self):
        written = accepted().epochs(1).status("QUEUED").epochs(2).status("TRAINING").notice("ACCEPTED")
        only(self.found(written.epochs(3).model().status("COMPLETED")), "does not train")

    def test_an_attempt_that_falls_is_found(self):
        written = second()
        written.attempt = 1
        written.epochs(2)
        written.attempt = 2
        found = self.found(written.epochs(3).model().status("COMPLETED"))
        assert any("is of attempt 1, in attempt 2" in violation for violation in found)

    def test_an_attempt_that_never_began_is_found(self):
        written = second()
        written.attempt = 3
        found = self.found(written.epochs(2, 3).model().status("COMPLETED"))
        assert any("is of attempt 3, in attempt 2" in violation for violation in found)

    def test_a_loss_in_the_middle_of_an_attempt_is_found(self):
        written = second().notice("TRAINER_LOST").epochs(2, 3).model().status("COMPLETED")
        only(self.found(written), "lost, and the attempt goes on")

    def test_a_model_in_the_middle_of_an_attempt_is_found(self):
        written = second().epochs(2).model().epochs(3).status("COMPLETED")
        only(self.found(written), "model is there, and the attempt goes on")

    def test_a_change_from_a_status_that_the_job_has_not_is_found(self):
        written = second()
        written._status = "QUEUED"
        found = self.found(
            written.status("TRAINING").notice("ACCEPTED").epochs(2, 3).model().status("COMPLETED")
        )
        only(found, "goes from TRAINING_JOB_STATUS_QUEUED")


def second() -> Written:
    """In its second attempt, with one epoch completed in the first."""
    return accepted().epochs(1).statuses("QUEUED", "TRAINING").notice("ACCEPTED")


class TestLittleWorkIsLost:
    def found(self, written: Written, *faults: Fault) -> list[str]:
        return list(little_work_lost(History(faults=list(faults)), completed(written)))

    def test_an_attempt_that_goes_on_with_the_next_epoch_is_well(self):
        written = accepted().epochs(1, 2).statuses("QUEUED", "TRAINING").notice("ACCEPTED")
        assert self.found(written.epochs(3).model().status("COMPLETED")) == []

    @pytest.mark.parametrize("first", [1, 2, 4])
    def test_an_attempt_that_goes_on_elsewhere_is_found(self, first):
        written = accepted().epochs(1, 2).statuses("QUEUED", "TRAINING").notice("ACCEPTED")
        only(self.found(written.epochs(first).model().status("COMPLETED")), f"the next ended {first}")

    def test_an_attempt_that_begins_further_back_is_found(self):
        written = accepted().epochs(1, 2).statuses("QUEUED", "TRAINING").notice("ACCEPTED").status("QUEUED")
        written.status("TRAINING").notice("ACCEPTED").epochs(1, 2, 3)
        only(self.found(written.model().status("COMPLETED")), "after epoch 2", "ended 1")

    def waited(self, seconds: int) -> Written:
        written = accepted().epochs(1).status("QUEUED").after(seconds).status("TRAINING").notice("ACCEPTED")
        return written.epochs(2, 3).model().status("COMPLETED")

    def test_a_short_wait_is_well(self):
        assert self.found(self.waited(20)) == []

    def test_a_long_wait_in_peace_is_found(self):
        only(self.found(self.waited(50)), "waited 51 s")

    def test_a_long_wait_under_faults_is_well(self):
        lost = START + 6
        faults = [Fault("kill", "trainer-0", lost + 20, lost + 22)]
        assert self.found(self.waited(50), *faults) == []

    def test_a_long_wait_while_every_trainer_was_busy_is_well(self):
        tables = completed(self.waited(50))
        lost, again = START + 6, START + 57
        # Two trained at once before the loss, so there are two trainers.
        tables.events["longest"] = self.trained(START, again + 50)
        assert len(list(little_work_lost(History(), tables))) == 1
        tables.events["between"] = self.trained(lost, again)
        assert list(little_work_lost(History(), tables)) == []

    def trained(self, began: int, ended: int) -> list[pb.TrainingEvent]:
        events = Written().statuses("TRAINING", "COMPLETED").events
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
    def test_the_longest_gap_is_that_which_no_span_touches(self, spans, longest):
        assert longest_gap(0, 10, spans) == longest
