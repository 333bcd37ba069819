"""The training process: warm before its first job, one job at a time, stopped between two device calls."""

from collections.abc import Iterator
from multiprocessing.connection import Connection

import structlog

from storage.objects import ObjectNotFoundError, ObjectStore
from trainer.events import Event, TrainingFailedError, TrainingStoppedError
from trainer.job import NetworkSize, ShouldStop, Stop, TrainingJob
from trainer.learning.loop import train
from trainer.learning.precompile import precompile
from trainer.logs import configure_logging
from trainer.settings import TrainerSettings
from trainer.workers.device import summary, warm_up
from trainer.workers.wire import Failed, Ready, StopJob, Stopped

log = structlog.get_logger()


def serve(connection: Connection, settings: TrainerSettings) -> None:
    """Says Ready, then answers each TrainingJob with its events, or Failed or Stopped as the last.

    Raises EOFError when the front is gone.
    """
    configure_logging(settings.log_level)
    objects = ObjectStore.open(settings.object_store_url)
    connection.send(Ready(warm_up()))
    if settings.precompile and not connection.poll():
        precompile(settings.network)
    while True:
        match connection.recv():
            case StopJob():  # came too late: its job is over
                continue
            case job:
                should_stop = asked(job, connection)
                for message in run(job, objects, should_stop, settings.network):
                    connection.send(message)


def asked(job: TrainingJob, connection: Connection) -> ShouldStop:
    """What the front asks of this job; what is once dropped stays so. A front that is gone keeps nothing."""
    stop: Stop | None = None

    def should_stop() -> Stop | None:
        nonlocal stop
        try:
            while connection.poll():
                request: StopJob = connection.recv()
                ours = (request.job_id, request.attempt) == (job.job_id, job.attempt)
                if ours and stop is not Stop.DROP:
                    stop = request.how
        except (EOFError, OSError):
            stop = Stop.DROP
        return stop

    return should_stop


def run(
    job: TrainingJob, objects: ObjectStore, should_stop: ShouldStop, network: NetworkSize
) -> Iterator[Event | Failed | Stopped]:
    """One job; Completed, Failed or Stopped is the last."""
    bound = log.bind(training_job_id=job.job_id, attempt=job.attempt)
    bound.info("training starts", files=len(job.files), resume_from=job.resume_from)
    try:
        yield from train(job, objects, should_stop, network)
        bound.info("training is complete")
    except TrainingStoppedError:
        bound.info("training is stopped")
        yield Stopped()
    except TrainingFailedError as error:
        bound.warning("training failed", reason=error.reason, error=str(error))
        yield Failed(error.reason, str(error))
    except ObjectNotFoundError as error:
        bound.warning("a stored object is missing", key=error.key)
        yield Failed("STORED_DATA_DAMAGED", f"the object {error.key!r} is missing from the object store")
    except Exception as error:  # noqa: BLE001 the next job is not to suffer for this one
        bound.exception("training crashed")
        yield Failed("TRAINING_CRASHED", summary(error))
