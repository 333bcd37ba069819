"""For every rpc of every service: no key, too little scope, and the ids of another tenant.

Two walls keep tenants apart: the filter in each query, and the policies of the tables. Each is tested alone.
"""

import asyncio
import re
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from google.protobuf import descriptor_pool, message_factory
from grpc import aio

from earmark import storage
from earmark.gateway.guard import scopes_of
from earmark.gateway.watching import topics
from earmark.reflection import contract
from earmark.storage import bus, sql
from earmark.v1.scope_pb2 import Scope
from tests.gateway.calls import NOWHERE, refusal_of
from tests.gateway.foreign_requests import LISTS, NAMED, WITHOUT_IDS, filled
from tests.gateway.two_tenants import (
    OTHER,
    OWN,
    SECONDS,
    call,
    contents,
    installed,
    stored_for,
    tenant_tables,
)

# Also of a service that the gateway would not offer.
SERVICES = [
    f"{file.package}.{service.name}"
    for file in contract().file
    if file.package == "earmark.v1"
    for service in file.service
]
METHODS = {
    f"{service.removeprefix('earmark.v1.')}/{method.name}": method
    for service in SERVICES
    for method in descriptor_pool.Default().FindServiceByName(service).methods
}
REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED")


@pytest_asyncio.fixture
async def here(database_url, tmp_path):
    async with installed(database_url, tmp_path, heartbeat_seconds=0.2) as installation:
        yield installation


async def stored_and_queued(here) -> dict[str, str]:
    """What the other tenant has, once the dispatcher has queued its jobs and leaves them alone."""
    theirs = await stored_for(here.gateway.database, OTHER)
    async with here.gateway.database.own_connection() as connection:
        await bus.notify(connection, [topics.QUEUE])
    async with asyncio.timeout(SECONDS):
        for table in ("training_jobs", "detection_jobs"):
            while await here.gateway.count(f"{table} WHERE status = 'pending'"):
                pass
    return theirs


async def outcome(here, method, messages, key="") -> tuple[str, str]:
    """The code and the reason of a call."""
    try:
        await call(here.gateway.channel, method, messages, key)
    except aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return "UNIMPLEMENTED", ""
        return error.code().name, refusal_of(error).info.reason
    return "OK", ""


async def test_every_rpc_of_the_server_is_tested_here_and_needs_a_key(here) -> None:
    """What the messages are does not matter: the key is checked before."""
    assert {*METHODS} == {*LISTS, *WITHOUT_IDS, *NAMED} | {name for name in METHODS if "Admin" in name}
    for key, reason in (("", "API_KEY_MISSING"), ("em_", "API_KEY_INVALID")):
        found = {name: await outcome(here, method, [b"\xff"], key) for name, method in METHODS.items()}
        assert {*found.values()} == {("UNAUTHENTICATED", reason)}, found


async def test_every_rpc_needs_one_of_its_scopes_and_no_other(here) -> None:
    """One key for each scope: it is refused by all rpcs that do not state its scope, and by no others."""
    scopes = [scope for scope in Scope.values() if scope != Scope.SCOPE_UNSPECIFIED]
    wrong = {}
    for scope in scopes:
        key, name = (await here.create_key(OWN, [scope])).secret, Scope.Name(scope)
        for rpc, method in METHODS.items():
            path = f"/{method.containing_service.full_name}/{method.name}"
            is_stated = name.removeprefix("SCOPE_").lower() in scopes_of(path)
            code, reason = await outcome(here, method, [b"\xff"], key)
            expected = "INVALID_ARGUMENT" if is_stated else "PERMISSION_DENIED"
            if (code, reason) != (expected, "INVALID_MESSAGE" if is_stated else "SCOPE_MISSING"):
                wrong[rpc, name] = (code, reason)
    assert wrong == {}


