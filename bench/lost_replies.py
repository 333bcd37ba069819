"""Creates jobs while replies are lost, and checks that each request has exactly one job.

    python -m bench.lost_replies [--creates 10000] [--clients 16] [--seed 0]

A gateway in this process ends a share of the calls with UNAVAILABLE, most of them after the job is committed
(a lost reply, which the caller cannot distinguish from a lost request), the others before they are handled.
Every client repeats its call with the same idempotency key (request_id) until it is answered. Prints JSON,
which bench/README.md describes. Ends with status 1 if a promise is broken.
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
from grpc import aio

from bench.load.methods import CREATE
from bench.load.rows import TYPES, Dataset, insert_dataset
from earmark.gateway.server import running
from earmark.gateway.settings import GatewaySettings
from earmark.storage.database import Database
from earmark.storage.embedded import EmbeddedPostgres
from earmark.v1 import training_service_pb2 as pb

LOST_AFTER = 0.05
LOST_BEFORE = 0.015
# The shares of the requests that are sent again after their answer, and sent twice at the same time.
AGAIN = 0.1
TWICE = 0.1

# The replies that a client received to one request, in order.
Replies = Sequence[bytes]


@dataclass(slots=True)
class Report:
    """Counts of the run, and a description of every violation."""

    creates: int
    seed: int
    calls: int = 0
    lost_after_commit: int = 0
    lost_before: int = 0
    jobs: int = 0
    violations: list[str] = field(default_factory=list)


class ReplyLoss(aio.ServerInterceptor):
    """The outermost interceptor: ends calls before they reach the gateway, or after it has handled them."""

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
                await context.abort(grpc.StatusCode.UNAVAILABLE, "lost before it was handled")
            reply = await handler.unary_unary(request, context)
            if drawn < LOST_BEFORE + LOST_AFTER:
                self._report.lost_after_commit += 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "lost after it was handled")
            return reply

        return grpc.unary_unary_rpc_method_handler(
            create, handler.request_deserializer, handler.response_serializer
        )


async def measure(database_url: str, folder: Path, creates: int, clients: int, seed: int) -> Report:
    """Creates `creates` jobs in an empty, migrated database. `folder`: the gateway's data directory."""
    report = Report(creates, seed)
    settings = GatewaySettings(  # type: ignore[call-arg]  # mypy does not see Field's positional defaults
        port=0, database_url=database_url, data_dir=folder, trainers=""
    )
    async with (
        running(settings, [ReplyLoss(report)]) as port,
        Database(database_url) as database,
        aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        async with database.transaction() as connection:
            dataset = await insert_dataset(connection, files=5, annotations_per_file=2)
        replies = await _replies(channel, dataset, report, clients)
        jobs = await _jobs(database)
    report.jobs = sum(map(len, jobs.values()))
    report.violations = list(_violations(replies, jobs))
    return report


async def _replies(
    channel: aio.Channel, dataset: Dataset, report: Report, clients: int
) -> dict[str, Replies]:
    """Sends all requests. Returns the replies to each by its request_id."""
    random = Random(report.seed)
    ids = [str(UUID(int=random.getrandbits(128), version=4)) for _ in range(report.creates)]
    remaining = iter([(request_id, random.random()) for request_id in ids])
    create: Any = channel.unary_unary(CREATE)
    replies: dict[str, Replies] = {}

    async def client() -> None:
        for request_id, drawn in remaining:
            request = _request(dataset, request_id)
            copies = 2 if drawn < TWICE else 1
            received = await asyncio.gather(*(_until_answered(create, request) for _ in range(copies)))
            if drawn > 1 - AGAIN:
                received.append(await _until_answered(create, request))
            replies[request_id] = received

    await asyncio.gather(*(client() for _ in range(clients)))
    return replies


def _request(dataset: Dataset, request_id: str) -> bytes:
    request = pb.CreateTrainingJobRequest(
        dataset_id=str(dataset.id),
        annotation_set_id=str(dataset.annotation_set_id),
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
    """The ids of all jobs by the request in their metadata; an id occurs once per creation event."""
    async with database.connection() as connection:
        rows = await connection.fetch(
            "SELECT training_jobs.metadata ->> 'request' AS request, training_jobs.id FROM training_jobs"
            " JOIN events ON resource_id = training_jobs.id AND body @> $1",
            {"status_changed": {"from": "TRAINING_JOB_STATUS_UNSPECIFIED"}},
        )
    jobs = defaultdict(list)
    for row in rows:
        jobs[row["request"]].append(str(row["id"]))
    return jobs


def _violations(replies: Mapping[str, Replies], jobs: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for request_id in replies.keys() | jobs.keys():
        received, created = set(replies.get(request_id, ())), jobs.get(request_id, ())
        if len(created) != 1:
            yield f"request {request_id} has {len(created)} jobs"
        if len(received) != 1:
            yield f"request {request_id} received {len(received)} different replies"
        for reply in received:
            job_id = pb.CreateTrainingJobResponse.FromString(reply).training_job.id
            if job_id not in created:
                yield f"request {request_id} received job {job_id}, which is none of its jobs"


async def _run(creates: int, clients: int, seed: int) -> Report:
    """Measures on an embedded PostgreSQL."""
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        async with EmbeddedPostgres(Path(folder) / "postgres") as postgres:
            return await measure(postgres.dsn, Path(folder), creates, clients, seed)


def main(
    creates: Annotated[int, typer.Option(min=1)] = 10_000,
    clients: Annotated[int, typer.Option(min=1, help="Concurrent clients.")] = 16,
    seed: Annotated[int, typer.Option(help="Decides what is lost and what is sent again.")] = 0,
) -> None:
    """Count the jobs of calls whose replies were lost."""
    # No trainer takes jobs here, so the number of waiting jobs must not be limited.
    os.environ["EARMARK_MAX_WAITING_JOBS"] = "0"
    report = uvloop.run(_run(creates, clients, seed))
    print(json.dumps(asdict(report)))
    sys.exit(1 if report.violations else 0)


if __name__ == "__main__":
    typer.run(main)
