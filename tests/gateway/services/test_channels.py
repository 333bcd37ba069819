"""The channels of annotations: stored, changed, listed, copied, and checked against the file's."""

from uuid import uuid4

from tests.gateway.annotation_calls import get_set, listed, update
from tests.gateway.calls import (
    NOWHERE,
    annotate,
    dataset,
    decoded,
    draft,
    finish_processing,
    new_annotation,
    publish,
    refused,
    upload,
)


async def stereo_draft(gateway) -> tuple[str, str]:
    """The ids of a decoded file with two channels, and of an empty draft."""
    dataset_id = await dataset(gateway, "glitch")
    return await decoded(gateway, dataset_id, channels=2), (await draft(gateway, dataset_id)).id


async def dataset_of(gateway, set_id: str) -> str:
    return (await get_set(gateway, set_id)).dataset_id


def channels(annotations) -> list[int | None]:
    return [one.channel if one.HasField("channel") else None for one in annotations]


async def test_annotations_that_differ_in_their_channel_alone_are_all_stored_and_copied(gateway) -> None:
    file_id, set_id = await stereo_draft(gateway)
    one, left, right = new_annotation(file_id), {"channel": 0}, {"channel": 1}
    await annotate(gateway, set_id, one | right, one, one | left)
    stored = await listed(gateway, set_id)
    assert channels(stored) == [1, None, 0]
    assert (await publish(gateway, set_id)).total_annotations == 3
    copy = await draft(gateway, await dataset_of(gateway, set_id), copy_of=set_id)
    assert channels(await listed(gateway, copy.id)) == [1, None, 0]


async def test_a_list_can_be_filtered_by_channel(gateway) -> None:
    file_id, set_id = await stereo_draft(gateway)
    ids = await annotate(gateway, set_id, *(new_annotation(file_id, channel=n) for n in (None, 0, 1)))
    assert [a.id for a in await listed(gateway, set_id, channels=[1])] == ids[2:]
    assert [a.id for a in await listed(gateway, set_id, channels=[0, 1])] == ids[1:]
    assert await listed(gateway, set_id, channels=[7]) == []


async def test_a_channel_that_no_file_can_have_is_refused(gateway) -> None:
    for channel in (-1, 8):
        calls = [
            ("annotations[0].channel", annotate(gateway, NOWHERE, new_annotation(NOWHERE, channel=channel))),
            ("annotation.channel", update(gateway, NOWHERE, channel=channel)),
            ("channels[0]", listed(gateway, NOWHERE, channels=[channel])),
        ]
        for field, call in calls:
            refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
            assert list(refusal.fields) == [field]


async def test_a_channel_that_the_decoded_file_does_not_have_is_refused(gateway) -> None:
    file_id, set_id = await stereo_draft(gateway)
    mono = await decoded(gateway, await dataset_of(gateway, set_id))
    call = annotate(
        gateway,
        set_id,
        new_annotation(file_id, channel=2),
        new_annotation(file_id, channel=1),
        new_annotation(mono, channel=1),
    )
    refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == {
        "annotations[0].channel": f"audio file {file_id} has no channel 2: its channels are 0 to 1; choose "
        "another, or leave channel out",
        "annotations[2].channel": f"audio file {mono} has no channel 1: its only channel is 0; choose "
        "another, or leave channel out",
    }
    assert await listed(gateway, set_id) == []


async def test_an_update_sets_changes_and_removes_the_channel(gateway) -> None:
    file_id, set_id = await stereo_draft(gateway)
    [annotation_id] = await annotate(gateway, set_id, new_annotation(file_id))
    changes = [({"channel": 0}, 0), ({"channel": 1}, 1), ({"end_ms": 300}, 1), ({"mask": ("channel",)}, None)]
    for fields, expected in changes:
        updated = (await update(gateway, annotation_id, **fields)).annotation
        assert channels([updated]) == [expected]
        assert await listed(gateway, set_id) == [updated]
    refusal = await refused(update(gateway, annotation_id, channel=2), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert list(refusal.fields) == ["annotation.channel"]
    assert await listed(gateway, set_id) == [updated]


async def test_another_channel_is_another_request(gateway) -> None:
    file_id, set_id = await stereo_draft(gateway)
    request_id = str(uuid4())
    await annotate(gateway, set_id, new_annotation(file_id), request_id=request_id)
    call = annotate(gateway, set_id, new_annotation(file_id, channel=0), request_id=request_id)
    await refused(call, "ALREADY_EXISTS", "REQUEST_ID_REUSED")


async def test_channels_of_a_file_not_decoded_yet_are_checked_when_the_set_is_published(gateway) -> None:
    dataset_id = await dataset(gateway, "glitch")
    set_id = (await draft(gateway, dataset_id)).id
    file_id = (await upload(gateway, dataset_id)).id
    _, right, third = await annotate(
        gateway,
        set_id,
        new_annotation(file_id),
        new_annotation(file_id, channel=1),
        new_annotation(file_id, channel=2, end_ms=5000),
    )
    await finish_processing(gateway, duration_ms=1000, channels=1)
    refusal = await refused(publish(gateway, set_id), "FAILED_PRECONDITION", "WRONG_STATE")
    assert [v[:2] for v in refusal.violations] == [
        ("CHANNEL_IN_AUDIO", f"annotation/{right}"),
        ("WITHIN_AUDIO", f"annotation/{third}"),
        ("CHANNEL_IN_AUDIO", f"annotation/{third}"),
    ]
    assert refusal.violations[0][2] == (
        f"annotation {right} is in channel 1, which audio file {file_id} does not have: its only channel is "
        "0; change it with UpdateAnnotation, or delete it"
    )
    await update(gateway, right, channel=0)
    await update(gateway, third, mask=("channel", "end_ms"), end_ms=300)
    assert (await publish(gateway, set_id)).total_annotations == 3
