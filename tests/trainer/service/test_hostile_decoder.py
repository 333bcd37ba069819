"""A decoder that its file has taken over harms nobody. hostile_child speaks the pipe and does as it likes."""

import asyncio
import json
import os
import socket

import pytest
from structlog.testing import capture_logs

from earmark.trainer.service import audio_pool
from earmark.trainer.service.audio_pool import AudioPool
from earmark.trainer.service.changes import Changes
from earmark.trainer.service.decoding import AudioFiles
from earmark.trainer.service.processes import INHERITED
from earmark.trainer.settings import TrainerSettings
from earmark.trainer.workers import sandbox
from earmark.trainer.workers.wire import Failed, Featured
from tests.trainer.process import SECONDS

HOSTILE = "tests.trainer.service.hostile_child"
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "s3cret",
    "EARMARK_DATABASE_URL": "postgresql://u:p@h/d",
    "OTHER": "token",
}


@pytest.fixture
async def pool(monkeypatch):
    """One long and one short slot, whose processes are hostile."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    pool = AudioPool(TrainerSettings(audio_processes=1), Changes(), HOSTILE)
    yield pool
    await pool.close()


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "file"
    folder.mkdir()
    return AudioFiles(folder)


async def process(pool, files, **facts):
    files.source.write_text(json.dumps(facts))
    async with asyncio.timeout(SECONDS), pool.decoding(files, "a caller", stores_audio=True) as decoding:
        return await decoding.featured()


async def tried(pool, files, **facts):
    """What an exploited decoder could do."""
    assert await process(pool, files, do="try everything", **facts) == Featured()
    return json.loads(files.features.read_text())


async def test_it_reads_no_credentials(pool, files):
    variables = (await tried(pool, files, secret="", outside="/nowhere/x", port=1, unix=""))["environment"]
    assert set(variables) <= {*audio_pool.ONE_THREAD, *INHERITED, "PYTHONPATH"}
    assert not set(variables.values()) & set(SECRETS.values())


async def test_it_opens_nothing_connects_nowhere_and_starts_nothing(pool, files, tmp_path):
    (secret := tmp_path / "secret").write_text("mine")
    outside, unix = tmp_path / "outside", tmp_path / "unix"
    for path in (tmp_path, secret):
        path.chmod(0o777)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind(str(unix))
        local.listen()
        unix.chmod(0o777)
        port = server.getsockname()[1]
        results = await tried(
            pool, files, secret=str(secret), outside=str(outside), port=port, unix=str(unix)
        )
    assert not outside.exists()
    for refused in (
        "read",
        "environment of the trainer",
        "write",
        "connect",
        "connect to a file",
        "listen",
        "fork",
        "run",
        "signal",
    ):
        assert results[refused] in {"PermissionError", "BlockingIOError"}, refused
    assert results["trace"] == -1
    if os.geteuid() == 0:
        assert results["user"] == sandbox.NOBODY


PROTOCOL_ERRORS = ("garbage", "huge", "nested", "wrong type", "unknown", "out of turn", "close", "exit")


@pytest.mark.parametrize("act", PROTOCOL_ERRORS)
async def test_it_loses_its_slot_at_once_and_the_file_is_not_blamed(pool, files, act):
    outcome = await process(pool, files, do=act)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "TRAINER_LOST"
    assert pool.free == pool.size == 2


async def test_what_it_pickles_is_never_unpickled(pool, files, tmp_path):
    outcome = await process(pool, files, do="pickle", outside=str(tmp_path / "outside"))
    assert outcome.reason == "TRAINER_LOST"
    assert not (tmp_path / "outside").exists()


async def test_it_cannot_keep_its_slot(pool, files, monkeypatch):
    monkeypatch.setattr(audio_pool, "SHORT_SECONDS", 0.5)
    outcome = await process(pool, files, do="hang")
    assert (outcome.reason, outcome.message) == ("TRAINER_LOST", "decoding has not ended within 0.5 s")
    assert pool.free == pool.size == 2


async def test_a_flood_of_messages_ends_with_the_process(pool, files):
    outcome = await process(pool, files, do="flood")
    assert outcome.reason == "TRAINER_LOST"


async def test_it_is_not_believed_when_it_blames_the_disk(pool, files):
    assert await process(pool, files, do="full disk") == Failed("INTERNAL", "believe me")


async def test_what_it_writes_is_bounded_and_logged_as_one_line(pool, files):
    with capture_logs() as logs:
        assert (await process(pool, files, do="write")).reason == "TRAINER_LOST"
    (written,) = [log["text"] for log in logs if log["event"] == "an untrusted process wrote"]
    assert written == "x" * 2000


async def test_words_that_a_database_cannot_store_are_refused(pool, files):
    assert (await process(pool, files, do="control characters")).reason == "TRAINER_LOST"
