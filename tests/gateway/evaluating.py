"""A gateway that searches and evaluates two artifact types, with annotations that a test chooses."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import numpy as np
from uuid_utils.compat import uuid7

from earmark.gateway.services.scored_files import LearnedType
from earmark.scores import DetectionConfig
from earmark.storage.database import Database
from earmark.v1 import evaluation_pb2 as pb
from tests.gateway import model_rows, rows
from tests.gateway import scripted_trainer as script
from tests.gateway.detecting_trainer import Answer, DetectingTrainer, scores_of
from tests.gateway.jobs import gateway
from tests.gateway.searching import Here

NAMES = ("glitch", "dropout")
TYPES = [LearnedType(name, 30, 0) for name in NAMES]
DEFAULTS = DetectionConfig()


def seed_of(number: int, job: int) -> str:
    """The id whose `scores_of` are those of the file of this number in the job of this number."""
    return str(UUID(int=100 * number + job))


class NoTwoJobsAlike(DetectingTrainer):
    """What is found depends on the file's number and on the call's: the same in every run."""

    files: Sequence[str] = ()

    def _answers(self, file_id: str):
        number = self.files.index(file_id) if file_id in self.files else len(self.files)
        for response in super()._answers(seed_of(number, len(self.requests) - 1)):
            getattr(response, response.WhichOneof("content")).file_id = file_id
            yield response


class Evaluating(Here):
    """As Here, with two types, and with the annotations that a test chooses."""

    database: Database

    async def searched(self) -> str:
        return (await self.ended((await self.create()).id)).id

    async def annotate(self, *annotations: tuple) -> None:
        """Replaces the set's annotations: (file, type, onset, offset), and a confidence and a channel."""
        async with self.database.transaction() as connection:
            await connection.execute("DELETE FROM annotations")
            for number, name, start, end, *others in annotations:
                confidence, channel = [*others, 1.0, None][:2] if len(others) < 2 else others
                await connection.execute(
                    "INSERT INTO annotations (id, tenant_id, annotation_set_id, audio_file_id, dataset_id,"
                    " artifact_type, start_ms, end_ms, confidence, channel)"
                    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                    *(uuid7(), rows.TENANT, self.built.annotation_set_id, self.built.audio_file_ids[number]),
                    *(self.built.dataset_id, name, start, end, confidence, channel),
                )

    async def evaluate(self, job_id: str, **fields) -> pb.EvaluateDetectionJobResponse:
        return await self.stub.EvaluateDetectionJob(
            self.request(pb.EvaluateDetectionJobRequest, job_id, **fields)
        )

    async def errors(self, job_id: str, **fields) -> list[pb.EvaluationError]:
        result, token = [], ""
        while True:
            request = self.request(pb.ListEvaluationErrorsRequest, job_id, page_token=token, **fields)
            page = await self.stub.ListEvaluationErrors(request)
            result += page.errors
            token = page.next_page_token
            if not token:
                return result

    def request(self, kind, job_id: str, **fields):
        chosen = {"annotation_set_id": str(self.built.annotation_set_id)} | fields
        return kind(detection_job_id=job_id, **chosen)

    def found(
        self, number: int, name: str, config: DetectionConfig = DEFAULTS, job: int = 0
    ) -> list[tuple[int, int]]:
        """The onsets and offsets of what the trainer finds in a file."""
        scores = scores_of(seed_of(number, job), len(NAMES))
        return [
            (each.start_ms, each.end_ms)
            for each in scores.detections(TYPES, config)
            if each.artifact_type == name
        ]


async def start(
    stack: AsyncExitStack,
    database_url: str,
    tmp_path: Path,
    answer: Answer = lambda _: None,
    *,
    files: int = 6,
) -> Evaluating:
    """A gateway with such a trainer, until the stack is closed."""
    trainer = NoTwoJobsAlike(types=len(NAMES), answer=answer)
    database = await stack.enter_async_context(Database(database_url))
    async with database.transaction() as connection:
        model_id = str(await model_rows.model(connection, active=True, types=NAMES))
        built = await rows.dataset(connection, types=(*NAMES, "echo"), files=files, frontends=("1",))
    address = await stack.enter_async_context(script.serving(trainer))
    channel = await stack.enter_async_context(gateway(database_url, tmp_path, address))
    trainer.files = list(map(str, built.audio_file_ids))
    at = Evaluating(channel, model_id, built, trainer)
    at.database = database
    return at


def spans(pairs) -> np.ndarray:
    return np.array(pairs, np.int64).reshape(-1, 2)


def drawn(at: Evaluating, files: int) -> list[tuple]:
    """Annotations at random: most where something was detected, some elsewhere, some of another type."""
    rng = np.random.default_rng(3)
    made = []
    for number in range(files):
        for name in NAMES:
            for start, end in at.found(number, name):
                if rng.random() < 0.7:
                    shown = name if rng.random() < 0.8 else NAMES[1 - NAMES.index(name)]
                    made.append((number, shown, max(0, start - int(rng.integers(0, 40))), end))
            made.append((number, name, start := int(rng.integers(0, 2500)), start + 60))
    return made
