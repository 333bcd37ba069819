"""A fake trainer on a real server that answers the files of detection jobs, to test the gateway's side."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import numpy as np

from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.scores import Scores, rounded
from tests.gateway.scripted_trainer import ScriptedTrainer

FRAMES = 300
PART = 100

Answer = Callable[[str], pb.DetectFilesResponse.Failed | None]


def scores_of(file_id: str, types: int = 1) -> Scores:
    """Scores that are different for each file, with events at several heights."""
    rng = np.random.default_rng(UUID(file_id).int % (1 << 32))
    values = np.repeat(rng.random((1, FRAMES // 10, types), np.float32), 10, axis=1)
    return Scores(rounded(values), ((0,),), (0,), FRAMES * 10)


class DetectingTrainer(ScriptedTrainer):
    """Answers each file with `scores_of`, or as `answer` says, once `may_go_on` is set.

    `ends_after`: the numbers of files after which its calls break; then none does.
    """

    def __init__(self, *, answer: Answer = lambda _: None, ends_after: tuple[int, ...] = (), types: int = 1):
        super().__init__()
        self.answer = answer
        self.types = types
        self.requests: list[list[pb.DetectFilesRequest.File]] = []
        self.job_requests: list[pb.DetectFilesRequest.Job] = []
        self.started, self.ended, self.may_go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.may_go_on.set()
        self._ends_after = list(ends_after)
        self._busy = False

    async def WatchCapacity(self, request, context):
        async for response in super().WatchCapacity(request, context):
            response.capacity.detection_slots = 1
            response.capacity.free_detection_slots = int(not self._busy)
            yield response

    async def DetectFiles(self, requests, context):
        self.job_requests.append((await anext(requests)).job)
        files: list[pb.DetectFilesRequest.File] = []
        self.requests.append(files)
        ends_after = self._ends_after.pop(0) if self._ends_after else None
        self._busy = True
        try:
            yield pb.DetectFilesResponse(accepted={"device": "cpu"})
            async for request in requests:
                files.append(request.file)
                yield pb.DetectFilesResponse(started={"file_id": request.file.file_id})
                self.started.set()
                await self.may_go_on.wait()
                if ends_after is not None and len(files) > ends_after:
                    await context.abort(14, "the machine is lost")
                for response in self._answers(request.file.file_id):
                    yield response
        finally:
            self._busy = False
            self.ended.set()

    def _answers(self, file_id: str):
        if (failed := self.answer(file_id)) is not None:
            yield pb.DetectFilesResponse(failed=failed)
            return
        scores = scores_of(file_id, self.types)
        packed = scores.pack()
        for first in range(0, len(packed), PART):
            yield pb.DetectFilesResponse(scores={"file_id": file_id, "data": packed[first : first + PART]})
        yield pb.DetectFilesResponse(
            completed={"file_id": file_id, "duration_ms": scores.duration_ms, "detection_count": 2}
        )
