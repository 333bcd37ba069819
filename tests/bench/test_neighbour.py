"""The neighbour's goals and the footprint of processes."""

import asyncio
from collections import Counter

import grpc
import psutil
from grpc import aio

from bench.neighbour.abuses import _repeat
from bench.neighbour.footprint import Footprint, scratch
from bench.neighbour.neighbour import FIGURES, GET, Times
from bench.neighbour.report import GATEWAY_MEMORY_MB, Phase, table


def phase(abuse: str, memory_mb: int = 0, failures: dict[str, int] | None = None, **seconds: float) -> Phase:
    times = Times()
    for figure in FIGURES:
        times.seconds[figure] = [seconds.get(figure, 0.05)] * 100
    times.failures.update(failures or {})
    return Phase(abuse, times, Footprint(gateway_memory=memory_mb << 20), {"OK": 1_000, "INTERNAL": 2})


QUIET = phase("nothing")


def test_a_goal_is_missed_by_more_than_three_times_the_quiet_time() -> None:
    assert list(phase("abuse", **{GET: 0.15}).missed(QUIET)) == []
    missed = list(phase("abuse", **{GET: 0.16}).missed(QUIET))
    assert missed == [f"{GET} takes 3.2 times as long as without abuse"]


def test_a_goal_is_missed_by_a_slow_call_memory_and_each_failure() -> None:
    slow = phase("nothing", GATEWAY_MEMORY_MB + 1, {"dispatch: UNAVAILABLE": 2}, **{GET: 0.3})
    assert list(slow.missed(slow)) == [
        f"{GET} takes 300 ms",
        "2 times dispatch: UNAVAILABLE",
        f"gateway memory: {GATEWAY_MEMORY_MB + 1} MiB, at most {GATEWAY_MEMORY_MB}",
    ]


def test_a_figure_without_a_success_is_a_missed_goal() -> None:
    failed = phase("abuse")
    failed.times.seconds[GET].clear()
    assert f"{GET} takes inf ms" in failed.missed(QUIET)


def test_the_table_has_a_line_for_each_abuse_and_names_missed_goals() -> None:
    lines = table([QUIET, phase("bombs", **{GET: 0.5})]).splitlines()
    assert lines[2].startswith("| nothing | 50 / 50 |")
    assert lines[3].startswith("| bombs | 500 / 500 (10.0x) |")
    assert lines[3].endswith("| 2 INTERNAL, 1,000 OK |")
    assert lines[-2:] == [
        f"- bombs: {GET} takes 10.0 times as long as without abuse",
        f"- bombs: {GET} takes 500 ms",
    ]


def test_scratch_counts_files_in_the_folder_and_deleted_ones_that_are_open(tmp_path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "named").write_bytes(bytes(8192))
    deleted = tmp_path / "deleted"
    with deleted.open("wb") as file:
        file.write(bytes(16384))
        file.flush()
        deleted.unlink()
        assert scratch([psutil.Process()], tmp_path) == 8192 + 16384
        assert scratch([], tmp_path) == 8192
    assert scratch([psutil.Process()], tmp_path) == 8192


async def test_an_abuse_ends_when_it_is_cancelled_though_grpc_makes_a_status_of_that() -> None:
    calls, called = 0, asyncio.Event()

    async def call() -> None:
        nonlocal calls
        calls += 1
        called.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            status = grpc.StatusCode.CANCELLED, aio.Metadata(), aio.Metadata()
            raise aio.AioRpcError(*status) from None

    abuse = asyncio.create_task(_repeat(call, Counter()))
    await called.wait()
    abuse.cancel()
    await asyncio.wait([abuse], timeout=10)
    assert abuse.cancelled()
    assert calls == 1
