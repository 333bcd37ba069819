"""Computes the features of a ready file again, for the front end of newer trainers."""

from functools import partial

import structlog

from earmark.gateway import object_keys
from earmark.gateway.app import App
from earmark.gateway.dispatcher.audio import AudioProcessing, Ending, SupersededError
from earmark.gateway.dispatcher.retries import retry_until_available
from earmark.gateway.watching import topics
from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.storage.queries import audio

log = structlog.get_logger("dispatcher")

# A file is tried for ever, since it stays ready. Less than the ten minutes of is_over.
LONGEST_PAUSE_SECONDS = 300.0


class FeatureUpdates:
    """Finds out whether features have to be computed again, and logs when that begins and ends."""

    def __init__(self, app: App) -> None:
        self._app = app
        # The version that features are being computed for.
        self._frontend: str | None = None

    async def frontend(self) -> str | None:
        """The version that features have to be computed for; None while there is nothing to compute.

        While the trainers differ, as during a rolling upgrade, features would be computed to and fro.
        """
        frontend = self._app.trainers.frontend()
        if frontend is None:
            return None
        async with self._app.system.connection() as connection:
            left = (await audio.outdated(connection, frontend)).files
        if left and self._frontend != frontend:
            log.info(
                "computing features again: the trainers have another front end", version=frontend, files=left
            )
        if self._frontend is not None and not left:
            log.info("all features are of the trainers' front end", version=frontend)
            self._app.bus.publish(topics.QUEUE)
        self._frontend = frontend if left else None
        return self._frontend


class FeatureProcessing(AudioProcessing):
    """One attempt at the features of a ready file. It stays ready, with its old features until the new exist.

    The source is the stored lossless audio, since annotations have its times. After a failure it is the
    upload, and then the audio again, because one of the two may be damaged.
    """

    _released: Ending = staticmethod(audio.release_outdated)

    def _request(self) -> pb.ProcessAudioRequest:
        file_id, tenant_id = self._file.id, self._file.tenant_id
        source = object_keys.source if self._file.losses % 2 else object_keys.normalized
        return pb.ProcessAudioRequest(
            audio_file_id=str(file_id),
            source=source(tenant_id, file_id),
            features=object_keys.features(tenant_id, file_id),
            caller=tenant_id,
        )

    async def _record(self, response: pb.ProcessAudioResponse) -> bool:
        match response.WhichOneof("content"):
            case "ready":
                await self._update(response.ready.frontend)
                return True
            case "failed":
                await self._end(self._failed(response.failed.error_message))
                return True
        return False

    async def _update(self, frontend: str) -> None:
        async def update() -> bool:
            async with self._app.system.transaction() as connection:
                return await audio.update_features(connection, self._file.id, self._file.attempt, frontend)

        if not await retry_until_available(update):
            raise SupersededError

    def _failed(self, message: str) -> Ending:
        self._log.warning("the features cannot be computed again; trying later", cause=message)
        return self._lost()

    def _lost(self) -> Ending:
        pause = min(self._app.settings.retry_seconds * 2**self._file.losses, LONGEST_PAUSE_SECONDS)
        self._app.bus.wake_later(topics.AUDIO, pause)
        return partial(audio.fail_outdated, pause_seconds=pause)
