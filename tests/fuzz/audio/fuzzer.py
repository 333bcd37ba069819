"""Has a running system decode files that a seed makes, and judges what becomes of each."""

import asyncio
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import uuid4

import psutil
from grpc import aio

from earmark.internal.v1 import trainer_service_pb2 as trainer
from earmark.internal.v1.trainer_service_pb2_grpc import TrainerServiceStub
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import dataset_service_pb2 as datasets
from earmark.v1.audio_service_pb2_grpc import AudioServiceStub
from earmark.v1.dataset_service_pb2_grpc import DatasetServiceStub
from tests.fuzz.audio.files import File, good, make
from tests.fuzz.system import System
from tests.fuzz.victim import new_dataset, until_idle, upload

AT_ONCE = 6
BATCH = 100
# One file in so many is uploaded through the gateway; the others are given to the trainer at once.
UPLOADED_IN = 10
FILE_SECONDS = 120.0
FREE_SECONDS = 60.0
# More than this the trainer or a process of it may not have; decoding alone may take 2 GiB.
MOST_MEMORY = 3 << 30
MESSAGE_CHARACTERS = 1000


@dataclass
class Report:
    """What became of the files, and what must not have happened."""

    seed: int
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    largest: int = 0

    def add(self, file: File, seconds: float, failure: str | None, problem: str) -> None:
        """`failure`: what the user reads about a file that failed."""
        status = "finding" if problem else "ready" if failure is None else "failed"
        self.counts[file.format, status] += 1
        self.slowest[file.format] = max(self.slowest.get(file.format, 0.0), seconds)
        if failure:
            self.reasons[re.sub(r"[\d.,]+|\(.*\)", "#", failure)[:70]] += 1
        if problem:
            self.findings.append(f"{file}: {problem}")

    def table(self) -> Iterable[str]:
        """One line per format, and one per reason."""
        for name, slowest in sorted(self.slowest.items()):
            ready, failed = self.counts[name, "ready"], self.counts[name, "failed"]
            yield f"{name} (slowest {slowest:.1f} s): ready {ready}, failed {failed}"
        for reason, count in self.reasons.most_common():
            yield f"{count} failed: {reason}"
        yield f"largest process: {self.largest >> 20} MiB"


