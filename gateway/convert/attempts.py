"""Makes the messages of Train and DetectFiles calls, which give a trainer one attempt at a job."""

from collections.abc import Iterator

from earmark.gateway import object_keys
from earmark.gateway.convert.training import training_config_message
from earmark.gateway.convert.values import from_json
from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.storage.queries import detection_jobs
from earmark.storage.queries.training import ManifestFile
from earmark.storage.records import DetectionJob, Model, TrainingJob
from earmark.v1.detection_pb2 import DetectionConfig

PART_BYTES = 1 << 19  # of a file's annotations in one message


def train_job_request(job: TrainingJob, base_model: Model | None) -> pb.TrainRequest:
    """The first message of a Train call: the job, and the prefix of the objects that the attempt writes."""
    return pb.TrainRequest(
        job=pb.TrainRequest.Job(
            training_job_id=str(job.id),
            attempt=job.attempt,
            config=training_config_message(job.config),
            prefix=object_keys.attempt(job.tenant_id, job.id, job.attempt),
            resume_from=job.checkpoint or "",
            base_weights=base_model.weights if base_model else "",
            base_model_config=base_model.model_config if base_model else "",
            base_sha256=base_model.sha256 if base_model else "",
        )
    )


def train_file_requests(tenant_id: str, file: ManifestFile) -> Iterator[pb.TrainRequest]:
    """The later messages of a Train call for one file of the manifest: the file, and annotations in parts."""
    first, *others = (
        file.annotations[start : start + PART_BYTES]
        for start in range(0, max(1, len(file.annotations)), PART_BYTES)
    )
    yield pb.TrainRequest(
        file=pb.TrainRequest.File(
            audio_file_id=str(file.id),
            sha256=file.sha256,
            features=object_keys.features(tenant_id, file.id),
            duration_ms=file.duration_ms,
            group=file.group,
            annotations=first,
        )
    )
    for part in others:
        yield pb.TrainRequest(more_annotations=pb.TrainRequest.MoreAnnotations(annotations=part))


def detect_files_request(job: DetectionJob, model: Model) -> pb.DetectFilesRequest:
    """The first message of a DetectFiles call: the job and its model."""
    return pb.DetectFilesRequest(
        job=pb.DetectFilesRequest.Job(
            detection_job_id=str(job.id),
            attempt=job.attempt,
            weights=model.weights,
            model_config=model.model_config,
            sha256=model.sha256,
            config=from_json(job.config, DetectionConfig),
        )
    )


def detect_file_request(
    tenant_id: str, file: detection_jobs.ManifestFile, frontend: str
) -> pb.DetectFilesRequest:
    """A later message of a DetectFiles call: one file, with its features if they are of this front end."""
    request = pb.DetectFilesRequest.File(file_id=str(file.file_id), duration_ms=file.duration_ms)
    if file.uri is not None:
        request.uri = file.uri
    elif file.frontend is None:
        request.source = object_keys.recording_source(tenant_id, file.file_id)
    elif file.frontend == frontend:
        request.features = object_keys.features(tenant_id, file.file_id)
    else:
        request.source = object_keys.normalized(tenant_id, file.file_id)
    return pb.DetectFilesRequest(file=request)
