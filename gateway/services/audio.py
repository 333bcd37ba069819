"""earmark.v1.AudioService."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from earmark.gateway import lookup, object_keys
from earmark.gateway.app import App
from earmark.gateway.caller import caller, tenant
from earmark.gateway.convert.audio import (
    audio_file_event_kind_names,
    audio_file_event_message,
    audio_file_message,
    audio_status_names,
)
from earmark.gateway.errors import NotFoundError, StoredObjectDamagedError, wrong_state
from earmark.gateway.field_masks import check_etag, masked_paths
from earmark.gateway.idempotency import earlier_reply, run_once
from earmark.gateway.paging import PageRequest
from earmark.gateway.rules.audio import check_no_job
from earmark.gateway.rules.deletions import check_deletable
from earmark.gateway.uploads import Upload, metadata_of, received, uninterrupted
from earmark.gateway.watching import topics
from earmark.gateway.watching.cursor import Cursor
from earmark.gateway.watching.event_filter import EventFilter
from earmark.gateway.watching.log_watch import LogWatch
from earmark.gateway.watching.tenant_log import Entry, TenantLogs
from earmark.storage.database import Connection, DatabaseUnavailableError
from earmark.storage.objects import PART_BYTES, ObjectNotFoundError, ObjectStoreError
from earmark.storage.queries import audio, deletions, orphans
from earmark.storage.queries.deletions import Removal
from earmark.v1 import audio_service_pb2 as pb
from earmark.v1 import audio_service_pb2_grpc

EDITABLE = ("group",)


class AudioService(audio_service_pb2_grpc.AudioServiceServicer):
    """Uploads, reads, groups, watches, downloads and deletes audio files."""

    def __init__(self, app: App, logs: TenantLogs) -> None:
        self._app = app
        self._logs = logs

    async def UploadAudio(
        self, requests: AsyncIterator[pb.UploadAudioRequest], _: Any
    ) -> pb.UploadAudioResponse:
        metadata: pb.UploadAudioRequest.Metadata = await metadata_of(requests)
        earlier = await earlier_reply(self._app.database, metadata, pb.UploadAudioResponse)
        if earlier is not None:
            return earlier
        async with self._app.database.connection() as connection:
            await lookup.check_dataset(connection, UUID(metadata.dataset_id))
            await self._app.quotas.check_room(connection, tenant(), metadata.size_bytes)
        folder = self._app.settings.data_dir / "uploads"
        async with (
            self._app.disk.room_for(metadata.size_bytes),
            received(requests, metadata, folder, self._app.scratch) as upload,
        ):
            return await self._store(upload)

    async def GetAudioFile(self, request: pb.GetAudioFileRequest, _: Any) -> pb.GetAudioFileResponse:
        async with self._app.database.connection() as connection:
            audio_file = await lookup.audio_file(connection, UUID(request.audio_file_id))
        return pb.GetAudioFileResponse(audio_file=audio_file_message(audio_file))

    async def ListAudioFiles(self, request: pb.ListAudioFilesRequest, _: Any) -> pb.ListAudioFilesResponse:
        page_request = PageRequest.of(request)
        dataset_id = UUID(request.dataset_id)
        statuses = audio_status_names(request.processing_statuses)
        async with self._app.database.connection() as connection:
            await lookup.check_dataset(connection, dataset_id)
            read = partial(audio.page, connection, tenant(), dataset_id, statuses, list(request.groups))
            page = await page_request.page(read, audio_file_message, lambda audio_file: audio_file.id)
        return pb.ListAudioFilesResponse(audio_files=page.messages, next_page_token=page.next_page_token)

    async def UpdateAudioFile(self, request: pb.UpdateAudioFileRequest, _: Any) -> pb.UpdateAudioFileResponse:
        masked_paths(request.update_mask, EDITABLE)
        audio_file_id = UUID(request.audio_file.id)

        async def update(connection: Connection) -> pb.UpdateAudioFileResponse:
            await audio.lock_dataset(connection, tenant(), audio_file_id)
            audio_file = await lookup.audio_file(connection, audio_file_id)
            check_etag("audio_file", request.audio_file.id, request.audio_file.etag, audio_file.revision)
            jobs = await deletions.unfinished_jobs(connection, tenant(), Removal(), audio_file.dataset_id)
            check_no_job(jobs)
            await audio.set_group(connection, audio_file, request.audio_file.group)
            audio_file = await lookup.audio_file(connection, audio_file_id)
            return pb.UpdateAudioFileResponse(audio_file=audio_file_message(audio_file))

        return await run_once(self._app.database, request, pb.UpdateAudioFileResponse, update)

    async def RetryAudioFile(self, request: pb.RetryAudioFileRequest, _: Any) -> pb.RetryAudioFileResponse:
        audio_file_id = UUID(request.audio_file_id)

        async def retry(connection: Connection) -> pb.RetryAudioFileResponse:
            await audio.lock_dataset(connection, tenant(), audio_file_id)
            audio_file = await lookup.audio_file(connection, audio_file_id)
            if not await audio.retry(connection, tenant(), audio_file_id):
                status = audio_file.processing_status
                raise wrong_state(
                    "audio_file",
                    request.audio_file_id,
                    status,
                    f"audio file {audio_file_id} is {status}; only one that failed can be processed again",
                )
            audio_file = await lookup.audio_file(connection, audio_file_id)
            return pb.RetryAudioFileResponse(audio_file=audio_file_message(audio_file))

        response = await run_once(self._app.database, request, pb.RetryAudioFileResponse, retry)
        self._app.bus.publish(topics.events(tenant()), topics.AUDIO)
        return response

    async def DeleteAudioFile(self, request: pb.DeleteAudioFileRequest, _: Any) -> pb.DeleteAudioFileResponse:
        async def delete(connection: Connection) -> pb.DeleteAudioFileResponse:
            await audio.lock_dataset(connection, tenant(), UUID(request.audio_file_id))
            audio_file = await lookup.audio_file(connection, UUID(request.audio_file_id))
            removal = await deletions.of_file(connection, audio_file.dataset_id, audio_file.id)
            unfinished = await deletions.unfinished_jobs(
                connection, tenant(), removal, dataset_id=audio_file.dataset_id
            )
            check_deletable(removal, unfinished, force=request.force)
            return pb.DeleteAudioFileResponse(
                deleted_counts=await deletions.delete(connection, tenant(), removal, caller())
            )

        response = await run_once(self._app.database, request, pb.DeleteAudioFileResponse, delete)
        self._app.bus.publish(topics.events(tenant()), topics.AUDIO_DELETIONS)
        return response

    async def DownloadAudio(
        self, request: pb.DownloadAudioRequest, _: Any
    ) -> AsyncIterator[pb.DownloadAudioResponse]:
        audio_file_id = UUID(request.audio_file_id)
        async with self._app.database.connection() as connection:
            audio_file = await lookup.audio_file(connection, audio_file_id)
        offset, found = 0, hashlib.sha256()
        async for data in self._source(audio_file_id):
            found.update(data)
            yield pb.DownloadAudioResponse(offset=offset, data=data)
            offset += len(data)
        if found.hexdigest() != audio_file.sha256:
            raise _damaged(audio_file_id)

    async def WatchAudioFiles(
        self, request: pb.WatchAudioFilesRequest, _: Any
    ) -> AsyncIterator[pb.WatchAudioFilesResponse]:
        wanted = _event_filter(request)

        async def in_progress() -> audio.InProgress:
            async with self._app.database.connection() as connection:
                return await audio.in_progress(connection, tenant(), wanted.dataset_ids)

        async def find_end() -> int | None:
            now = await in_progress()
            return None if now.files else now.last_sequence

        watch = LogWatch(self._logs, tenant(), wanted)
        start = await watch.start(request.after_cursor, from_start=request.from_start)
        if not (request.after_cursor or request.from_start):
            yield _heartbeat(start, await in_progress())
        async for entry, cursor in watch.follow(start, find_end if request.until_idle else None):
            yield entry.message(_event_response) if entry else _heartbeat(cursor, await in_progress())

    async def _store(self, upload: Upload[pb.UploadAudioRequest.Metadata]) -> pb.UploadAudioResponse:
        """Stores the object, then the row. gateway.dispatcher.orphans removes an object without a row."""
        audio_file_id = uuid7()
        async with self._app.database.connection() as connection:
            await orphans.add_upload(connection, "audio_file", tenant(), audio_file_id)
        try:
            # A cancelled put would go on for a while, and its object can be deleted only after its end.
            await uninterrupted(
                self._app.objects.put_async(object_keys.source(tenant(), audio_file_id), upload.file)
            )
            response = await uninterrupted(self._insert(audio_file_id, upload))
        except DatabaseUnavailableError:
            # The row may have been committed although the database's reply was lost.
            raise
        except BaseException:
            await self._delete_orphan(audio_file_id)
            raise
        if response.audio_file.id != str(audio_file_id):
            # The same request was sent twice at once, and the other call committed its row first.
            await self._delete_orphan(audio_file_id)
        return response

    async def _insert(
        self, audio_file_id: UUID, upload: Upload[pb.UploadAudioRequest.Metadata]
    ) -> pb.UploadAudioResponse:
        metadata = upload.metadata
        dataset_id = UUID(metadata.dataset_id)

        async def insert(connection: Connection) -> pb.UploadAudioResponse:
            facts = (metadata.filename, metadata.content_type, metadata.size_bytes, upload.sha256)
            created = await audio.create(
                connection, tenant(), audio_file_id, dataset_id, *facts, group=metadata.group
            )
            if not created:
                raise NotFoundError("dataset", metadata.dataset_id)
            audio_file = await lookup.audio_file(connection, audio_file_id)
            await self._app.quotas.check_stored(connection, tenant(), metadata.size_bytes)
            return pb.UploadAudioResponse(audio_file=audio_file_message(audio_file))

        response = await run_once(self._app.database, metadata, pb.UploadAudioResponse, insert)
        self._app.bus.publish(topics.events(tenant()), topics.AUDIO)
        return response

    async def _delete_orphan(self, audio_file_id: UUID) -> None:
        """Deletes an upload's object unless its row was committed."""
        with suppress(DatabaseUnavailableError, ObjectStoreError):
            async with self._app.database.connection() as connection:
                if await audio.get(connection, tenant(), audio_file_id) is None:
                    await self._app.objects.delete_async(object_keys.source(tenant(), audio_file_id))

    async def _source(self, audio_file_id: UUID) -> AsyncIterator[bytes]:
        """The uploaded bytes, at most PART_BYTES at a time. Raises NotFoundError for a deleted file."""
        try:
            async for data in self._app.objects.stream(object_keys.source(tenant(), audio_file_id)):
                for start in range(0, len(data), PART_BYTES):
                    yield data[start : start + PART_BYTES]
        except ObjectNotFoundError:
            async with self._app.database.connection() as connection:
                await lookup.audio_file(connection, audio_file_id)
            raise _damaged(audio_file_id) from None


def _damaged(audio_file_id: UUID) -> StoredObjectDamagedError:
    return StoredObjectDamagedError(
        f"the stored audio of file {audio_file_id} is missing or is not what was uploaded: upload it again"
    )


def _event_response(entry: Entry) -> pb.WatchAudioFilesResponse:
    return pb.WatchAudioFilesResponse(event=audio_file_event_message(entry.event), cursor=str(entry.cursor))


def _heartbeat(cursor: Cursor, now: audio.InProgress) -> pb.WatchAudioFilesResponse:
    heartbeat = pb.WatchAudioFilesResponse.Heartbeat(in_progress_count=now.files)
    return pb.WatchAudioFilesResponse(heartbeat=heartbeat, cursor=str(cursor))


def _event_filter(request: pb.WatchAudioFilesRequest) -> EventFilter:
    return EventFilter(
        resources=frozenset({"audio_file", "dataset"}),
        dataset_ids=frozenset(map(UUID, request.dataset_ids)),
        statuses=frozenset(audio_status_names(request.processing_statuses)),
        kinds=frozenset(audio_file_event_kind_names(request.kinds)),
    )
