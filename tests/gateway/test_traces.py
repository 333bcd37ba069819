"""A job's attempts are in the trace of the call that created it."""

from grpc import aio

from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.collector import collecting
from tests.gateway import scripted_trainer as script
from tests.gateway.calls import NOWHERE, refused
from tests.gateway.dispatcher.test_attempts import dies
from tests.gateway.jobs import build_one, gateway, watched

SERVICE = "earmark.v1.TrainingService"
CREATE = f"{SERVICE}/CreateTrainingJob"
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
# What spans may tell: nothing that callers choose, or that is secret.
ATTRIBUTES = {
    *("rpc.system.name", "rpc.method", "rpc.response.status_code", "earmark.request_id"),
    *("earmark.training_job_id", "earmark.attempt", "earmark.outcome", "server.address", "error.type"),
}


async def create(channel: aio.Channel, built, *metadata: tuple[str, str]) -> aio.UnaryUnaryCall:
    request = pb.CreateTrainingJobRequest(
        dataset_id=str(built.dataset_id),
        annotation_set_id=str(built.annotation_set_id),
        config={"artifact_types": ["glitch"], "epochs": 2},
        metadata={"secret": "of a tenant"},
    )
    call = TrainingServiceStub(channel).CreateTrainingJob(request, metadata=metadata)
    await watched(channel, (await call).training_job.id)
    return call


async def test_a_second_attempt_is_in_the_same_trace(database_url, tmp_path) -> None:
    built, sent = await build_one(database_url), []

    async def noted(call):
        sent.append(dict(call.context.invocation_metadata()).get("traceparent"))
        async for response in (dies if call.job.attempt == 1 else script.whole)(call):
            yield response

    trainer = script.ScriptedTrainer(noted, noted)
    with collecting() as collector:
        async with (
            script.serving(trainer) as address,
            gateway(database_url, tmp_path, address, traces_endpoint=collector.endpoint) as channel,
        ):
            call = await create(channel, built, ("traceparent", CALLER))
    [created], attempts = collector.named(CREATE), collector.named("training attempt")
    assert (created.trace, created.parent) == tuple(CALLER.split("-")[1:3])
    request_id = dict(await call.trailing_metadata())["x-request-id"]
    assert created.attributes["earmark.request_id"] == request_id
    assert {(span.trace, span.parent) for span in attempts} == {(created.trace, created.id)}
    assert [span.attributes["earmark.outcome"] for span in attempts] == ["lost", "completed"]
    assert [span.attributes["earmark.attempt"] for span in attempts] == [1, 2]
    assert [span.is_error for span in (created, *attempts)] == [False, True, False]
    # Also to the trainer.
    assert sent == [span.traceparent for span in attempts]
    assert {span.service for span in collector.spans} == {"earmark-gateway"}
    assert set().union(*(span.attributes for span in collector.spans)) <= ATTRIBUTES
    assert "of a tenant" not in str(collector.spans)


async def test_calls_begin_traces_of_their_own_and_refusals_are_no_faults(database_url, tmp_path) -> None:
    with collecting() as collector:
        async with gateway(database_url, tmp_path, traces_endpoint=collector.endpoint) as channel:
            stub = TrainingServiceStub(channel)
            for parent in ("", "no-parent"):
                get = stub.GetTrainingJob(
                    pb.GetTrainingJobRequest(training_job_id=NOWHERE), metadata=(("traceparent", parent),)
                )
                await refused(get, "NOT_FOUND", "NOT_FOUND")
            watch = stub.WatchTrainingJobs(pb.WatchTrainingJobsRequest())
            await watch.initial_metadata()
            watch.cancel()
    gets = collector.named(f"{SERVICE}/GetTrainingJob")
    assert len({span.trace for span in gets}) == 2
    for span in (*gets, *collector.named(f"{SERVICE}/WatchTrainingJobs")):
        assert (span.parent, span.is_error) == ("", False)
    codes = [span.attributes["rpc.response.status_code"] for span in collector.spans]
    assert codes == ["NOT_FOUND", "NOT_FOUND", "CANCELLED"]


async def test_a_caller_who_is_not_sampled_is_not_traced(database_url, tmp_path) -> None:
    built = await build_one(database_url)
    with collecting() as collector:
        async with (
            script.serving(script.ScriptedTrainer(script.whole)) as address,
            gateway(database_url, tmp_path, address, traces_endpoint=collector.endpoint) as channel,
        ):
            await create(channel, built, ("traceparent", CALLER.removesuffix("01") + "00"))
    assert not collector.named(CREATE)
    assert not collector.named("training attempt")
