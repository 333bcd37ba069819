import asyncio
import contextlib

import numpy as np
import pytest
from structlog.testing import capture_logs

from earmark.trainer.service import processes
from earmark.trainer.service.audio_pool import AUDIO, AudioPool
from earmark.trainer.service.changes import Changes
from earmark.trainer.service.decoding import AudioFiles
from earmark.trainer.settings import TrainerSettings
from earmark.trainer.workers.decoding import LONG_SAMPLES
from earmark.trainer.workers.wire import Decoded
from tests.sounds import RATE, bursts, encoded
from tests.trainer.process import SECONDS

SHORT = encoded(bursts(2, 1)[0], "WAV")
# libsndfile's MP3 library, which decodes "free format" only, writes about these to stderr; FFmpeg about none.
FREE_FORMAT = b"".join(b"\xff\xfb\x00\x00" + bytes([number % 251]) * 413 for number in range(2_500))
BROKEN_FRAMES = FREE_FORMAT.replace(b"\xff\xfb\x00\x00", b"\xff\xfb\x90\x00")
CALLER = "a caller"
MEDIUM = encoded(np.zeros((LONG_SAMPLES // 8, 1), np.int16), "FLAC")
ALMOST_LONG = encoded(np.zeros((LONG_SAMPLES, 1), np.int16), "FLAC")
LONG = encoded(np.zeros((4 * LONG_SAMPLES, 1), np.int16), "FLAC")


@contextlib.asynccontextmanager
async def pool_of(module=AUDIO, **settings):
    pool = AudioPool(TrainerSettings(audio_processes=1, **settings), Changes(), module)
    try:
        yield pool
    finally:
        await pool.close()


@pytest.fixture
def files_with(tmp_path):
    """A folder of its own for these bytes."""

    def write(data):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        files = AudioFiles(folder)
        files.source.write_bytes(data)
        return files

    return write


async def until(pool, condition):
    async with asyncio.timeout(SECONDS):
        while not condition():
            await pool._changes.next.wait()


async def test_short_files_do_not_wait_for_long_ones_and_cancelled_ones_free_their_slots(files_with):
    fetched = []

    async def decode(files):
        async def fetch():
            files.source.write_bytes(LONG)
            fetched.append(files)

        async with pool.decoding_stored(files, CALLER, fetch) as decoding:
            await decoding.featured()

    async with pool_of() as pool:
        first, waits = files_with(LONG), files_with(LONG)
        long = [asyncio.create_task(decode(first))]
        await until(pool, lambda: not pool._slots_of_long.free)
        long.append(asyncio.create_task(decode(waits)))
        await until(pool, lambda: pool.size == 3)
        assert not waits.source.exists()
        assert await pool.decode(files_with(SHORT), CALLER) == Decoded(2000, RATE, 1)
        assert not any(task.done() for task in long)
        assert fetched == [first]
        assert pool.free == 1
        for task in reversed(long):
            task.cancel()
        await asyncio.wait(long)
        assert (pool.free, pool.size) == (2, 2)


async def test_files_of_a_job_leave_a_process_to_others_which_do_not_wait_for_them(files_with):
    async with pool_of() as pool:
        job = [
            asyncio.create_task(pool.decode(files_with(ALMOST_LONG), CALLER, of_job=True)) for _ in range(3)
        ]
        await until(pool, lambda: pool._busy)
        for _ in range(2):
            assert await pool.decode(files_with(SHORT), CALLER) == Decoded(2000, RATE, 1)
        assert pool.free == 2
        assert not any(task.done() for task in job)
        for task in job:
            task.cancel()
        await asyncio.wait(job)
        assert not pool._busy


async def test_callers_take_turns_and_stored_files_are_offered_slots_beside_any_number_of_recordings(
    files_with,
):
    async with pool_of() as pool:
        many = [asyncio.create_task(pool.decode(files_with(MEDIUM), "many")) for _ in range(8)]
        await until(pool, lambda: len(pool._busy) == pool.size)
        assert pool.free == 2
        few = asyncio.create_task(pool.decode(files_with(SHORT), "few"))
        done, _ = await asyncio.wait((*many, few), return_when=asyncio.FIRST_COMPLETED)
        # The next slot that becomes free is that of the caller who has none.
        assert await few == Decoded(2000, RATE, 1)
        assert sum(task.done() for task in many) <= len(done) + pool.size
        for task in many:
            task.cancel()
        await asyncio.wait(many)
        assert await pool.decode(files_with(SHORT), "many") == Decoded(2000, RATE, 1)


async def decoded_by(pool, files):
    """The process that has decoded a file."""
    async with pool.decoding(files, CALLER, stores_audio=True) as decoding:
        (process,) = pool._busy
        await decoding.featured()
    return process


async def test_a_process_is_replaced_after_so_many_files_by_one_that_was_started_before(files_with):
    async with pool_of(audio_files_per_process=4) as pool:
        first = await decoded_by(pool, files_with(SHORT))
        assert first.successor is None
        for _ in range(2):
            assert await decoded_by(pool, files_with(SHORT)) is first
        successor = first.successor
        await successor.ready
        assert first.child.alive
        assert await decoded_by(pool, files_with(SHORT)) is first
        assert not first.child.alive
        assert await decoded_by(pool, files_with(SHORT)) is successor


async def test_no_process_decodes_a_second_file_where_each_gets_one(files_with):
    async with pool_of(audio_files_per_process=1) as pool:
        used = [await decoded_by(pool, files_with(SHORT)) for _ in range(3)]
        assert [process.child.alive for process in used] == [False] * 3
    assert len({process.child.pid for process in used}) == 3


async def test_a_file_gets_a_process_that_has_started_rather_than_one_that_starts(files_with):
    async with pool_of() as pool:
        started = await decoded_by(pool, files_with(SHORT))
        pool._idle.append(pool._start())
        assert await decoded_by(pool, files_with(SHORT)) is started


async def test_a_process_whose_file_is_cancelled_has_a_successor_at_once(files_with):
    async with pool_of() as pool:
        decoding = asyncio.create_task(pool.decode(files_with(LONG), CALLER))
        await until(pool, lambda: pool._busy)
        (process,) = pool._busy
        await process.ready
        decoding.cancel()
        await asyncio.wait([decoding])
        assert not process.child.alive
        (successor,) = pool._idle
        await successor.ready
        decoding = asyncio.create_task(pool.decode(files_with(LONG), CALLER))
        await until(pool, lambda: pool._busy)
        closing = asyncio.create_task(pool.close())
        await asyncio.sleep(0)
        decoding.cancel()
        await asyncio.wait([decoding, closing])
        assert not pool._idle


async def test_what_a_machine_does_not_allow_is_logged_once_and_files_are_decoded(files_with):
    with capture_logs() as logs:
        async with pool_of("tests.trainer.service.unprotected_child", audio_files_per_process=1) as pool:
            for _ in range(2):
                assert await pool.decode(files_with(SHORT), CALLER) == Decoded(2000, RATE, 1)
    (missing,) = [log["missing"] for log in logs if "every protection" in log["event"]]
    assert missing == [
        "no system calls but those of decoding, by seccomp (not known for linux on riscv64)",
    ]


async def test_what_a_library_writes_is_read_up_to_a_limit_and_the_next_file_is_decoded(
    files_with, monkeypatch
):
    monkeypatch.setattr(processes, "STDERR_BYTES", 1000)
    with capture_logs() as logs:
        async with pool_of() as pool:
            assert (await pool.decode(files_with(FREE_FORMAT), CALLER)).reason == "INVALID_AUDIO"
            assert await pool.decode(files_with(SHORT), CALLER) == Decoded(2000, RATE, 1)
    written = [log["text"] for log in logs if log["event"] == "an untrusted process wrote"]
    assert [len(text) for text in written] == [1000]


async def test_ffmpeg_writes_nothing_about_a_damaged_file(files_with):
    with capture_logs() as logs:
        async with pool_of() as pool:
            assert (await pool.decode(files_with(BROKEN_FRAMES), CALLER)).reason == "INVALID_AUDIO"
    assert not [log for log in logs if log["event"] == "an untrusted process wrote"]
