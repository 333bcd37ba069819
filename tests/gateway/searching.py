"""A gateway that searches with a made-up trainer, and the calls of its detection jobs."""

from earmark.v1 import detection_service_pb2 as pb
from earmark.v1.detection_service_pb2_grpc import DetectionServiceStub
from tests.gateway import rows
from tests.gateway.detecting_trainer import DetectingTrainer


class Here:
    """A gateway with a trainer, an active model and a dataset of ready files."""

    def __init__(self, channel, model_id: str, built: rows.Built, trainer: DetectingTrainer) -> None:
        self.channel, self.model_id, self.built, self.trainer = channel, model_id, built, trainer
        self.stub = DetectionServiceStub(channel)

    async def create(self, **fields) -> pb.DetectionJob:
        of_dataset = not fields.keys() & {"recording_ids", "uris"}
        chosen = {"dataset_id": str(self.built.dataset_id)} if of_dataset else {}
        request = pb.CreateDetectionJobRequest(**{"model_id": self.model_id} | chosen | fields)
        return (await self.stub.CreateDetectionJob(request)).detection_job

    async def now(self, job_id: str) -> pb.DetectionJob:
        return (
            await self.stub.GetDetectionJob(pb.GetDetectionJobRequest(detection_job_id=job_id))
        ).detection_job

    async def events(self, job_id: str, after: int = 0) -> list[pb.DetectionEvent]:
        request = pb.WatchDetectionJobRequest(detection_job_id=job_id, after_revision=after)
        return [r.event async for r in self.stub.WatchDetectionJob(request) if r.HasField("event")]

    async def ended(self, job_id: str) -> pb.DetectionJob:
        await self.events(job_id)
        return await self.now(job_id)

    async def files(self, job_id: str, **fields) -> list[pb.DetectionFile]:
        request = pb.ListDetectionFilesRequest(detection_job_id=job_id, **fields)
        return list((await self.stub.ListDetectionFiles(request)).files)

    async def detections(self, job_id: str, **fields) -> list[pb.JobDetection]:
        result, token = [], ""
        while True:
            request = pb.ListDetectionsRequest(detection_job_id=job_id, page_token=token, **fields)
            page = await self.stub.ListDetections(request)
            result += page.detections
            token = page.next_page_token
            if not token:
                return result

    async def upload(self, data: bytes, **metadata) -> pb.Recording:
        facts = {"filename": "call.wav", "size_bytes": len(data)} | metadata
        messages = [pb.UploadRecordingRequest(metadata=facts), pb.UploadRecordingRequest(part={"data": data})]
        return (await self.stub.UploadRecording(iter(messages))).recording
