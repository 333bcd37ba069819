"""A gateway, a trainer and PostgreSQL as real processes, beside the data of a bystander."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpc import aio

from bench.load.system import Server, server
from earmark.client import watch
from earmark.storage.embedded import EmbeddedPostgres
from earmark.v1 import annotation_service_pb2 as annotations
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import dataset_service_pb2 as datasets
from earmark.v1 import model_service_pb2 as models
from tests.conftest import FAST
from tests.fuzz.calls import CHANNEL_OPTIONS
from tests.system.services import Trainable, trainable


@dataclass(frozen=True)
class System:
    """What is called. The trainer is also called directly, as nobody but gateways should be able to."""

    folder: Path
    gateway: Server
    trainer: Server
    channels: dict[str, aio.Channel]
    bystander: "Bystander"

    def dead(self) -> list[str]:
        """The services whose process has ended."""
        services = {"gateway": self.gateway, "trainer": self.trainer}
        return [name for name, service in services.items() if not _is_alive(service)]

    def keys(self) -> list[str]:
        """The keys of all objects that are stored now."""
        objects = self.folder / "objects"
        return sorted(str(path.relative_to(objects)) for path in objects.rglob("*") if path.is_file())


def _is_alive(service: Server) -> bool:
    return service.process.is_running() and service.process.status() != "zombie"


class Bystander:
    """A user with a dataset, annotations, a job and its model, whose calls come between the fuzzer's."""

    def __init__(self, data: Trainable) -> None:
        self.data = data
        self.job = data.create(epochs=1)
        for _ in watch(data.client, self.job.id):
            pass
        self.model_id = data.job(self.job.id).model_id
        self._before = self._seen()

    @property
    def ids(self) -> set[str]:
        """The ids that no call of the fuzzer may name."""
        files = self._files()
        return {
            self.data.dataset_id,
            self.data.annotation_set_id,
            self.job.id,
            self.model_id,
            *(file.id for file in files),
            *(annotation.id for annotation in self._annotations()),
        }

    def changes(self) -> list[str]:
        """What is not as it was, in words."""
        now = self._seen()
        return [f"{name} of the bystander changed" for name in now if now[name] != self._before[name]]

    def _seen(self) -> dict[str, Any]:
        client, dataset_id = self.data.client, self.data.dataset_id
        files = self._files()
        set_request = annotations.GetAnnotationSetRequest(annotation_set_id=self.data.annotation_set_id)
        return {
            "dataset": client.datasets.GetDataset(datasets.GetDatasetRequest(dataset_id=dataset_id)),
            "files": files,
            "uploads": [self._downloaded(file.id) for file in files],
            "annotation set": client.annotations.GetAnnotationSet(set_request),
            "annotations": self._annotations(),
            "job": self.data.job(self.job.id),
            "model": client.models.GetModel(models.GetModelRequest(model_id=self.model_id)),
        }

    def _files(self) -> list[audio.AudioFile]:
        request = audio.ListAudioFilesRequest(dataset_id=self.data.dataset_id)
        return list(self.data.client.audio.ListAudioFiles(request).audio_files)

    def _annotations(self) -> list[annotations.Annotation]:
        request = annotations.ListAnnotationsRequest(
            annotation_set_id=self.data.annotation_set_id, page_size=1000
        )
        return list(self.data.client.annotations.ListAnnotations(request).annotations)

    def _downloaded(self, audio_file_id: str) -> bytes:
        request = audio.DownloadAudioRequest(audio_file_id=audio_file_id)
        return b"".join(part.data for part in self.data.client.audio.DownloadAudio(request))


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[System]:
    """Starts them in a folder, which also gets their logs."""
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(EmbeddedPostgres(folder / "postgres", settings=FAST))
        environment = {
            "EARMARK_DATA_DIR": str(folder),
            "EARMARK_DATABASE_URL": postgres.dsn,
            "EARMARK_NETWORK": "tiny",
            "EARMARK_PORT": "0",
            "EARMARK_TRAINER_PORT": "0",
        }
        services = {}
        for name in ("trainer", "gateway"):
            log = stack.enter_context((folder / f"{name}.log").open("ab"))
            services[name] = await stack.enter_async_context(
                server(f"earmark.{name}", environment=environment, log=log)
            )
            environment["EARMARK_TRAINERS"] = services["trainer"].address
        packages = {"earmark.v1": services["gateway"], "earmark.internal.v1": services["trainer"]}
        channels = {
            package: await stack.enter_async_context(
                aio.insecure_channel(service.address, options=CHANNEL_OPTIONS)
            )
            for package, service in packages.items()
        }
        data = stack.enter_context(trainable(services["gateway"].address, folder))
        bystander = await asyncio.to_thread(Bystander, data)
        yield System(folder, services["gateway"], services["trainer"], channels, bystander)
