"""earmark.v1.AnnotationService."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from earmark.gateway import lookup
from earmark.gateway.app import App
from earmark.gateway.caller import caller, tenant
from earmark.gateway.convert.annotations import (
    annotation_message,
    annotation_records,
    annotation_set_message,
    annotation_set_status_names,
    edited_annotation,
)
from earmark.gateway.errors import (
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
    PreconditionError,
    Violation,
    wrong_state,
)
from earmark.gateway.field_masks import check_etag, masked_paths
from earmark.gateway.idempotency import run_once
from earmark.gateway.paging import PageRequest
from earmark.gateway.rules import annotations as rules
from earmark.gateway.rules.deletions import check_deletable
from earmark.gateway.watching import topics
from earmark.storage.database import Connection
from earmark.storage.queries import annotations, deletions
from earmark.storage.queries.annotations import LockedSet
from earmark.storage.records import Annotation
from earmark.v1 import annotation_service_pb2 as pb
from earmark.v1 import annotation_service_pb2_grpc

# A batch of more annotations takes long.
LONG_BATCH = 500
EDITABLE = ("artifact_type", "start_ms", "end_ms", "confidence", "extra_data", "channel")


class AnnotationService(annotation_service_pb2_grpc.AnnotationServiceServicer):
    """Creates, reads, publishes and deletes annotation sets, and edits their annotations."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def CreateAnnotationSet(
        self, request: pb.CreateAnnotationSetRequest, _: Any
    ) -> pb.CreateAnnotationSetResponse:
        async def create(connection: Connection) -> pb.CreateAnnotationSetResponse:
            dataset_id, set_id = UUID(request.dataset_id), uuid7()
            if not await annotations.create_set(connection, tenant(), set_id, dataset_id):
                raise NotFoundError("dataset", request.dataset_id)
            if request.copy_of:
                source = await _share_source(connection, UUID(request.copy_of), dataset_id)
                await annotations.copy(connection, source.id, set_id)
            created = await lookup.annotation_set(connection, set_id)
            return pb.CreateAnnotationSetResponse(annotation_set=annotation_set_message(created))

        database = self._app.lane if request.copy_of else self._app.database
        return await run_once(database, request, pb.CreateAnnotationSetResponse, create)

    async def GetAnnotationSet(
        self, request: pb.GetAnnotationSetRequest, _: Any
    ) -> pb.GetAnnotationSetResponse:
        async with self._app.database.connection() as connection:
            annotation_set = await lookup.annotation_set(connection, UUID(request.annotation_set_id))
        return pb.GetAnnotationSetResponse(annotation_set=annotation_set_message(annotation_set))

    async def ListAnnotationSets(
        self, request: pb.ListAnnotationSetsRequest, _: Any
    ) -> pb.ListAnnotationSetsResponse:
        page_request = PageRequest.by_number(request)
        dataset_id = UUID(request.dataset_id)
        statuses = annotation_set_status_names(request.statuses)
        async with self._app.database.connection() as connection:
            await lookup.check_dataset(connection, dataset_id)
            read = partial(annotations.page_of_sets, connection, tenant(), dataset_id, statuses)
            page = await page_request.page(read, annotation_set_message, lambda of_list: of_list.version)
        return pb.ListAnnotationSetsResponse(
            annotation_sets=page.messages, next_page_token=page.next_page_token
        )

    async def PublishAnnotationSet(
        self, request: pb.PublishAnnotationSetRequest, _: Any
    ) -> pb.PublishAnnotationSetResponse:
        async def publish(connection: Connection) -> pb.PublishAnnotationSetResponse:
            locked = await lookup.lock_annotation_set(connection, UUID(request.annotation_set_id))
            if locked.status == "draft":
                check_etag("annotation_set", request.annotation_set_id, request.etag, locked.revision)
                _check_publishable(rules.of_publishing(*await annotations.obstacles(connection, locked)))
                await annotations.publish(connection, locked.id)
            published = await lookup.annotation_set(connection, locked.id)
            return pb.PublishAnnotationSetResponse(annotation_set=annotation_set_message(published))

        return await run_once(self._app.lane, request, pb.PublishAnnotationSetResponse, publish)

    async def DeleteAnnotationSet(
        self, request: pb.DeleteAnnotationSetRequest, _: Any
    ) -> pb.DeleteAnnotationSetResponse:
        set_id = UUID(request.annotation_set_id)

        async def delete(connection: Connection) -> pb.DeleteAnnotationSetResponse:
            if request.force:
                # No new job of the set begins meanwhile.
                await lookup.lock_dataset_of_set(connection, set_id)
            locked = await lookup.lock_annotation_set(connection, set_id)
            check_etag("annotation_set", request.annotation_set_id, request.etag, locked.revision)
            is_published = locked.status == "published"
            removal = await deletions.of_set(connection, locked.dataset_id, set_id, is_published=is_published)
            unfinished = await deletions.unfinished_jobs(connection, tenant(), removal)
            searches = await deletions.unfinished_searches(connection, tenant(), removal)
            check_deletable(removal, unfinished, searches, force=request.force)
            return pb.DeleteAnnotationSetResponse(
                deleted_counts=await deletions.delete(connection, tenant(), removal, caller())
            )

        response = await run_once(self._app.lane, request, pb.DeleteAnnotationSetResponse, delete)
        # With `force`, jobs may have been deleted.
        self._app.bus.publish(topics.events(tenant()))
        return response

    async def BatchCreateAnnotations(
        self, request: pb.BatchCreateAnnotationsRequest, _: Any
    ) -> pb.BatchCreateAnnotationsResponse:
        async def create(connection: Connection) -> pb.BatchCreateAnnotationsResponse:
            draft = await _lock_draft(connection, UUID(request.annotation_set_id))
            # Converting 10,000 annotations takes 100 ms, so it runs in a thread and not on the event loop.
            new = await asyncio.to_thread(annotation_records, draft.id, request.annotations)
            await _check_new(connection, draft, new)
            await annotations.add(connection, tenant(), draft.dataset_id, draft.id, new)
            return pb.BatchCreateAnnotationsResponse(annotation_ids=[str(a.id) for a in new])

        is_long = len(request.annotations) > LONG_BATCH
        database = self._app.lane if is_long else self._app.database
        return await run_once(database, request, pb.BatchCreateAnnotationsResponse, create)

    async def ListAnnotations(self, request: pb.ListAnnotationsRequest, _: Any) -> pb.ListAnnotationsResponse:
        page_request = PageRequest.of(request)
        set_id = UUID(request.annotation_set_id)
        files = [UUID(i) for i in request.audio_file_ids]
        filters = files, list(request.artifact_types), list(request.channels)
        async with self._app.lane_for(page_request.size).connection() as connection:
            await lookup.check_annotation_set(connection, set_id)
            read = partial(annotations.page, connection, tenant(), set_id, *filters)
            page = await page_request.page(read, annotation_message, lambda annotation: annotation.id)
        return pb.ListAnnotationsResponse(annotations=page.messages, next_page_token=page.next_page_token)

    async def UpdateAnnotation(
        self, request: pb.UpdateAnnotationRequest, _: Any
    ) -> pb.UpdateAnnotationResponse:
        paths = masked_paths(request.update_mask, EDITABLE)

        async def update(connection: Connection) -> pb.UpdateAnnotationResponse:
            annotation, draft = await _lock_annotation(connection, UUID(request.annotation.id))
            check_etag("annotation", request.annotation.id, request.annotation.etag, annotation.version)
            edited = edited_annotation(annotation, request.annotation, paths)
            facts = await annotations.facts(connection, draft.dataset_id, [edited.audio_file_id])
            _check_fields(rules.of_edit(edited, facts))
            await annotations.update(connection, edited)
            updated = await lookup.annotation(connection, annotation.id)
            return pb.UpdateAnnotationResponse(annotation=annotation_message(updated))

        return await run_once(self._app.database, request, pb.UpdateAnnotationResponse, update)

    async def DeleteAnnotation(
        self, request: pb.DeleteAnnotationRequest, _: Any
    ) -> pb.DeleteAnnotationResponse:
        async def delete(connection: Connection) -> pb.DeleteAnnotationResponse:
            annotation, _ = await _lock_annotation(connection, UUID(request.annotation_id))
            await annotations.delete(connection, annotation)
            return pb.DeleteAnnotationResponse()

        return await run_once(self._app.database, request, pb.DeleteAnnotationResponse, delete)


