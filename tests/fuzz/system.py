"""A gateway, a trainer and PostgreSQL as real processes, beside the data of a bystander."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpc import RpcError, StatusCode, aio

from bench.load.system import Server, server
from earmark.client import Client, connect
from earmark.client.backoff import Retries
from earmark.grants import Signer
from earmark.storage.embedded import EmbeddedPostgres
from earmark.trainer_secret import find_secrets
from earmark.v1 import annotation_service_pb2 as annotations
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import dataset_service_pb2 as datasets
from earmark.v1 import model_service_pb2 as models
from earmark.v1 import training_service_pb2 as training
from tests.conftest import FAST
from tests.fuzz.callers import Callers, make_callers
from tests.fuzz.calls import CHANNEL_OPTIONS
from tests.fuzz.victim import Victim, active_models, make_victim, trained


@dataclass(frozen=True)
class System:
    """What is called. The trainer is also called directly, as nobody but gateways should be able to.

    Its models are active. The victim is what the calls may harm first.
    """

    folder: Path
    gateway: Server
    trainer: Server
    channels: dict[str, aio.Channel]
    # Of the gateway, for the calls of the trainer.
    signer: Signer
    callers: Callers
    bystander: "Bystander"
    victim: Victim
    models: list[models.Model]

    def dead(self) -> list[str]:
        """The services whose process has ended."""
        services = {"gateway": self.gateway, "trainer": self.trainer}
        return [name for name, service in services.items() if not _is_alive(service)]

    @property
    def own_channel(self) -> aio.Channel:
        """The gateway's, with the key of the tenant whose data the calls may harm."""
        return self.callers.channel(self.channels["earmark.v1"], self.callers.secrets["own"])

    @property
    def objects(self) -> Path:
        """The folder of all stored objects."""
        return self.folder / "objects"


def _is_alive(service: Server) -> bool:
    return service.process.is_running() and service.process.status() != "zombie"


class Bystander:
    """Another tenant with a dataset, annotations, a job and its model, which calls name and cannot reach."""

    def __init__(self, client: Client, data: Victim) -> None:
        """The job has ended."""
        self._client = client
        self._data = data
        self._before = self._seen()

    @property
    def ids(self) -> list[tuple[str, str]]:
        """The kinds and ids of what it has."""
        return [
            ("dataset_id", self._data.dataset_id),
            ("annotation_set_id", self._data.annotation_set_id),
            *(("training_job_id", job_id) for job_id in self._data.job_ids),
            ("model_id", self._job().model_id),
            *(("audio_file_id", file.id) for file in self._files()),
            *(("annotation_id", annotation.id) for annotation in self._annotations()),
        ]

    def changes(self) -> list[str]:
        """What is not as it was, in words."""
        now = self._seen_in_the_end()
        return [f"{name} of the bystander changed" for name in now if now[name] != self._before[name]]

    def _seen_in_the_end(self) -> dict[str, Any]:
        """A gateway that has seen many wrong keys from this address takes no key anew for some seconds."""
        retries = Retries(None, lambda error: error.code() is StatusCode.RESOURCE_EXHAUSTED)
        while True:
            try:
                return self._seen()
            except RpcError as error:
                time.sleep(retries.delay(error))

    def _seen(self) -> dict[str, Any]:
        client, data, files = self._client, self._data, self._files()
        return {
            "dataset": client.datasets.GetDataset(datasets.GetDatasetRequest(dataset_id=data.dataset_id)),
            "files": files,
            "uploads": [self._downloaded(file.id) for file in files],
            "annotation set": client.annotations.GetAnnotationSet(
                annotations.GetAnnotationSetRequest(annotation_set_id=data.annotation_set_id)
            ),
            "annotations": self._annotations(),
            "job": self._job(),
            "model": client.models.GetModel(models.GetModelRequest(model_id=self._job().model_id)),
        }

    def _job(self) -> training.TrainingJob:
        request = training.GetTrainingJobRequest(training_job_id=self._data.job_ids[0])
        return self._client.training.GetTrainingJob(request).training_job

    def _files(self) -> list[audio.AudioFile]:
        request = audio.ListAudioFilesRequest(dataset_id=self._data.dataset_id)
        return list(self._client.audio.ListAudioFiles(request).audio_files)

    def _annotations(self) -> list[annotations.Annotation]:
        request = annotations.ListAnnotationsRequest(
            annotation_set_id=self._data.annotation_set_id, page_size=1000
        )
        return list(self._client.annotations.ListAnnotations(request).annotations)

    def _downloaded(self, audio_file_id: str) -> bytes:
        request = audio.DownloadAudioRequest(audio_file_id=audio_file_id)
        return b"".join(part.data for part in self._client.audio.DownloadAudio(request))


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[System]:
    """Starts them in a folder, which also gets their logs."""
    environment = {
        "EARMARK_DATA_DIR": str(folder),
        "EARMARK_NETWORK": "tiny",
        "EARMARK_PORT": "0",
        "EARMARK_PRECOMPILE": "false",
        "EARMARK_TRAINER_PORT": "0",
    }
    async with AsyncExitStack() as stack:
        start = stack.enter_async_context
        postgres, trainer = await asyncio.gather(
            start(EmbeddedPostgres(folder / "postgres", settings=FAST)),
            start(_service("trainer", folder, environment)),
        )
        environment |= {"EARMARK_DATABASE_URL": postgres.dsn, "EARMARK_TRAINERS": trainer.address}
        gateway = await start(_service("gateway", folder, environment))
        channels = {
            package: await start(aio.insecure_channel(service.address, options=CHANNEL_OPTIONS))
            for package, service in {"earmark.v1": gateway, "earmark.internal.v1": trainer}.items()
        }
        callers = await make_callers(channels["earmark.v1"])
        own, other = (
            callers.channel(channels["earmark.v1"], secret)
            for secret in (callers.secrets["own"], callers.bystander)
        )
        spared, victim = await asyncio.gather(make_victim(other, jobs=1), make_victim(own))
        await trained(other, *spared.job_ids)
        await trained(own, *victim.job_ids)
        client = stack.enter_context(connect(gateway.address, api_key=callers.bystander))
        signer = Signer(find_secrets(None, folder)[0])
        models_of_own = await active_models(own)
        bystander = Bystander(client, spared)
        yield System(folder, gateway, trainer, channels, signer, callers, bystander, victim, models_of_own)


@asynccontextmanager
async def _service(name: str, folder: Path, environment: dict[str, str]) -> AsyncIterator[Server]:
    with (folder / f"{name}.log").open("ab") as log:
        async with server(f"earmark.{name}", environment=environment, log=log) as service:
            yield service
