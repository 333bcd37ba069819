"""Every reply has the call's id in its metadata, and the log has the call under this id."""

import structlog

from earmark.v1 import audio_service_pb2, dataset_service_pb2
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway.calls import NOWHERE, dataset, messages, refused


def logged():
    return structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars])


async def trailing_id(call) -> str:
    [request_id] = [value for key, value in await call.trailing_metadata() if key == "x-request-id"]
    return request_id


async def test_each_reply_has_an_id_of_its_own(gateway) -> None:
    calls = [gateway.datasets.ListDatasets(dataset_service_pb2.ListDatasetsRequest()) for _ in range(2)]
    for call in calls:
        await call
    upload = gateway.audio.UploadAudio(iter(messages(await dataset(gateway), b"RIFF")))
    await upload
    assert len({await trailing_id(call) for call in (*calls, upload)}) == 3


async def test_an_error_has_the_id_under_which_the_log_has_it(gateway) -> None:
    with logged() as logs:
        call = gateway.datasets.GetDataset(dataset_service_pb2.GetDatasetRequest(dataset_id=NOWHERE))
        assert (await refused(call, "NOT_FOUND", "NOT_FOUND")).resource[1] == NOWHERE
        download = gateway.audio.DownloadAudio(audio_service_pb2.DownloadAudioRequest(audio_file_id=NOWHERE))
        assert (await refused(download.read(), "NOT_FOUND", "NOT_FOUND")).resource[1] == NOWHERE
    ids = [line["request"] for line in logs if line["event"] == "refused"]
    assert ids == [await trailing_id(call), await trailing_id(download)]


async def test_an_internal_error_names_the_same_id(gateway) -> None:
    await gateway.execute("DROP VIEW dataset_details")
    call = gateway.datasets.ListDatasets(dataset_service_pb2.ListDatasetsRequest())
    refusal = await refused(call, "INTERNAL", "INTERNAL")
    assert refusal.info.metadata["request_id"] == await trailing_id(call)


async def test_a_stream_has_its_id_before_its_first_message(gateway) -> None:
    stub = TrainingServiceStub(gateway.channel)
    call = stub.WatchTrainingJobs(pb.WatchTrainingJobsRequest())
    metadata = dict(await call.initial_metadata())
    assert len(metadata["x-request-id"]) == 36
    call.cancel()
