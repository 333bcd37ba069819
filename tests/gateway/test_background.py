"""Every kind of background task of the gateway survives an error that nobody expected."""

import asyncio

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earmark import background
from earmark.gateway import detection_counts
from earmark.gateway.detection_counts import DetectionCounts
from earmark.gateway.dispatcher.dispatcher import Dispatcher
from earmark.gateway.fleet.discovery import Discovery
from earmark.gateway.fleet.trainers import Trainers
from earmark.health import BACKGROUND
from earmark.storage import bus
from earmark.v1 import admin_service_pb2 as pb
from earmark.v1.admin_service_pb2_grpc import AdminServiceStub
from tests.gateway.calls import dataset, opened, upload

ENTRIES = "dns:///localhost:1,127.0.0.1:1"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(background, "FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(bus, "PING_SECONDS", 0.0)
    monkeypatch.setattr(detection_counts, "WRITE_SECONDS", 0.0)


@pytest.fixture
def failing(monkeypatch):
    """Makes a function raise the given number of times, then sets the event and works as before."""

    def patch(owner, name: str, times: int = 1) -> asyncio.Event:
        inner, again, calls = getattr(owner, name), asyncio.Event(), 0

        def call(*arguments):
            nonlocal calls
            calls += 1
            if calls <= times:
                raise RuntimeError("nobody expected this")
            again.set()
            return inner(*arguments)

        monkeypatch.setattr(owner, name, call)
        return again

    return patch


async def tasks(gateway) -> dict[str, pb.BackgroundTask]:
    reply = await AdminServiceStub(gateway.channel).ListBackgroundTasks(pb.ListBackgroundTasksRequest())
    return {task.name: task for task in reply.tasks}


@pytest.mark.parametrize(
    ("name", "owner", "function"),
    [
        ("listening for changes", bus, "_ping"),
        ("notifying other gateways", bus, "notify"),
        ("resolving dns:///localhost:1", Discovery, "_record_addresses"),
        ("watching trainer 127.0.0.1:1", Trainers, "_mark_unavailable"),
        ("dispatching jobs", Dispatcher, "_dispatch_jobs"),
        ("dispatching audio files", Dispatcher, "_dispatch_files"),
        ("taking over lost jobs", Dispatcher, "_take_over_lost_jobs"),
        ("cleaning up", Dispatcher, "_clean_up"),
        ("counting detections", DetectionCounts, "write"),
    ],
)
async def test_it_goes_on(name, owner, function, failing, database_url, tmp_path) -> None:
    again = failing(owner, function)
    async with opened(database_url, tmp_path, trainers=ENTRIES) as gateway:
        await upload(gateway, await dataset(gateway, "glitch"))
        await again.wait()
        task = (await tasks(gateway))[name]
        assert (task.restarts, task.last_error) == (1, "RuntimeError: nobody expected this")
        assert task.HasField("failed_at")
        assert not task.keeps_failing


async def test_a_gateway_lists_its_tasks(database_url, tmp_path) -> None:
    async with opened(database_url, tmp_path) as gateway:
        listed = await tasks(gateway)
    assert all(task == pb.BackgroundTask(name=name) for name, task in listed.items())
    assert list(listed) == [
        "listening for changes",
        "notifying other gateways",
        "watching the disk",
        "watching API keys",
        "recording the use of API keys",
        "watching quotas",
        "writing the audit log",
        "counting detections",
        "dispatching jobs",
        "dispatching audio files",
        "taking over lost jobs",
        "cleaning up",
        "health",
        "measuring the event loop",
    ]


async def become(gateway, service: str, status: int) -> None:
    """Returns once the health service reports this status."""
    watch = health_pb2_grpc.HealthStub(gateway.channel).Watch(health_pb2.HealthCheckRequest(service=service))
    async for response in watch:
        if response.status == status:
            return


async def test_a_task_that_keeps_failing_shows_in_the_health(
    failing, database_url, tmp_path, monkeypatch
) -> None:
    states = health_pb2.HealthCheckResponse
    again = failing(Dispatcher, "_clean_up", times=background.FAILURES)
    async with opened(database_url, tmp_path) as gateway:
        await become(gateway, BACKGROUND, states.NOT_SERVING)
        await again.wait()
        assert (await tasks(gateway))["cleaning up"].keeps_failing
        # Calls are served all the same.
        await become(gateway, "", states.SERVING)
        await become(gateway, "earmark.v1.AdminService", states.SERVING)
        monkeypatch.setattr(background, "STEADY_SECONDS", -1.0)
        await become(gateway, BACKGROUND, states.SERVING)
