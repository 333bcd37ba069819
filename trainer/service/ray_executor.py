"""The executor that has the nodes of a Ray cluster work. It takes what they say for what a trainer says."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from uuid import uuid4

import structlog

from earmark.configuration import SettingsError
from earmark.trainer.events import EpochCompleted, Event
from earmark.trainer.packed_job import PackedJob
from earmark.trainer.service.changes import Changes
from earmark.trainer.service.detection_job import (
    DetectionJob,
    FileCompleted,
    FileEvent,
    FileFailed,
    FileWaiting,
    Quiet,
)
from earmark.trainer.service.errors import CallError, StoppingError
from earmark.trainer.service.executor import AudioEvent, DetectionClaim, NextFile, StoredAudio
from earmark.trainer.service.ray_cluster import Cluster, Node, NodeLostError, Stream, ignore_unread
from earmark.trainer.service.runtime import Runtime
from earmark.trainer.service.slot import HAND_BACK_SECONDS
from earmark.trainer.settings import TrainerSettings

ALL_GPUS = "cuda:all"
KINDS = ("training", "detection", "audio")
LOST = "its node of the Ray cluster was lost"
NO_NODE = "no node of the Ray cluster is ready"

log = structlog.get_logger()


class RayExecutor:
    """See Executor. What stays with the front is done by `runtime`, on the front's machine."""

    def __init__(self, runtime: Runtime, cluster: Cluster) -> None:
        self.epochs = 0
        self.last_epoch: EpochCompleted | None = None
        self._runtime = runtime
        self._cluster = cluster
        self._claims: set[RayClaim] = set()
        self._closed = False

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: TrainerSettings, runtime: Runtime) -> AsyncIterator[Self]:
        """Joins the cluster of the settings. Raises SettingsError if it does not answer."""
        if ":" in settings.device and settings.device != ALL_GPUS:
            raise SettingsError(
                f"EARMARK_DEVICE is {settings.device}, and EARMARK_EXECUTOR is ray, which gives out the GPUs"
                f" of each node itself: choose cpu, cuda or {ALL_GPUS}"
            )
        async with Cluster.open(settings, runtime.changes, runtime.background) as cluster:
            yield cls(runtime, cluster)

    @staticmethod
    def settings_of_front(settings: TrainerSettings) -> TrainerSettings:
        """What stays with the front is done on the best device of its machine, which may have no GPU."""
        return settings if settings.device == "cpu" else settings.model_copy(update={"device": ""})

    @property
    def changes(self) -> Changes:
        return self._runtime.changes

    @property
    def device(self) -> str:
        return ", ".join(sorted({node.report.device for node in self._nodes() if node.report} - {""}))

    @property
    def problem(self) -> str:
        if own := self._runtime.environment.problem:
            return own
        problems = [self._problem_of(node) for node in self._nodes()]
        return "" if "" in problems else next(iter(problems), NO_NODE)

    @property
    def decode_failures(self) -> Mapping[str, int]:
        failures = Counter(self._runtime.audio_pool.failures)
        for node in self._nodes():
            failures.update(node.report.decode_failures if node.report else {})
        return failures

    def slots(self) -> dict[str, int]:
        reports = [node.report for node in self._nodes() if node.report]
        counts = {kind: sum(report.slots[kind] for report in reports) for kind in KINDS}
        return counts | {"live": self._runtime.slots()["live"]}

    def free_slots(self) -> dict[str, int]:
        if self.problem:
            return dict.fromkeys(self.slots(), 0)
        counts = {kind: sum(node.free(kind) for node in self._well()) for kind in KINDS}
        if self._closed:
            counts["training"] = 0
        return counts | {"live": self._runtime.free_slots()["live"]}

    @contextmanager
    def claim_training(self, job_id: str, attempt: int) -> Iterator["RayClaim"]:
        if self._closed:
            raise StoppingError
        node = self._node_for("training")
        with node.working("training"):
            claim = RayClaim(self, node, job_id, attempt)
            self._claims.add(claim)
            try:
                yield claim
            finally:
                self._claims.discard(claim)
                claim.end()

    async def hand_back(self, job_id: str, attempt: int) -> None:
        for claim in self._claims:
            if (claim.job_id, claim.attempt) == (job_id, attempt):
                await claim.hand_back()
                return
        raise CallError(
            "NOT_FOUND", f"attempt {attempt} of job {job_id} is not running here: has it ended already?"
        )

    async def close(self) -> None:
        self._closed = True
        self.changes.notify()
        await asyncio.gather(*(claim.hand_back() for claim in self._claims))

    async def process_audio(self, file: StoredAudio) -> AsyncGenerator[AudioEvent]:
        """See Executor. That a node is lost says nothing about the file: another node takes it."""
        node = self._node_for("audio", waits=True)
        with node.working("audio"), closing(node.stream("process_audio", file)) as events:
            try:
                while (event := await events.next()) is not None:
                    yield event
            except NodeLostError as error:
                log.warning("a file is handed back", audio_file_id=file.audio_file_id, error=str(error))
                raise CallError("STOPPING", LOST) from error

    @contextmanager
    def claim_detection(self, job_id: str) -> Iterator[DetectionClaim]:
        node = self._node_for("detection")
        with node.working("detection"):
            yield RayDetectionClaim(node, job_id)

    def record(self, epoch: EpochCompleted) -> None:
        """Takes note that an epoch has ended."""
        self.epochs += 1
        self.last_epoch = epoch

    def _nodes(self) -> list[Node]:
        return [node for node in self._cluster.nodes.values() if node.report]

    def _problem_of(self, node: Node) -> str:
        if node.report is None:
            return NO_NODE
        return node.report.problem_at(self._runtime.environment.store_id)

    def _well(self) -> list[Node]:
        return [node for node in self._nodes() if not self._problem_of(node)]

    def _node_for(self, kind: str, *, waits: bool = False) -> Node:
        """The node with the most free slots; one without, if the work `waits` there for its turn.

        Raises CallError if there is none.
        """
        nodes = self._well()
        if not waits:
            nodes = [node for node in nodes if node.free(kind)]
        if not nodes:
            why = f"every node is busy with {kind}" if self._well() else self.problem or NO_NODE
            raise CallError("NO_FREE_SLOT", f"the trainer has no free {kind} slot: {why}")
        return max(nodes, key=lambda node: (node.free(kind), -node.running[kind]))


