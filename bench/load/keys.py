"""What API keys cost: the rate of GetTrainingJob with them, beside that of a gateway that needs none."""

from collections import defaultdict
from statistics import median

from grpc import aio

from bench.load.calls import IN_FLIGHT, ROUNDS, Rate, read
from bench.load.figures import Bench, Figure
from bench.load.rows import insert_dataset, insert_job
from bench.load.system import system
from earmark.v1 import admin_service_pb2 as pb
from earmark.v1.admin_service_pb2_grpc import AdminServiceStub
from earmark.v1.scope_pb2 import Scope


async def overhead(bench: Bench) -> Figure:
    """GetTrainingJob with a key. Bare: without one, of a gateway with the same rows."""
    async with system(EARMARK_TRAINERS="") as keyed:
        async with keyed.database.transaction() as connection:
            dataset = await insert_dataset(connection, files=30, annotations_per_file=10)
            keyed_ids = [await insert_job(connection, dataset) for _ in range(IN_FLIGHT)]
        async with bench.system.database.transaction() as connection:
            ids = [await insert_job(connection, bench.small) for _ in range(IN_FLIGHT)]
        key = await _key(keyed.gateway.address)
        rounds: dict[str, list[Rate]] = defaultdict(list)
        for _ in range(ROUNDS):
            rounds["open"].append(await read(bench, bench.system.gateway, ids))
            rounds["keyed"].append(await read(bench, keyed.gateway, keyed_ids, key))
    measured, bare = (median(rate.per_second for rate in rounds[name]) for name in ("keyed", "open"))
    return Figure(
        name="GetTrainingJob with an API key",
        unit="calls/s",
        goal=">= 90 % of bare",
        met=measured >= bare * 0.9,
        measured=measured,
        bare=bare,
        details={
            "server_cpu_us_per_call": median(rate.cpu_us for rate in rounds["keyed"]),
            "bare_server_cpu_us_per_call": median(rate.cpu_us for rate in rounds["open"]),
        },
    )


async def _key(address: str) -> str:
    scopes = [Scope.SCOPE_ADMIN, Scope.SCOPE_READ]
    async with aio.insecure_channel(address) as channel:
        request = pb.CreateApiKeyRequest(tenant_id="default", name="load", scopes=scopes)
        made = await AdminServiceStub(channel).CreateApiKey(request)
    return made.secret