class AudioFuzzer:
    """Decodes files. The same seed makes the same files."""

    def __init__(self, system: System, seed: int, progress: Callable[[str], None]) -> None:
        self.report = Report(seed)
        self._system = system
        self._progress = progress
        self._channel = system.own_channel
        self._trainer = TrainerServiceStub(system.channels["earmark.internal.v1"])

    async def run(self, numbers: Sequence[int]) -> Report:
        """Has the files of these numbers decoded, and looks for what they did to others."""
        for start in range(0, len(numbers), BATCH):
            await self._batch(numbers[start : start + BATCH])
            self._progress(f"{self.report.counts.total()} files, {len(self.report.findings)} findings")
        self.report.findings += await asyncio.to_thread(self._system.bystander.changes)
        return self.report

    async def _batch(self, numbers: Sequence[int]) -> None:
        """Decodes files, with a good one among them, and compares the trainer before and after."""
        seed = self.report.seed
        files = [make(seed, number) for number in numbers]
        uploaded = [file for file in files if file.number % UPLOADED_IN == 0 and file.data]
        waiting = iter([file for file in files if file not in uploaded] + [good(seed, -1)])
        async with asyncio.TaskGroup() as group:
            group.create_task(self._upload([*uploaded, good(seed, -2)]))
            for _ in range(AT_ONCE):
                group.create_task(self._decode(waiting))
        await self._check_system()

    async def _decode(self, files: Iterable[File]) -> None:
        for file in files:
            file_id, started = str(uuid4()), time.monotonic()
            folder = self._system.objects / "default/audio" / file_id
            folder.mkdir(parents=True)
            (folder / "source").write_bytes(file.data)
            problem, failure = "", None
            try:
                failure = await self._processed(file_id)
                problem = _problem_of(file, failure)
            except aio.AioRpcError as error:
                problem = f"{error.code().name}: {error.details()}"
            self._add(file, time.monotonic() - started, failure, problem)
            shutil.rmtree(folder)

    async def _processed(self, file_id: str) -> str | None:
        """None if the file is ready, else the reason for the user. Raises AioRpcError."""
        key = f"default/audio/{file_id}"
        request = trainer.ProcessAudioRequest(
            audio_file_id=file_id,
            source=f"{key}/source",
            audio=f"{key}/normalized.flac",
            features=f"{key}/features",
        )
        grant = self._system.signer.metadata(
            "ProcessAudio", request.SerializeToString(), reads=(key,), writes=(key,)
        )
        call = self._trainer.ProcessAudio(request, timeout=FILE_SECONDS, metadata=grant)
        *_, last = [each async for each in call]
        return None if last.HasField("ready") else last.failed.error_message

    async def _upload(self, files: Sequence[File]) -> None:
        """Uploads files to a dataset of their own, and waits until each is ready or has failed."""
        dataset_id = (await new_dataset(self._channel)).dataset.id
        started = time.monotonic()
        by_id = {}
        for file in files:
            reply = await upload(self._channel, dataset_id, file.name, file.data, file.content_type)
            by_id[reply.audio_file.id] = file
        with suppress(aio.AioRpcError):  # then one has no reason yet
            await until_idle(self._channel, dataset_id)
        request = audio.ListAudioFilesRequest(dataset_id=dataset_id, page_size=1000)
        listed = await AudioServiceStub(self._channel).ListAudioFiles(request)
        for found in listed.audio_files:
            file = by_id.pop(found.id)
            is_ready = found.processing_status == audio.AUDIO_PROCESSING_STATUS_READY
            failure = None if is_ready else found.error_message
            self._add(file, time.monotonic() - started, failure, _problem_of(file, failure))
        self.report.findings += [f"{file}: it is not listed" for file in by_id.values()]
        deletion = datasets.DeleteDatasetRequest(dataset_id=dataset_id, force=True)
        await DatasetServiceStub(self._channel).DeleteDataset(deletion)

    def _add(self, file: File, seconds: float, failure: str | None, problem: str) -> None:
        self.report.add(file, seconds, failure, problem)
        if problem:
            (self._system.folder / f"finding-{file.number}").write_bytes(file.data)
            self._progress(f"{file}: {problem}")

    async def _check_system(self) -> None:
        """Adds what is wrong with the services now that nothing is decoded."""
        findings = self.report.findings
        findings += [f"the {name} has died" for name in self._system.dead()]
        processes = [self._system.trainer.process, *self._system.trainer.process.children(recursive=True)]
        with suppress(psutil.NoSuchProcess):
            self.report.largest = max(self.report.largest, *(p.memory_info().rss for p in processes))
        if self.report.largest > MOST_MEMORY:
            findings.append(f"a process has {self.report.largest >> 20} MiB")
        try:
            async with asyncio.timeout(FREE_SECONDS):
                await self._until_free()
        except TimeoutError:
            findings.append("the audio slots of the trainer are not free again")

    async def _until_free(self) -> None:
        request = trainer.WatchCapacityRequest()
        grant = self._system.signer.metadata("WatchCapacity", request.SerializeToString())
        watch = self._trainer.WatchCapacity(request, metadata=grant)
        async for response in watch:
            capacity = response.capacity
            if capacity.free_audio_slots == capacity.audio_slots and not capacity.problem:
                break
        watch.cancel()


def _problem_of(file: File, failure: str | None) -> str:
    """What is wrong with a file's end: None is READY, else the reason that a user reads."""
    if failure is None:
        return ""
    if file.must_be_ready:
        return f"is not ready: {failure}"
    if not failure or len(failure) > MESSAGE_CHARACTERS or not failure.isprintable():
        return f"is no reason for a user: {failure!r}"
    if re.search(r"Traceback|Error\b|Exception|/tmp|internal", failure):
        return f"is of the program, not of the file: {failure}"
    return ""