class RayClaim:
    """See TrainingClaim."""

    def __init__(self, executor: RayExecutor, node: Node, job_id: str, attempt: int) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self.hand_back_requested = asyncio.Event()
        self._executor = executor
        self._node = node
        self._events: Stream | None = None
        self._ended = asyncio.Event()
        self._given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ignore_unread(self._given_up)

    @property
    def device(self) -> str:
        return self._node.report.device if self._node.report else ""

    async def start(self, packed: PackedJob) -> None:
        if self.hand_back_requested.is_set():
            raise StoppingError
        log.info("a job is given to a node", job=self.job_id, attempt=self.attempt, node=self._node.name)
        self._events = self._node.stream("train", packed)

    async def next_event(self, seconds: float | None) -> Event | None:
        assert self._events is not None  # it was started
        try:
            event: Event | None = await self._events.next(seconds, self._given_up)
        except TimeoutError:
            return None
        except NodeLostError as error:
            log.warning("a training job is lost", job=self.job_id, attempt=self.attempt, error=str(error))
            if self.hand_back_requested.is_set():
                raise StoppingError from error
            raise CallError("TRAINER_LOST", LOST) from error
        if event is None:
            raise CallError("TRAINER_LOST", "the job's events ended without a model")
        if isinstance(event, EpochCompleted):
            self._executor.record(event)
        return event

    async def hand_back(self) -> None:
        """Has the node store a checkpoint. Returns when the attempt is over."""
        self.hand_back_requested.set()
        if self._events is not None:
            try:
                async with asyncio.timeout(2 * HAND_BACK_SECONDS):
                    await self._node.call("hand_back", self.job_id, self.attempt)
            except (NodeLostError, TimeoutError) as error:
                log.warning("a job was not handed back", job=self.job_id, error=repr(error))
                if not self._given_up.done():
                    self._given_up.set_exception(StoppingError())
        await self._ended.wait()

    def end(self) -> None:
        """The call is over: the node drops the job if it still runs there."""
        if self._events is not None:
            self._events.close()
        self._ended.set()


@dataclass(frozen=True, slots=True)
class RayDetectionClaim:
    """See DetectionClaim."""

    node: Node
    job_id: str

    @property
    def device(self) -> str:
        return self.node.report.device if self.node.report else ""

    def search(self, job: DetectionJob, next_file: NextFile) -> "RaySearch":
        return RaySearch(self.node, job, next_file)


class RaySearch:
    """The events of a detection job on a node, which takes a file whenever it has room for one."""

    def __init__(self, node: Node, job: DetectionJob, next_file: NextFile) -> None:
        self._node = node
        self._job = job
        self._next_file = next_file
        self._call = str(uuid4())
        self._unanswered: set[str] = set()
        self._feeding: asyncio.Task[None] | None = None
        self._feed_failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ignore_unread(self._feed_failed)

    async def __aenter__(self) -> Self:
        self._events = self._node.stream("detect_files", self._call, self._job)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.close()
        if self._feeding is not None:
            self._feeding.cancel()
            await asyncio.wait({self._feeding})

    @property
    def busy(self) -> bool:
        return bool(self._unanswered)

    async def next_event(self, seconds: float | None) -> FileEvent | None:
        try:
            event: FileEvent | None = await self._events.next(seconds, self._feed_failed)
        except TimeoutError:
            return Quiet()
        except NodeLostError as error:
            log.warning("a detection job is lost", error=str(error))
            raise CallError("TRAINER_LOST", LOST) from error
        if self._feeding is None:  # with its first item, the node says that it takes files
            self._feeding = asyncio.create_task(self._feed())
        if isinstance(event, FileCompleted | FileFailed | FileWaiting):
            self._unanswered.discard(event.file_id)
        return event

    async def _feed(self) -> None:
        try:
            while (file := await self._next_file()) is not None:
                self._unanswered.add(file.file_id)
                await self._node.call("take_file", self._call, file)
            await self._node.call("take_file", self._call, None)
        except NodeLostError:
            return  # the events end in the same way
        except Exception as error:  # noqa: BLE001 next_event raises it
            self._feed_failed.set_exception(error)
