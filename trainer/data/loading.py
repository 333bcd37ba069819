"""Loads the stored features of a job's files, in an order that depends on their content alone."""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from earmark.scores import FRAME_MS
from earmark.storage.objects import ObjectNotFoundError, ObjectStore
from earmark.trainer.data.memory import available_bytes
from earmark.trainer.events import (
    Event,
    Loading,
    Notice,
    NoticeCode,
    TrainingFailedError,
    TrainingStoppedError,
)
from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.features.spectrum import FRAMES_PER_SECOND
from earmark.trainer.features.stored import FileFeatures, unpack_features
from earmark.trainer.job import ShouldStop, TrainingFile
from earmark.trainer.regions import Region, ValidationRegion

LOADING_EVENTS = 20  # per job, about
READS = 32  # at a time: a bucket takes tens of milliseconds for each, and most files are small
# Of the features: as loaded, in shards, and on a device if that is the CPU.
COPIES = 3
# Float16 features of one channel and of its view.
BYTES_PER_HOUR = COPIES * 2 * 2 * FEATURES * FRAMES_PER_SECOND * 3600


@dataclass(frozen=True, slots=True)
class Dataset:
    """The usable files of a job in the order of their content, and the features of each."""

    files: tuple[TrainingFile, ...]
    features: tuple[FileFeatures, ...]


def load(
    files: Sequence[TrainingFile], objects: ObjectStore, should_stop: ShouldStop
) -> Generator[Event, None, Dataset]:
    """Yield events and return the dataset. The order of `files` does not matter.

    A file that cannot be used is left out with a notice. Raises TrainingFailedError if the files together
    would not fit into memory: before anything is loaded if each had one channel, otherwise on the way. Raises
    it at the end if no file is usable, and TrainingStoppedError if the job should stop.
    """
    available = available_bytes()
    hours = sum(file.duration_ms for file in files) / 3_600_000
    _check_size(hours, hours * BYTES_PER_HOUR, available)
    size = 0
    usable: list[TrainingFile] = []
    features: list[FileFeatures] = []
    ordered = sorted(files, key=_content)
    for number, (file, reading) in enumerate(_reads(ordered, objects), start=1):
        if should_stop() is not None:
            raise TrainingStoppedError
        try:
            values = reading.result()
        except (ObjectNotFoundError, ValueError) as error:
            message = f"audio file {file.audio_file_id} is left out: {error}"
            yield Notice(NoticeCode.FILE_LEFT_OUT, message, audio_file_id=file.audio_file_id)
            continue
        size += values.bytes
        _check_size(hours, COPIES * size, available)
        usable.append(file)
        features.append(values)
        if number % max(1, len(ordered) // LOADING_EVENTS) == 0 or number == len(ordered):
            yield Loading(number, len(ordered))
    if not usable:
        raise TrainingFailedError(
            "NO_TRAINING_DATA",
            f"none of the {len(ordered)} audio files has usable features: see the notices",
        )
    return Dataset(tuple(usable), tuple(features))


def validation_regions(dataset: Dataset, regions: Sequence[Region]) -> list[ValidationRegion]:
    """Turn each region into a recording of its own."""
    return [_validation_region(dataset, region) for region in regions]


def _content(file: TrainingFile) -> tuple[str, list[tuple[int, int, str, float, int]]]:
    """What orders the files: ids would not do, because each upload of a recording has another."""
    return file.sha256, [
        (a.start_ms, a.end_ms, a.artifact_type, a.confidence, -1 if a.channel is None else a.channel)
        for a in file.annotations
    ]


def _reads(
    files: Sequence[TrainingFile], objects: ObjectStore
) -> Iterator[tuple[TrainingFile, Future[FileFeatures]]]:
    """Yield each file in order with its features, which may still be on their way.

    At most READS files are read that have not been yielded.
    """
    pool = ThreadPoolExecutor(READS, thread_name_prefix="read features")
    reading: deque[tuple[TrainingFile, Future[FileFeatures]]] = deque()
    try:
        for file in files:
            if len(reading) == READS:
                yield reading.popleft()
            reading.append((file, pool.submit(_features, objects, file)))
        yield from reading
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # a job that stops does not wait for the store


def _features(objects: ObjectStore, file: TrainingFile) -> FileFeatures:
    """Raises ObjectNotFoundError, and ValueError if the features cannot be used."""
    values = unpack_features(objects.get(file.features))
    if not values.frames:
        raise ValueError("it has no frames")
    return values


def _check_size(hours: float, needed: float, available: float) -> None:
    if needed > available:
        raise TrainingFailedError(
            "DATASET_TOO_LARGE",
            f"{hours:,.1f} hours of audio take {needed / 2**30:,.1f} GiB of memory or more to train on, and "
            f"the trainer has {available / 2**30:,.1f} GiB: use a larger machine, or split the dataset",
        )


def _validation_region(dataset: Dataset, region: Region) -> ValidationRegion:
    file = dataset.files[region.file]
    values = dataset.features[region.file]
    tracks = values.tracks[:, region.start : region.end]
    begins = tuple(max(0, begin - region.start) for begin in values.begins)
    duration_ms = min(file.duration_ms - region.start * FRAME_MS, tracks.shape[1] * FRAME_MS)
    return ValidationRegion(tuple(tracks), begins, region.spans(), duration_ms)
