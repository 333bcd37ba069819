"""Recovery is the time without faults from the end of a fault to the next success of work that waited."""

from dataclasses import replace

import pytest

from bench.faults import recovery
from bench.faults.observations import Call, Fault, Observations
from bench.faults.tables import Tables
from earmark.v1 import audio_service_pb2 as audio
from tests.bench.example_jobs import JOB_ID, START, accepted_job, assert_one, call

ENDED = START + 10.0


def fault(kind: str = "refuse", began: float = START, ended: float = ENDED) -> Fault:
    return Fault(kind, "store", began, ended)


def upload(began: float, ended: float) -> Call:
    metadata = audio.UploadAudioRequest.Metadata(request_id="upload")
    return replace(call("UploadAudio", metadata, audio.UploadAudioResponse()), began=began, ended=ended)


def file_events(created: float, ready: float) -> list[audio.AudioFileEvent]:
    events = [
        audio.AudioFileEvent(audio_file_id="file", created={}),
        audio.AudioFileEvent(
            audio_file_id="file", status_changed={"to": audio.AUDIO_PROCESSING_STATUS_READY}
        ),
    ]
    for event, time in zip(events, (created, ready), strict=True):
        event.time.FromMicroseconds(int(time * 1e6))
    return events


def violations(*faults: Fault, calls=(), files=(), jobs=()) -> list[str]:
    observed = Observations(faults=list(faults), calls=list(calls))
    tables = Tables(events={JOB_ID: list(jobs)}, file_events=list(files))
    return list(recovery.everything_goes_on(observed, tables))


def test_work_that_goes_on_in_time_passes() -> None:
    soon = ENDED + 29
    assert violations(fault(), calls=[upload(START, soon)], files=file_events(START, soon)) == []


def test_an_upload_that_is_stored_late_is_reported() -> None:
    assert_one(violations(fault(), calls=[upload(START, ENDED + 31)]), "'refuse' of store", "uploads", "31 s")


def test_a_file_that_is_ready_late_is_reported() -> None:
    assert_one(violations(fault(), files=file_events(START, ENDED + 31)), "files", "31 s")


def test_a_job_that_takes_steps_late_is_reported() -> None:
    job = accepted_job().after(40).progress(1, 1)
    assert_one(violations(fault(), jobs=job.events), "jobs")


def test_work_that_began_after_the_fault_did_not_wait_for_it() -> None:
    assert violations(fault(), calls=[upload(ENDED + 1, ENDED + 100)]) == []


def test_a_kill_is_judged_by_other_promises() -> None:
    assert violations(fault("kill"), calls=[upload(START, ENDED + 31)]) == []


@pytest.mark.parametrize(("began", "late"), [(5, False), (40, True)])
def test_the_time_of_another_fault_does_not_count(began, late) -> None:
    other = fault("kill", ENDED + began, ENDED + began + 20)
    assert bool(violations(fault(), other, calls=[upload(START, ENDED + 45)])) is late


def test_the_longest_recovery_is_reported_by_work_and_fault() -> None:
    observed = Observations(
        faults=[fault(), fault("slow", ended=ENDED + 1)], calls=[upload(START, ENDED + 3)]
    )
    assert recovery.seconds_to_recover(observed, Tables()) == {"uploads": {"refuse": 2.0, "slow": 2.0}}
