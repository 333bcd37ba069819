"""The training process: warm before its first job, runs one job at a time, stops between two device calls."""

import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection

import structlog

from earmark.disk import is_of_disk
from earmark.storage.objects import ObjectNotFoundError, ObjectStore, ObjectStoreError
from earmark.trainer.events import Event, TrainingFailedError, TrainingStoppedError
from earmark.trainer.job import NetworkSize, ShouldStop, Stop, TrainingJob
from earmark.trainer.learning.loop import train
from earmark.trainer.learning.precompile import precompile
from earmark.trainer.logs import configure_logging
from earmark.trainer.packed_job import PackedJob
from earmark.trainer.workers.device import device_failure, error_summary, warm_up
from earmark.trainer.workers.wire import Failed, Ready, StopJob, Stopped, WorkerSettings

log = structlog.get_logger()


def serve(connection: Connection, settings: WorkerSettings) -> None:
    """Sends Ready, then answers each PackedJob with its events.

    The last message of a job is Completed, Failed or Stopped. Raises EOFError when the front has closed its
    end, and SystemExit after a failure of the device.
    """
    configure_logging(settings.log_level)
    objects = ObjectStore.open(settings.object_store_url)
    device = warm_up()
    if settings.precompile:
        precompile(settings.network)
    # Only now: a process whose compiler or device fails at the first step must not offer a slot.
    connection.send(Ready(device))
    while True:
        match connection.recv():
            case StopJob():  # it arrived after its job had ended
                continue
            case PackedJob() as packed:
                should_stop = stop_requests(packed.job, connection)
                for message in run_job(packed, objects, should_stop, settings.network):
                    connection.send(message)
                    if isinstance(message, Failed) and message.ends_process:
                        sys.exit(f"this process ends: {message.message}")


def stop_requests(job: TrainingJob, connection: Connection) -> ShouldStop:
    """Returns a function that reads the front's messages and returns how this job is to stop, if at all.

    DROP is final: a later HAND_BACK does not replace it. If the front is gone, the job is dropped.
    """
    stop: Stop | None = None

    def should_stop() -> Stop | None:
        nonlocal stop
        try:
            while connection.poll():
                request: StopJob = connection.recv()
                for_this_attempt = (request.job_id, request.attempt) == (job.job_id, job.attempt)
                if for_this_attempt and stop is not Stop.DROP:
                    stop = request.how
        except (EOFError, OSError):
            stop = Stop.DROP
        return stop

    return should_stop


def run_job(
    packed: PackedJob, objects: ObjectStore, should_stop: ShouldStop, network: NetworkSize
) -> Iterator[Event | Failed | Stopped]:
    """Runs one job and yields its events; the last is Completed, Failed or Stopped."""
    job = packed.job
    job_log = log.bind(training_job_id=job.job_id, attempt=job.attempt)
    job_log.info("training starts", files=len(packed.files), resume_from=job.resume_from)
    try:
        yield from train(packed.unpacked(), objects.identified(), should_stop, network)
        job_log.info("training is complete")
    except TrainingStoppedError:
        job_log.info("training was stopped")
        yield Stopped()
    except TrainingFailedError as error:
        job_log.warning("training failed", reason=error.reason, error=str(error))
        yield Failed(error.reason, str(error))
    except ObjectStoreError as error:
        job_log.warning("the object store failed", error=str(error))
        yield Failed("OBJECT_STORE_UNAVAILABLE", str(error))
    except ObjectNotFoundError as error:
        job_log.warning("a stored object is missing", key=error.key)
        yield Failed("STORED_DATA_DAMAGED", f"the object {error.key!r} is missing from the object store")
    except Exception as error:  # noqa: BLE001 unless the device failed, the process runs the next job
        job_log.exception("training crashed")
        reason = "DISK_FULL" if is_of_disk(error) else "TRAINING_CRASHED"
        yield device_failure(error) or Failed(reason, error_summary(error))
