"""Measures what a quiet caller of a gateway perceives, alone and beside each abuse by another caller.

    python -m bench.neighbour [--only NAME] [--json]

Starts all servers it needs. Prints a table, which bench/README.md describes. Ends with status 1 if a goal is
missed.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import typer
import uvloop

from bench.neighbour import data, footprint
from bench.neighbour.abuser import abusing
from bench.neighbour.abuses import ABUSES
from bench.neighbour.neighbour import Neighbour
from bench.neighbour.report import Phase, as_json, table
from bench.neighbour.system import System, running
from earmark.client.aio import Client, connect
from earmark.v1 import admin_service_pb2, audio_service_pb2

QUIET_SECONDS, ABUSED_SECONDS = 15.0, 12.0
# The abuse is in full swing when the neighbour begins to measure.
BEGIN_SECONDS = 3.0
POLL_SECONDS, RECOVERY_SECONDS = 0.2, 60.0


async def measure(names: Sequence[str]) -> list[Phase]:
    """The quiet phase and that of each abuse."""
    async with running() as system, connect(system.gateway.address) as client:
        _progress("setting up")
        created = await data.create(system)
        neighbour = Neighbour(system, client, created)
        _progress("nothing")
        await neighbour.measure(BEGIN_SECONDS)
        async with footprint.measured(system) as largest:
            phases = [Phase("nothing", await neighbour.measure(QUIET_SECONDS), largest, {})]
        for name in names:
            _progress(name)
            async with (
                footprint.measured(system) as largest,
                abusing(name, system.gateway.address, created.target) as statuses,
            ):
                await asyncio.sleep(BEGIN_SECONDS)
                times = await neighbour.measure(ABUSED_SECONDS)
            phases.append(Phase(name, times, largest, Counter(statuses)))
            await _recovered(system, client, created.target)
    return phases


async def _recovered(system: System, client: Client, target: data.Target) -> None:
    """Deletes what the abuser has left, and returns when nothing of it runs any more."""
    async with system.database.connection() as connection:
        ids = await connection.fetch(
            "SELECT id FROM audio_files WHERE dataset_id = $1 AND id <> $2", target.bin_id, target.file_id
        )
    for row in ids:
        await client.audio.DeleteAudioFile(
            audio_service_pb2.DeleteAudioFileRequest(audio_file_id=str(row["id"]), force=True)
        )
    async with asyncio.timeout(RECOVERY_SECONDS):
        while await _busy(client):  # noqa: ASYNC110 another process is asked
            await asyncio.sleep(POLL_SECONDS)


async def _busy(client: Client) -> bool:
    load = await client.admin.GetLoad(admin_service_pb2.GetLoadRequest())
    capacity = await client.admin.GetCapacity(admin_service_pb2.GetCapacityRequest())
    running_calls = load.long_calls_running + load.downloads + load.detections + load.uploads
    return bool(running_calls or capacity.waiting_jobs or capacity.training_jobs)


def _progress(name: str) -> None:
    print(f"{time.strftime('%X')} {name}", file=sys.stderr)


def main(
    *,
    only: Annotated[str, typer.Option(help="Measure beside this abuse only.")] = "",
    as_lines: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Measure a neighbour."""
    if only and only not in ABUSES:
        raise typer.BadParameter(f"there are {', '.join(ABUSES)}")
    phases = uvloop.run(measure([only] if only else list(ABUSES)))
    print(json.dumps(as_json(phases)) if as_lines else table(phases))
    sys.exit(1 if any(any(phase.missed(phases[0])) for phase in phases) else 0)


if __name__ == "__main__":
    typer.run(main)
