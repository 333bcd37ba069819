"""Calls of AnnotationService for its tests."""

from earmark.v1 import annotation_service_pb2 as pb
from tests.gateway.calls import annotate, dataset, decoded, draft, new_annotation


async def get_set(gateway, set_id: str) -> pb.AnnotationSet:
    request = pb.GetAnnotationSetRequest(annotation_set_id=set_id)
    return (await gateway.annotations.GetAnnotationSet(request)).annotation_set


def delete_set(gateway, set_id: str, **fields):
    request = pb.DeleteAnnotationSetRequest(annotation_set_id=set_id, **fields)
    return gateway.annotations.DeleteAnnotationSet(request)


async def versions(gateway, dataset_id: str, **fields) -> list[int]:
    request = pb.ListAnnotationSetsRequest(dataset_id=dataset_id, **fields)
    return [s.version for s in (await gateway.annotations.ListAnnotationSets(request)).annotation_sets]


async def listed(gateway, set_id: str, **fields) -> list[pb.Annotation]:
    request = pb.ListAnnotationsRequest(annotation_set_id=set_id, page_size=1000, **fields)
    return list((await gateway.annotations.ListAnnotations(request)).annotations)


def update(gateway, annotation_id: str, etag: str = "", mask: tuple[str, ...] | None = None, **fields):
    """`mask`: None for exactly the given fields, or for start and end if there are none."""
    values = fields or {"start_ms": 1, "end_ms": 2}
    request = pb.UpdateAnnotationRequest(
        annotation={"id": annotation_id, "etag": etag} | values,
        update_mask={"paths": values if mask is None else mask},
    )
    return gateway.annotations.UpdateAnnotation(request)


def delete(gateway, annotation_id: str, **fields):
    request = pb.DeleteAnnotationRequest(annotation_id=annotation_id, **fields)
    return gateway.annotations.DeleteAnnotation(request)


async def draft_of_two(gateway) -> tuple[str, str, list[str]]:
    """The ids of a file of 10 s, of a draft, and of the two annotations in the draft."""
    dataset_id = await dataset(gateway, "glitch", "dropout")
    file_id = await decoded(gateway, dataset_id)
    set_id = (await draft(gateway, dataset_id)).id
    new_annotations = (
        new_annotation(file_id),
        new_annotation(file_id, "dropout", start_ms=200, end_ms=1000, confidence=0.5),
    )
    return file_id, set_id, await annotate(gateway, set_id, *new_annotations)