@pytest_asyncio.fixture(params=["both", "filters", "policies"])
async def walls(request, here, monkeypatch):
    """Takes one of the walls away."""
    if request.param == "policies":
        replaced = [without_filter(queries, monkeypatch) for queries in every_query()]
        assert sum(replaced) > 60
    if request.param == "filters":
        async with here.gateway.database.connection() as connection:
            for table in await tenant_tables(connection):
                await connection.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    return request.param


def every_query() -> list[dict[str, str]]:
    files = (Path(storage.__file__).parent / "queries").glob("*.sql")
    kinds = [{"kind": "training", "running": "training"}, {"kind": "detection", "running": "processing"}]
    return [
        sql.load(file.stem, **replaced)
        for file in files
        for replaced in (kinds if file.stem == "jobs" else [{}])
    ]


def without_filter(queries: dict[str, str], monkeypatch) -> int:
    """Takes the filter by tenant out of the queries; returns from how many."""
    replaced = 0
    for name, statement in list(queries.items()):
        bare, number = re.subn(r"(\w+\.)?tenant_id = (\$\d)", r"\2::text IS NOT NULL", statement)
        monkeypatch.setitem(queries, name, bare)
        replaced += bool(number)
    return replaced


@pytest.mark.usefixtures("walls")
async def test_what_another_tenant_has_does_not_exist(here, database_url) -> None:
    """NOT_FOUND in the same words as for an id that nobody has, and nothing changed."""
    theirs = await stored_and_queued(here)
    nobody = dict.fromkeys(theirs, NOWHERE)
    before = await contents(database_url, OTHER)
    assert len([table for table, found in before.items() if found]) >= 12
    wrong = {}
    for rpc, fields in NAMED.items():
        method = METHODS[rpc]
        message = message_factory.GetMessageClass(method.input_type)
        found = []
        for ids in (theirs, nobody):
            try:
                await call(
                    here.gateway.channel, method, [message(**filled(f, ids)) for f in fields], here.keys[OWN]
                )
                found.append("OK")
            except aio.AioRpcError as error:
                text = f"{error.code().name}: {error.details()}"
                for id_ in ids.values():
                    text = text.replace(id_, "ID")
                found.append(text)
        if not found[0].startswith("NOT_FOUND") or found[0] != found[1]:
            wrong[rpc] = found
    assert wrong == {}
    assert await contents(database_url, OTHER) == before


@pytest.mark.usefixtures("walls")
async def test_lists_and_watches_have_nothing_of_another_tenant(here, database_url) -> None:
    theirs = await stored_and_queued(here)
    before = await contents(database_url, OTHER)
    for rpc, fields in {**{name: [f] for name, f in LISTS.items()}, **WITHOUT_IDS}.items():
        method = METHODS[rpc]
        message = message_factory.GetMessageClass(method.input_type)
        messages = [message(**filled(f, theirs)) for f in fields]
        replies = await call(here.gateway.channel, method, messages, here.keys[OWN])
        shown = " ".join(map(str, replies))
        assert not any(id_ in shown for id_ in theirs.values()), rpc
        if rpc in LISTS:
            assert all(
                len(value) == 0 for reply in replies for f, value in reply.ListFields() if f.is_repeated
            )
    assert await contents(database_url, OTHER) == before


async def test_the_other_tenant_itself_finds_all_of_it(here) -> None:
    """So that the tests above do not pass since the requests are wrong."""
    theirs = await stored_for(here.gateway.database, OTHER)
    reads = [rpc for rpc in NAMED if rpc.partition("/")[2].startswith(("Get", "ListA", "ListM", "Watch"))]
    assert len(reads) >= 12
    for rpc in reads:
        method = METHODS[rpc]
        message = message_factory.GetMessageClass(method.input_type)
        messages = [message(**filled(f, theirs)) for f in NAMED[rpc]]
        assert (await outcome(here, method, messages, here.keys[OTHER]))[0] != "NOT_FOUND", rpc