async def _share_source(connection: Connection, set_id: UUID, dataset_id: UUID) -> LockedSet:
    """The set to copy, locked against edits. Raises PreconditionError if it is not of the dataset."""
    source = await lookup.share_annotation_set(connection, set_id)
    if source.dataset_id != dataset_id:
        raise PreconditionError(
            "WRONG_STATE",
            [
                Violation(
                    "SAME_DATASET",
                    f"annotation_set/{set_id}",
                    f"annotation set {set_id} belongs to dataset {source.dataset_id}, not to {dataset_id}: "
                    "copy a set of this dataset",
                )
            ],
            {"state": source.status},
        )
    return source


async def _lock_draft(connection: Connection, set_id: UUID) -> LockedSet:
    """Locks a draft. Raises NotFoundError, or PreconditionError if the set is published."""
    locked = await lookup.lock_annotation_set(connection, set_id)
    if locked.status != "draft":
        raise wrong_state(
            "annotation_set",
            str(set_id),
            locked.status,
            f"annotation set {set_id} (version {locked.version}) is {locked.status} and never changes: "
            "make a draft with CreateAnnotationSet and copy_of, and change that",
        )
    return locked


async def _lock_annotation(connection: Connection, annotation_id: UUID) -> tuple[Annotation, LockedSet]:
    """An annotation and its draft, locked. Raises as `_lock_draft` does."""
    annotation = await lookup.annotation(connection, annotation_id)
    draft = await _lock_draft(connection, annotation.annotation_set_id)
    # The annotation may have been deleted while this call waited for the lock.
    return await lookup.annotation(connection, annotation_id), draft


async def _check_new(connection: Connection, draft: LockedSet, new: Sequence[Annotation]) -> None:
    files = list({annotation.audio_file_id for annotation in new})
    facts = await annotations.facts(connection, draft.dataset_id, files)
    _check_fields(await asyncio.to_thread(rules.of_new, draft.dataset_id, new, facts))


def _check_fields(violations: Sequence[FieldViolation]) -> None:
    if violations:
        raise InvalidArgumentError(violations)


def _check_publishable(violations: Sequence[Violation]) -> None:
    if violations:
        raise PreconditionError("WRONG_STATE", violations, {"state": "draft"})
