"""Another tenant: rows of every kind, of which no client may see anything, and a client of its own."""

import asyncio
from dataclasses import astuple, dataclass

from google.protobuf.message import Message
from uuid_utils.compat import uuid7

from bench.faults.api import Api
from bench.faults.dataset import TrainingData
from earmark.client import connect
from earmark.storage.database import Database
from earmark.storage.queries import datasets
from earmark.storage.records import ArtifactType
from earmark.v1 import admin_service_pb2 as admin
from earmark.v1 import annotation_service_pb2 as annotation
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import dataset_service_pb2 as dataset
from earmark.v1 import model_service_pb2 as model
from earmark.v1 import training_service_pb2 as training
from earmark.v1.scope_pb2 import Scope

TENANT = "other"
SECRET = "secret of the other tenant"
# The name of its client.
CLIENT = "stranger"


@dataclass(frozen=True, slots=True)
class OtherTenant:
    """The ids of the other tenant's rows."""

    dataset_id: str
    file_id: str
    set_id: str
    job_id: str
    model_id: str

    @property
    def secrets(self) -> frozenset[str]:
        """Texts that must not occur in any reply to the drill's clients."""
        return frozenset((SECRET, *astuple(self)))


@dataclass(frozen=True, slots=True)
class Keys:
    """The API keys of the drill's clients, and of the other tenant's client."""

    own: str
    stranger: str


def create_keys(address: str) -> Keys:
    """Creates the other tenant, and all keys. From then on, every call needs one."""
    scopes = [Scope.SCOPE_READ, Scope.SCOPE_WRITE, Scope.SCOPE_TRAIN, Scope.SCOPE_DETECT]
    with connect(address) as client:
        client.admin.CreateTenant(admin.CreateTenantRequest(tenant_id=TENANT))
        request = admin.CreateApiKeyRequest(
            tenant_id="default", name="drill", scopes=[*scopes, Scope.SCOPE_ADMIN]
        )
        own = client.admin.CreateApiKey(request).secret
    with connect(address, api_key=own) as client:
        request = admin.CreateApiKeyRequest(tenant_id=TENANT, name="stranger", scopes=scopes)
        return Keys(own, client.admin.CreateApiKey(request).secret)


async def calls(api: Api, data: TrainingData, mine: OtherTenant, stop: asyncio.Event) -> None:
    """Until `stop`: the other tenant's client reads what is its own, and asks for what is the drill's."""
    while not stop.is_set():
        jobs = [watcher.job_id for watcher in api.observed.watchers[-5:]]
        method, request, expected = api.rng.choice(_requests(data, mine, jobs))
        await api.call(method, request, expected=expected)
        await api.pause(0.1, 0.5)


def _requests(
    data: TrainingData, mine: OtherTenant, jobs: list[str]
) -> list[tuple[str, Message, tuple[str, ...]]]:
    """The method, a request, and the reasons for which it must be refused."""
    allowed: list[tuple[str, Message]] = [
        ("ListTrainingJobs", training.ListTrainingJobsRequest()),
        ("ListDatasets", dataset.ListDatasetsRequest()),
        ("ListModels", model.ListModelsRequest(show_deleted=True)),
        ("GetDataset", dataset.GetDatasetRequest(dataset_id=mine.dataset_id)),
        ("ListAnnotations", annotation.ListAnnotationsRequest(annotation_set_id=mine.set_id)),
    ]
    refused: list[tuple[str, Message]] = [
        ("GetDataset", dataset.GetDatasetRequest(dataset_id=data.dataset_id)),
        ("DeleteDataset", dataset.DeleteDatasetRequest(dataset_id=data.dataset_id, force=True)),
        ("ListAudioFiles", audio.ListAudioFilesRequest(dataset_id=data.dataset_id)),
        ("GetAudioFile", audio.GetAudioFileRequest(audio_file_id=data.file_ids[0])),
        ("DeleteAudioFile", audio.DeleteAudioFileRequest(audio_file_id=data.file_ids[0], force=True)),
        ("ListAnnotations", annotation.ListAnnotationsRequest(annotation_set_id=data.set_id)),
        *(("GetTrainingJob", training.GetTrainingJobRequest(training_job_id=job)) for job in jobs),
        *(("CancelTrainingJob", training.CancelTrainingJobRequest(training_job_id=job)) for job in jobs),
    ]
    return [(*each, ()) for each in allowed] + [(*each, ("NOT_FOUND",)) for each in refused]


async def insert(dsn: str) -> OtherTenant:
    """Inserts a dataset with a file, a published annotation set, and a completed job with its model."""
    dataset_id, file_id, set_id, job_id, model_id = ids = [uuid7() for _ in range(5)]
    async with Database(dsn) as database, database.transaction() as connection:
        kind = ArtifactType(SECRET, "", "#FF0000")
        await datasets.create(connection, TENANT, dataset_id, SECRET, SECRET, [kind])
        await connection.execute(
            "INSERT INTO audio_files (id, tenant_id, dataset_id, original_filename, content_type, size_bytes,"
            " sha256, duration_ms, sample_rate_hz, channels, processing_status, revision)"
            " VALUES ($1, $2, $3, $4, '', 1, '', 600000, 8000, 1, 'ready', 1)",
            *(file_id, TENANT, dataset_id, SECRET),
        )
        await connection.execute(
            "INSERT INTO annotation_sets (id, tenant_id, dataset_id, version, status, totals, published_at)"
            " VALUES ($1, $2, $3, 1, 'published', '{}', now())",
            *(set_id, TENANT, dataset_id),
        )
        await connection.execute(
            "INSERT INTO annotations (id, tenant_id, annotation_set_id, audio_file_id, dataset_id,"
            " artifact_type, start_ms, end_ms, confidence) VALUES ($1, $2, $3, $4, $5, $6, 0, 1, 1)",
            *(uuid7(), TENANT, set_id, file_id, dataset_id, SECRET),
        )
        await connection.execute(
            "INSERT INTO training_jobs (id, tenant_id, dataset_id, annotation_set_id, config, metadata,"
            " status, total_epochs, model_id, finished_at, attempt, revision)"
            " VALUES ($1, $2, $3, $4, $5, $6, 'completed', 1, $7, now(), 1, 1)",
            *(job_id, TENANT, dataset_id, set_id, {"artifact_types": [SECRET]}, {SECRET: SECRET}, model_id),
        )
        await connection.execute(
            "INSERT INTO events"
            " (tenant_id, resource, resource_id, dataset_id, kind, status, attempt, revision, body)"
            " VALUES ($1, 'training_job', $2, $3, 'notice', 'completed', 1, 1, $4)",
            *(TENANT, job_id, dataset_id, {"notice": {"message": SECRET}}),
        )
        await connection.execute(
            "INSERT INTO models (id, tenant_id, training_job_id, dataset_id, name, name_key, artifact_types,"
            " eval_metrics, recommended_thresholds, merge_windows_ms, min_durations_ms, weights,"
            " model_config, size_bytes, sha256, config, best_epoch, annotation_set_id,"
            " annotation_set_version, audio_file_count, audio_duration_ms, earmark_version, frontend_version)"
            " VALUES ($1, $2, $3, $4, $5, $5, $6, '{}', '{}', '{}', '{}', '', '', 1, '', '{}', 1, $7, 1, 1,"
            " 1, '', '')",
            *(model_id, TENANT, job_id, dataset_id, SECRET, [SECRET], set_id),
        )
    return OtherTenant(*map(str, ids))
