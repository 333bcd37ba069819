"""Objects outside of the store: only those in an allowed place are read, and what is wrong is told apart."""

import os
import socket

import pytest

from earmark.storage.sources import ReferenceRefusedError, SourceAwayError, SourceObjectError, Sources
from tests import s3

MOST = 1 << 20


async def read(places: str, uri: str, most: int = MOST) -> bytes:
    return b"".join([part async for part in Sources(places).stream(uri, most)])


@pytest.fixture
def folder(tmp_path):
    """An allowed folder, with a file outside of it that must not be read."""
    allowed = tmp_path / "allowed"
    (allowed / "2026").mkdir(parents=True)
    (allowed / "2026" / "a %41 #1.wav").write_bytes(b"allowed")
    (tmp_path / "allowed-not").mkdir()
    (tmp_path / "allowed-not" / "secret").write_bytes(b"secret")
    (tmp_path / "secret").write_bytes(b"secret")
    return allowed


@pytest.fixture
def bucket(monkeypatch):
    with s3.serving() as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        yield server


async def test_a_file_is_read_by_its_name_as_it_is_written(folder):
    assert await read(f"s3://calls, file://{folder}/", f"file://{folder}/2026/a %41 #1.wav") == b"allowed"


@pytest.mark.parametrize(
    "key",
    [
        *(
            "../secret",
            "2026/../../secret",
            "./2026/a",
            "2026//a",
            "",
            "2026/",
            "/etc/passwd",
            "a\\..\\b",
            "a\0b",
        ),
        *("%2e%2e/secret", "2026/%2E%2E/%2e%2e/secret", "%252e%252e/secret", "..%2fsecret", "2026%5c..%5ca"),
    ],
)
def test_no_uri_leads_out_of_its_place(folder, key):
    for place in (f"file://{folder}", "s3://calls/2026"):
        with pytest.raises(ReferenceRefusedError, match=r"empty part|backslash"):
            Sources(place).place_of(f"{place}/{key}")


@pytest.mark.parametrize(
    "uri",
    [
        *(
            "file:///etc/passwd",
            "/etc/passwd",
            "file://localhost{0}/2026/a",
            "FILE://{0}/2026/a",
            "file://{0}",
        ),
        *(
            "file://{0}-not/secret",
            "s3://other/a",
            "s3://calls-other/a",
            "s3://calls@evil/a",
            "http://calls/2026/a",
        ),
        *("s3://calls/20261/a", "s3://calls:80/2026/a", "s3://calls/a"),
    ],
)
def test_what_is_below_no_allowed_place_is_refused(folder, uri):
    with pytest.raises(ReferenceRefusedError, match="below none of the places"):
        Sources(f"file://{folder},s3://calls/2026").place_of(uri.format(folder))


def test_nothing_is_allowed_by_default():
    with pytest.raises(ReferenceRefusedError, match=r"the operator allows none.*upload the files"):
        Sources("").place_of("file:///etc/passwd")


@pytest.mark.parametrize(
    ("places", "problem"),
    [
        *(
            ("/data", "no place of objects"),
            ("http://host/a", "no place of objects"),
            ("file:///", "no folder below /"),
        ),
        *(
            ("file://host/a", "no folder below /"),
            ("s3://", "names no bucket"),
            ("s3://a@b/c", "names no bucket"),
        ),
        *(("file:///data/../etc", "empty part"), ("s3://a,gs://b/%2e%2e", "empty part")),
    ],
)
def test_a_wrong_place_is_told(places, problem):
    with pytest.raises(ValueError, match=problem):
        Sources(places)


async def test_no_link_in_a_place_is_followed(folder):
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / "up").symlink_to(folder.parent)
    os.mkfifo(folder / "pipe")
    for key, problem in (
        ("link", "is a link"),
        ("up/secret", "a link leads to it"),
        ("pipe", "is no file"),
        ("2026", "is no file"),
    ):
        with pytest.raises(SourceObjectError, match=problem):
            await read(f"file://{folder}", f"file://{folder}/{key}")
    # The place itself is the operator's, and may be one.
    (folder.parent / "mounted").symlink_to(folder)
    mounted = f"file://{folder.parent}/mounted"
    assert await read(mounted, f"{mounted}/2026/a %41 #1.wav") == b"allowed"


async def test_a_missing_or_large_file_is_its_own_problem_and_a_missing_folder_is_not(folder):
    place = f"file://{folder}"
    for key in ("2026/b.wav", "2025/a.wav", "2026/a %41 #1.wav/x"):
        with pytest.raises(SourceObjectError, match="does not exist"):
            await read(place, f"{place}/{key}")
    with pytest.raises(SourceObjectError, match="it has 7 bytes, and at most 6"):
        await read(place, f"{place}/2026/a %41 #1.wav", most=6)
    with pytest.raises(SourceAwayError, match="No such file"):
        await read(f"{place}/gone", f"{place}/gone/a.wav")
    (folder / "empty").mkdir()
    with pytest.raises(SourceAwayError, match="is it mounted"):
        await read(f"{place}/empty", f"{place}/empty/a.wav")


async def test_an_object_of_a_bucket_is_read_below_its_prefix(bucket):
    bucket.objects |= {f"/{s3.BUCKET}/2026/a.wav": b"one", f"/{s3.BUCKET}/a.wav": b"other"}
    place = f"s3://{s3.BUCKET}/2026"
    assert await read(place, f"{place}/a.wav") == b"one"
    assert await read(f"s3://{s3.BUCKET}", f"s3://{s3.BUCKET}/a.wav") == b"other"
    with pytest.raises(SourceObjectError, match=r"b\.wav does not exist"):
        await read(place, f"{place}/b.wav")
    with pytest.raises(SourceObjectError, match="at most 2"):
        await read(place, f"{place}/a.wav", most=2)


@pytest.mark.usefixtures("bucket")
async def test_a_bucket_that_is_missing_refuses_or_does_not_answer_is_away(monkeypatch):
    with pytest.raises(SourceAwayError, match="does not exist"):
        await read("s3://other", "s3://other/a.wav")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with monkeypatch.context() as changed:
            changed.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
            with pytest.raises(SourceAwayError, match="error sending request"):
                await read("s3://audio", "s3://audio/a.wav")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrong")
    with pytest.raises(SourceAwayError, match="InvalidAccessKeyId"):
        await read("s3://audio", "s3://audio/a.wav")
