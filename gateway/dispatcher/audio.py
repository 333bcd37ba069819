"""Processes one audio file on a trainer, from pending to ready or failed."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from grpc import aio

from earmark.gateway import object_keys
from earmark.gateway.app import App
from earmark.gateway.dispatcher.outcome import backoff_seconds
from earmark.gateway.dispatcher.retries import retry_until_available
from earmark.gateway.fleet.failures import failure_of
from earmark.gateway.fleet.trainers import Trainer
from earmark.gateway.waits import wait_for_event
from earmark.gateway.watching import topics
from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.storage.database import Connection
from earmark.storage.objects import ObjectStoreError
from earmark.storage.queries import audio
from earmark.storage.records import AudioFile

log = structlog.get_logger("dispatcher")


# Writes how an attempt without a result ends, by the file's id and the number of the attempt.
Ending = Callable[[Connection, UUID, int], Awaitable[object]]


class SupersededError(Exception):
    """The file was deleted, or another attempt at it is the current one."""


class AudioProcessing:
    """Runs one attempt at one file. Every write carries the attempt number, the fencing token."""

    # How an attempt ends that did not fail and has no result.
    _released: Ending = staticmethod(audio.release)

    def __init__(self, app: App, trainer: Trainer, file: AudioFile) -> None:
        self._app = app
        self._trainer = trainer
        self._file = file
        self._is_superseded = False
        self._log = log.bind(audio_file_id=str(file.id), attempt=file.attempt, trainer=trainer.address)

    async def run(self) -> None:
        """Returns when the attempt is over and its end is stored."""
        request, own = self._request(), (object_keys.audio(self._file.tenant_id, self._file.id),)
        grant = self._trainer.signer.metadata(
            "ProcessAudio", request.SerializeToString(), reads=own, writes=own
        )
        call = self._trainer.stub.ProcessAudio(request, metadata=grant)
        renewal = asyncio.create_task(self._watch_lease(call))
        end: Ending | None = self._released
        try:
            async for response in call:
                if await self._record(response):
                    self._trainer.audio_cool_down.reset()
                    end = None
        except SupersededError:
            end = None
            await self._remove_objects_if_deleted()
        except asyncio.CancelledError:
            # grpc also raises this if this gateway cancelled the call.
            if not self._is_superseded:
                raise
            end = None
            await self._remove_objects_if_deleted()
        except aio.AioRpcError as error:
            end = self._ending_after(error)
        finally:
            call.cancel()
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)
            if end is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._app.settings.stop_grace_seconds):
                        await self._end(end)
            self._app.bus.publish(topics.AUDIO)

    def _request(self) -> pb.ProcessAudioRequest:
        file_id, tenant_id = self._file.id, self._file.tenant_id
        return pb.ProcessAudioRequest(
            audio_file_id=str(file_id),
            source=object_keys.source(tenant_id, file_id),
            audio=object_keys.normalized(tenant_id, file_id),
            features=object_keys.features(tenant_id, file_id),
            caller=tenant_id,
        )

    def _ending_after(self, error: aio.AioRpcError) -> Ending:
        failure, message = failure_of(error), error.details() or error.code().name
        self._log.warning(
            "the trainer ended the attempt", code=error.code().name, reason=failure.reason, message=message
        )
        if failure.kind == pb.FAILURE_KIND_DATA:
            return self._failed(message)
        if failure.kind == pb.FAILURE_KIND_HANDED_BACK:
            return self._released
        # Whether the trainer or the file is at fault, another trainer may do better.
        self._trainer.audio_cool_down.record_loss(time.monotonic())
        if failure.kind == pb.FAILURE_KIND_ENVIRONMENT:
            return self._released
        return self._lost()

    def _failed(self, message: str) -> Ending:
        return partial(audio.fail, message=message)

    def _lost(self) -> Ending:
        return partial(audio.release_lost, pause=self._pause)

    def _pause(self, losses: int) -> float:
        """The seconds until the file is tried again after so many losses."""
        pause = backoff_seconds(self._app.settings.retry_seconds, losses)
        self._app.bus.wake_later(topics.AUDIO, pause)
        return pause

    async def _record(self, response: pb.ProcessAudioResponse) -> bool:
        """Returns whether the file's processing is finished."""
        match response.WhichOneof("content"):
            case "normalizing":
                await self._advance("normalizing")
            case "embedding":
                facts = response.embedding
                await self._advance(
                    "embedding",
                    duration_ms=facts.duration_ms,
                    sample_rate_hz=facts.sample_rate_hz,
                    channels=facts.channels,
                )
            case "ready":
                await self._advance("ready", frontend=response.ready.frontend)
                return True
            case "failed":
                await self._advance("failed", error_message=response.failed.error_message)
                return True
        return False

    async def _advance(self, status: str, **facts: Any) -> None:
        async def advance() -> AudioFile | None:
            async with self._app.system.transaction() as connection:
                return await audio.advance(
                    connection,
                    self._file.id,
                    self._file.attempt,
                    status,
                    lease_seconds=self._app.settings.lease_seconds,
                    **facts,
                )

        if await retry_until_available(advance) is None:
            raise SupersededError
        self._app.bus.publish(topics.events(self._file.tenant_id))

    async def _remove_objects_if_deleted(self) -> None:
        """Removes the objects that the trainer stored if the file was deleted meanwhile."""

        async def exists() -> bool:
            async with self._app.system.connection() as connection:
                return await audio.exists(connection, self._file.id)

        if not await retry_until_available(exists):
            try:
                keys = object_keys.audio_objects(self._file.tenant_id, self._file.id)
                await self._app.objects.delete_async(*keys)
            except ObjectStoreError as error:
                self._log.warning("objects are left for a later clean-up", error=str(error))

    async def _end(self, end: Ending) -> None:
        async def run() -> None:
            async with self._app.system.transaction() as connection:
                await end(connection, self._file.id, self._file.attempt)

        await retry_until_available(run)
        self._app.bus.publish(topics.events(self._file.tenant_id))

    async def _watch_lease(self, call: aio.UnaryStreamCall[Any, Any]) -> None:
        """Renews the lease: a long file takes longer than one. Cancels the call if the attempt is over."""
        lease = self._app.settings.lease_seconds

        async def renew() -> bool:
            async with self._app.system.transaction() as connection:
                return await audio.renew(connection, self._file.id, self._file.attempt, lease)

        with self._app.bus.subscribe(topics.AUDIO_DELETIONS) as woken:
            while True:
                await wait_for_event(woken, lease / 4)
                woken.clear()
                if not await retry_until_available(renew):
                    break
        self._is_superseded = True
        call.cancel()
