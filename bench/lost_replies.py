"""Creates jobs while replies are lost, and counts the jobs.

    python -m bench.lost_replies [--creates 10000] [--clients 16] [--seed 0]

A gateway in this process ends a share of the calls with UNAVAILABLE: most of them after the job is committed,
so that the caller cannot know, some before anything happened. Every client repeats its call under the same
request_id until it is answered. Prints JSON; ends with status 1 where a promise is broken. bench/README.md
says what is in it.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Annotated, Any
from uuid import UUID

import grpc
import typer
import uvloop
from earmark.v1 import training_service_pb2 as pb
from grpc import aio

from bench.load.methods import CREATE
from bench.load.rows import TYPES, Dataset, dataset
from gateway.server import running
from gateway.settings import GatewaySettings
from storage.database import Database
from storage.embedded import EmbeddedPostgres

LOST_AFTER = 0.05
LOST_BEFORE = 0.015
# Of all requests: sent again after their answer, and sent twice at the same time.
AGAIN = 0.1
TWICE = 0.1

# The replies that a client had to one request, as they came.
Replies = Sequence[bytes]


@dataclass(slots=True)
class Report:
    """What was done, and every promise that was broken."""

    creates: int
    seed: int
    calls: int = 0
    lost_after_commit: int = 0
    lost_before: int = 0
    jobs: int = 0
    violations: list[str] = field(default_factory=list)


class LosesReplies(aio.ServerInterceptor):
    """Around everything of the gateway's own: what is lost here was done, or never reached it."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._random = Random(report.seed)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler_call_details.method != CREATE:
            return handler

        async def create(request: Any, context: Any) -> Any:
            drawn = self._random.random()
            self._report.calls += 1
            if drawn < LOST_BEFORE:
                self._report.lost_before += 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "lost before it was done")
            reply = await handler.unary_unary(request, context)
            if drawn < LOST_BEFORE + LOST_AFTER:
                self._report.lost_after_commit += 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "lost after it was done")
            return reply

        return grpc.unary_unary_rpc_method_handler(
            create, handler.request_deserializer, handler.response_serializer
        )


async def measure(database_url: str, folder: Path, creates: int, clients: int, seed: int) -> Report:
    """Creates so many jobs in an empty, migrated database. `folder`: the gateway's."""
    report = Report(creates, seed)
    settings = GatewaySettings(port=0, database_url=database_url, data_dir=folder, trainers="")
    async with (
        running(settings, [LosesReplies(report)]) as port,
        Database(database_url) as database,
        aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        async with database.transaction() as connection:
            on = await dataset(connection, files=5, annotations_per_file=2)
        replies = await _replies(channel, on, report, clients)
        jobs = await _jobs(database)
    report.jobs = sum(map(len, jobs.values()))
    report.violations = list(_violations(replies, jobs))
    return report


async def _replies(channel: aio.Channel, on: Dataset, report: Report, clients: int) -> dict[str, Replies]:
    """Those of every request, by its request_id."""
    random = Random(report.seed)
    ids = [str(UUID(int=random.getrandbits(128), version=4)) for _ in range(report.creates)]
    remaining = iter([(request_id, random.random()) for request_id in ids])
    create = channel.unary_unary(CREATE)
    replies: dict[str, Replies] = {}

    async def client() -> None:
        for request_id, drawn in remaining:
            request = _request(on, request_id)
            both = 2 if drawn < TWICE else 1
            had = await asyncio.gather(*(_until_answered(create, request) for _ in range(both)))
            if drawn > 1 - AGAIN:
                had.append(await _until_answered(create, request))
            replies[request_id] = had

    await asyncio.gather(*(client() for _ in range(clients)))
    return replies


def _request(on: Dataset, request_id: str) -> bytes:
    request = pb.CreateTrainingJobRequest(
        dataset_id=str(on.id),
        annotation_set_id=str(on.annotation_set_id),
        config={"artifact_types": TYPES},
        metadata={"request": request_id},
        request_id=request_id,
    )
    return request.SerializeToString()


async def _until_answered(create: Any, request: bytes) -> bytes:
    while True:
        try:
            reply: bytes = await create(request)
        except aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
        else:
            return reply


async def _jobs(database: Database) -> dict[str, list[str]]:
    """The ids of all jobs by the request that they say they are of, each as often as it was created."""
    async with database.connection() as connection:
        rows = await connection.fetch(
            "SELECT metadata ->> 'request' AS request, id FROM training_jobs"
            " JOIN training_events ON training_job_id = id AND body @> $1",
            {"status_changed": {"from": "TRAINING_JOB_STATUS_UNSPECIFIED"}},
        )
    jobs = defaultdict(list)
    for row in rows:
        jobs[row["request"]].append(str(row["id"]))
    return jobs


def _violations(replies: Mapping[str, Replies], jobs: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for request_id in replies.keys() | jobs.keys():
        had, made = replies.get(request_id, ()), jobs.get(request_id, ())
        if len(made) != 1:
            yield f"request {request_id} has {len(made)} jobs"
        if len(set(had)) != 1:
            yield f"request {request_id} was given {len(set(had))} different replies"
        for reply in set(had):
            told = pb.CreateTrainingJobResponse.FromString(reply).training_job.id
            if told not in made:
                yield f"request {request_id} was told of job {told}, which is none of its jobs"


async def _on_a_database_of_its_own(creates: int, clients: int, seed: int) -> Report:
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        async with EmbeddedPostgres(Path(folder) / "postgres") as postgres:
            return await measure(postgres.dsn, Path(folder), creates, clients, seed)


def main(
    creates: Annotated[int, typer.Option(min=1)] = 10_000,
    clients: Annotated[int, typer.Option(min=1, help="At the same time.")] = 16,
    seed: Annotated[int, typer.Option(help="Of what is lost, and of what is sent again.")] = 0,
) -> None:
    """Count the jobs of calls whose replies were lost."""
    # Nothing trains here, and what waits is not limited.
    os.environ["EARMARK_MAX_WAITING_JOBS"] = "0"
    report = uvloop.run(_on_a_database_of_its_own(creates, clients, seed))
    print(json.dumps(asdict(report)))
    sys.exit(1 if report.violations else 0)


if __name__ == "__main__":
    typer.run(main)
