"""The protos' rules are checked for long lists as for short ones, and other calls are served meanwhile."""

import asyncio

import pytest

from earmark.gateway.errors import InvalidArgumentError
from earmark.gateway.field_rules import SLICE, check
from earmark.v1 import annotation_service_pb2, training_service_pb2
from tests.gateway.calls import NOWHERE


def batch(count: int, **wrong: int) -> annotation_service_pb2.BatchCreateAnnotationsRequest:
    """A batch of annotations; `wrong`, such as `at=7`, ends before it starts."""
    spec = {"audio_file_id": NOWHERE, "artifact_type": "glitch", "start_ms": 5}
    request = annotation_service_pb2.BatchCreateAnnotationsRequest(
        annotation_set_id=NOWHERE, annotations=[spec | {"end_ms": 6} for _ in range(count)]
    )
    for index in wrong.values():
        request.annotations[index].end_ms = 5
    return request


async def fields(request) -> list[str]:
    with pytest.raises(InvalidArgumentError) as caught:
        await check(request)
    return [violation.field for violation in caught.value.violations]


async def test_a_violation_is_named_by_its_index_in_the_whole_list() -> None:
    rule = "annotations[{}]"
    found = await fields(batch(3 * SLICE, first=0, before=SLICE - 1, after=SLICE, last=3 * SLICE - 1))
    wanted = [rule.format(index) for index in (0, SLICE - 1, SLICE, 3 * SLICE - 1)]
    assert [field.partition(".")[0] for field in found] == wanted


async def test_rules_of_the_other_fields_are_checked_with_a_long_list() -> None:
    request = batch(2 * SLICE)
    request.annotation_set_id = "nonsense"
    assert set(await fields(request)) == {"annotation_set_id"}


async def test_a_long_list_that_is_too_long_is_refused_by_its_length_alone() -> None:
    request = batch(10_001, wrong=0)
    with pytest.raises(InvalidArgumentError, match=r"no more than 10000 items \(found 10001\)"):
        await check(request)
    assert await fields(request) == ["annotations"]
    job = training_service_pb2.CreateTrainingJobRequest(metadata={str(n): "" for n in range(SLICE + 1)})
    job.config.artifact_types.extend(map(str, range(201)))
    assert sorted(await fields(job)) == ["config.artifact_types", "metadata"]


async def test_other_tasks_run_between_the_slices() -> None:
    task, turns = asyncio.create_task(check(batch(10_000))), 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    await task
    assert turns > 3


async def test_a_batch_without_any_valid_annotation_is_refused_by_its_first_ones() -> None:
    request = annotation_service_pb2.BatchCreateAnnotationsRequest(
        annotation_set_id=NOWHERE, annotations=[{} for _ in range(10_000)]
    )
    found = {field.partition(".")[0] for field in await fields(request)}
    assert found == {f"annotations[{index}]" for index in range(SLICE)}
