"""The stand-in for S3 serves Earmark's object store, and has the faults that a drill asks for."""

import io
from collections.abc import Iterator
from http.client import HTTPConnection, RemoteDisconnected
from urllib.parse import urlsplit

import pytest

from bench.faults.store import BUCKET, FAIL_EVERY, Store
from earmark.storage.objects import ObjectNotFoundError, ObjectStore, ObjectStoreError

KEY = "audio/one/source & more"


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    with Store(tmp_path / "objects") as store:
        yield store


@pytest.fixture
def objects(store, monkeypatch) -> ObjectStore:
    for name, value in store.settings.items():
        monkeypatch.setenv(name, value)
    return ObjectStore.open(store.settings["EARMARK_OBJECT_STORE"]).created()


def status(store: Store) -> int:
    """The status of a request for the bucket's keys, which is not repeated as obstore repeats it."""
    connection = HTTPConnection(urlsplit(store.settings["AWS_ENDPOINT_URL"]).netloc)
    try:
        connection.request("GET", f"/{BUCKET}")
        return connection.getresponse().status
    finally:
        connection.close()


async def test_objects_are_stored_listed_and_deleted(objects, store) -> None:
    objects.put(KEY, b"first")
    await objects.put_async(KEY, io.BytesIO(b"second"))
    assert objects.get(KEY) == (store.folder / KEY).read_bytes() == b"second"
    assert list(objects.keys("audio")) == [KEY]
    objects.delete(KEY, "audio/none")
    with pytest.raises(ObjectNotFoundError):
        objects.get(KEY)


def test_the_id_of_a_store_is_written_once(objects) -> None:
    assert objects.created().store_id == objects.store_id


def test_a_store_that_refuses_does_so_until_the_end_of_the_fault(objects, store) -> None:
    with store.faulty("refuse"), pytest.raises(ObjectStoreError, match="AccessDenied"):
        objects.put(KEY, b"data")
    objects.put(KEY, b"data")


def test_a_store_that_refuses_deletes_keeps_the_object_and_takes_others(objects, store) -> None:
    with store.faulty("refuse deletes"):
        objects.put(KEY, b"data")
        with pytest.raises(ObjectStoreError, match="AccessDenied"):
            objects.delete(KEY)
    assert objects.get(KEY) == b"data"


def test_every_tenth_request_fails_in_one_of_two_ways(store) -> None:
    failures = []
    with store.faulty("fail"):
        for _ in range(2 * FAIL_EVERY):
            try:
                failures.append(status(store))
            except RemoteDisconnected:
                failures.append(0)
    assert failures == [*[200] * 9, 500, *[200] * 9, 0]


def test_a_store_that_is_away_answers_nothing(store) -> None:
    with store.faulty("away"), pytest.raises(RemoteDisconnected):
        status(store)
    assert status(store) == 200
