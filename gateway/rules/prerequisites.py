"""The prerequisites of a training job: pure functions from facts to violations.

Every violation is reported, with what was found and what to do about it.
"""

from collections.abc import Iterator, Sequence
from uuid import UUID

from earmark.gateway.errors import Violation
from earmark.storage.queries.training import AudioFacts, JobFacts

MINIMUM_AUDIO_MS = 5 * 60 * 1000


def violations(
    dataset_id: UUID, annotation_set_id: UUID, artifact_types: Sequence[str], facts: JobFacts
) -> list[Violation]:
    """The violations of a job's prerequisites. Empty if the job may be created."""
    return [
        *_same_dataset(dataset_id, annotation_set_id, facts),
        *_published(annotation_set_id, facts),
        *_types_defined(dataset_id, artifact_types, facts),
        *_audio_ready(dataset_id, facts.audio),
        *_enough_audio(dataset_id, facts.audio),
        *_annotations_per_type(annotation_set_id, artifact_types, facts),
    ]


def _same_dataset(dataset_id: UUID, annotation_set_id: UUID, facts: JobFacts) -> Iterator[Violation]:
    if facts.set_dataset_id != dataset_id:
        yield Violation(
            "SAME_DATASET",
            f"annotation_set/{annotation_set_id}",
            f"annotation set {annotation_set_id} belongs to dataset {facts.set_dataset_id}, "
            f"not to {dataset_id}: choose a set of this dataset",
        )


def _published(annotation_set_id: UUID, facts: JobFacts) -> Iterator[Violation]:
    if facts.set_status != "published":
        yield Violation(
            "ANNOTATION_SET_PUBLISHED",
            f"annotation_set/{annotation_set_id}",
            f"annotation set {annotation_set_id} (version {facts.set_version}) is a {facts.set_status}: "
            "publish it first with PublishAnnotationSet",
        )


def _types_defined(dataset_id: UUID, artifact_types: Sequence[str], facts: JobFacts) -> Iterator[Violation]:
    undefined = [name for name in artifact_types if name not in facts.types]
    if undefined:
        defined = ", ".join(facts.types) or "none"
        yield Violation(
            "TYPES_DEFINED",
            f"dataset/{dataset_id}",
            f"the dataset does not define {', '.join(undefined)} (it defines: {defined}): "
            "choose among those, or add the types with UpdateDataset",
        )


def _audio_ready(dataset_id: UUID, audio: Sequence[AudioFacts]) -> Iterator[Violation]:
    unready = [a for a in audio if a.status != "ready"]
    if unready:
        by_status = "; ".join(f"{a.count} {a.status} ({_first_ids(a)})" for a in unready)
        yield Violation(
            "AUDIO_READY",
            f"dataset/{dataset_id}",
            f"{sum(a.count for a in unready)} of {sum(a.count for a in audio)} audio files are not ready: "
            f"{by_status}; wait for those in work, delete those that failed",
        )


def _first_ids(facts: AudioFacts) -> str:
    ids = ", ".join(facts.first_ids)
    return ids if facts.count <= len(facts.first_ids) else f"{ids}, …"


def _enough_audio(dataset_id: UUID, audio: Sequence[AudioFacts]) -> Iterator[Violation]:
    ready_ms = sum(a.duration_ms for a in audio if a.status == "ready")
    if ready_ms < MINIMUM_AUDIO_MS:
        ready, needed = ready_ms / 60_000, MINIMUM_AUDIO_MS / 60_000
        yield Violation(
            "AUDIO_DURATION",
            f"dataset/{dataset_id}",
            f"{ready:.1f} minutes of ready audio, at least {needed:.0f} are needed: "
            f"add {needed - ready:.1f} minutes more",
        )


def _annotations_per_type(
    annotation_set_id: UUID, artifact_types: Sequence[str], facts: JobFacts
) -> Iterator[Violation]:
    unannotated = [name for name in artifact_types if not facts.annotations_by_type.get(name)]
    if unannotated:
        yield Violation(
            "ANNOTATIONS_PER_TYPE",
            f"annotation_set/{annotation_set_id}",
            f"annotation set {annotation_set_id} has no annotation of {', '.join(unannotated)}: "
            "annotate at least one of each, or leave the type out",
        )
