"""Idempotency keys (request_id): a repeated request returns the first reply, whatever the mutation."""

from uuid import uuid4

import pytest

from earmark.storage.queries import idempotency
from earmark.v1 import annotation_service_pb2 as annotation_pb
from earmark.v1 import dataset_service_pb2 as pb
from tests.gateway.calls import annotate, dataset, decoded, draft, new_annotation, publish, refused, together


async def create(gateway, request_id: str, name: str = "calls") -> str:
    request = pb.CreateDatasetRequest(name=name, request_id=request_id)
    return (await gateway.datasets.CreateDataset(request)).dataset.id


async def test_a_repeated_request_gets_the_first_reply(gateway) -> None:
    request_id = str(uuid4())
    first = await create(gateway, request_id)
    assert await create(gateway, request_id) == first
    assert await create(gateway, str(uuid4())) != first
    assert await gateway.count("datasets") == 2


async def test_the_first_reply_is_returned_even_after_later_changes(gateway) -> None:
    request_id = str(uuid4())
    request = pb.CreateDatasetRequest(name="calls", request_id=request_id)
    first = await gateway.datasets.CreateDataset(request)
    await gateway.datasets.DeleteDataset(pb.DeleteDatasetRequest(dataset_id=first.dataset.id))
    assert await gateway.datasets.CreateDataset(request) == first
    assert await gateway.count("datasets") == 0


async def test_another_body_with_the_same_key_is_refused(gateway) -> None:
    request_id = str(uuid4())
    await create(gateway, request_id)
    refusal = await refused(create(gateway, request_id, "other"), "ALREADY_EXISTS", "REQUEST_ID_REUSED")
    assert refusal.info.metadata["request_id"] == request_id
    assert await gateway.count("datasets") == 1


async def test_another_rpc_with_the_same_key_is_refused(gateway) -> None:
    dataset_id, request_id = await dataset(gateway), str(uuid4())
    await draft(gateway, dataset_id, request_id=request_id)
    call = gateway.datasets.DeleteDataset(
        pb.DeleteDatasetRequest(dataset_id=dataset_id, request_id=request_id)
    )
    await refused(call, "ALREADY_EXISTS", "REQUEST_ID_REUSED")


async def test_concurrent_repeated_requests_run_once(gateway) -> None:
    request_id = str(uuid4())
    ids = await together(*(create(gateway, request_id) for _ in range(20)))
    assert len(set(ids)) == 1
    assert await gateway.count("datasets") == 1


async def test_a_refused_request_does_not_use_up_its_key(gateway) -> None:
    dataset_id, request_id = await dataset(gateway, "glitch"), str(uuid4())
    set_id = (await draft(gateway, dataset_id)).id
    file_id = await decoded(gateway, dataset_id)
    call = annotate(gateway, set_id, new_annotation(file_id, "echo"), request_id=request_id)
    await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
    ids = await annotate(gateway, set_id, new_annotation(file_id), request_id=request_id)
    assert await annotate(gateway, set_id, new_annotation(file_id), request_id=request_id) == ids
    assert await gateway.count("annotations") == 1


async def test_a_repeated_publish_gets_the_first_reply(gateway) -> None:
    set_id, request_id = (await draft(gateway, await dataset(gateway))).id, str(uuid4())
    assert await publish(gateway, set_id, request_id=request_id) == await publish(
        gateway, set_id, request_id=request_id
    )


async def test_the_order_of_fields_on_the_wire_does_not_change_the_body(gateway) -> None:
    set_id, request_id = (await draft(gateway, await dataset(gateway))).id, str(uuid4())
    fields = (
        annotation_pb.PublishAnnotationSetRequest(annotation_set_id=set_id).SerializeToString(),
        annotation_pb.PublishAnnotationSetRequest(request_id=request_id).SerializeToString(),
    )
    raw = gateway.channel.unary_unary("/earmark.v1.AnnotationService/PublishAnnotationSet")
    assert await raw(fields[0] + fields[1]) == await raw(fields[1] + fields[0])


async def test_replies_are_deleted_after_a_day(gateway) -> None:
    kept, old = uuid4(), uuid4()
    async with gateway.database.transaction() as connection:
        for request_id in (kept, old):
            assert await idempotency.claim(connection, "default", request_id, b"body") is None
            await idempotency.store_reply(connection, "default", request_id, b"reply")
        await connection.execute(
            "UPDATE requests SET created_at = now() - interval '24 hours 1 second' WHERE request_id = $1", old
        )
        await idempotency.delete_old(connection)
        assert await idempotency.reply(connection, "default", kept, b"body") == b"reply"
        assert await idempotency.reply(connection, "default", old, b"body") is None
        assert await idempotency.reply(connection, "other", kept, b"body") is None
        with pytest.raises(idempotency.RequestIdReusedError):
            await idempotency.reply(connection, "default", kept, b"another")
