"""Finds what limits the result of training in the annotations themselves, and says it in notices."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Int64

from earmark.scores import FRAME_MS, NO_SPANS, Spans
from earmark.trainer.data.loading import Dataset
from earmark.trainer.events import Notice, NoticeCode
from earmark.trainer.regions import Region, draw_region

FEW_EVENTS = 20  # injected faults of eight types: 5 examples of each gave an F1 of 0.2-0.4, 23 gave 0.7-0.76
MOST = 0.8  # of the audio
SAME_EVENT_MS = 500  # two people, or two copies of a recording, put the same onset this far apart at most


def annotation_notices(
    dataset: Dataset, copies: Sequence[Sequence[int]], train: Sequence[Region], types: Sequence[str]
) -> list[Notice]:
    """The notices about these types, type by type.

    `copies` groups the numbers of the files by recording; `train` are the regions to train on.
    """
    by_type: dict[str, dict[int, Spans]] = {name: {} for name in types}
    for number, values in enumerate(dataset.features):
        for name, spans in draw_region(dataset.files, number, 0, values.frames, by_type).spans().items():
            by_type[name][number] = spans
    trained = Counter(event.artifact_type for region in train for event in region.events if event.is_likely)
    audio_ms = FRAME_MS * sum(values.frames for values in dataset.features)
    notices: list[Notice] = []
    for name, of_type in by_type.items():
        notices += _overlap(dataset, of_type, name)
        notices += _few(trained[name], name)
        notices += _in_one_recording(dataset, of_type, copies, name)
        notices += _covers_audio(sum(map(_covered_ms, of_type.values())) / audio_ms, name)
        notices += _copies_differ(dataset, of_type, copies, name)
    return notices


def _overlap(dataset: Dataset, files: Mapping[int, np.ndarray], name: str) -> Iterator[Notice]:
    overlapping = {
        number: np.flatnonzero(spans[1:, 0] < _latest_ends(spans)[:-1]) + 1 for number, spans in files.items()
    }
    count, all_events = (sum(map(len, of_file.values())) for of_file in (overlapping, files))
    if not count:
        return
    number = next(number for number, events in overlapping.items() if len(events))
    file, onset_ms = dataset.files[number], files[number][overlapping[number][0], 0]
    yield Notice(
        NoticeCode.EVENTS_OVERLAP,
        f"{count} of {all_events} annotations of {name!r} begin before an earlier one ends, such "
        f"as the one at {onset_ms / 1000:.3f} s of audio file {file.audio_file_id}: the model learns and "
        "finds one event where several overlap; if they are apart in the audio, correct their ends",
        artifact_type=name,
        audio_file_id=file.audio_file_id,
    )


def _few(count: int, name: str) -> Iterator[Notice]:
    if 0 < count < FEW_EVENTS:
        yield Notice(
            NoticeCode.FEW_EVENTS,
            f"there are only {count} examples of {name!r} to train on: with fewer than {FEW_EVENTS}, few of "
            "its events will be found in new audio; annotate more",
            artifact_type=name,
        )


def _in_one_recording(
    dataset: Dataset, files: Mapping[int, np.ndarray], copies: Sequence[Sequence[int]], name: str
) -> Iterator[Notice]:
    carriers = [group for group in copies if any(number in files for number in group)]
    if len(carriers) != 1 or len(copies) == 1:
        return
    number = next(number for number in carriers[0] if number in files)
    file = dataset.files[number]
    yield Notice(
        NoticeCode.TYPE_IN_ONE_RECORDING,
        f"all {len(files[number])} annotations of {name!r} are in one of {len(copies)} recordings, audio "
        f"file {file.audio_file_id}: the model may learn that recording instead of {name!r}; annotate it in "
        "others",
        artifact_type=name,
        audio_file_id=file.audio_file_id,
    )


def _covers_audio(share: float, name: str) -> Iterator[Notice]:
    if share > MOST:
        yield Notice(
            NoticeCode.TYPE_COVERS_AUDIO,
            f"{name!r} covers {share:.0%} of the audio, which leaves little to tell it from: add audio "
            "without it",
            artifact_type=name,
        )


def _copies_differ(
    dataset: Dataset, files: Mapping[int, np.ndarray], copies: Sequence[Sequence[int]], name: str
) -> Iterator[Notice]:
    for group in copies:
        for first, second in pairwise(group):
            events = files.get(first, NO_SPANS), files.get(second, NO_SPANS)
            if _same_events(*events):
                continue
            one, other = (dataset.files[number].audio_file_id for number in (first, second))
            yield Notice(
                NoticeCode.COPIES_DIFFER,
                f"audio files {one} and {other} have the same recording, but different annotations of "
                f"{name!r} ({len(events[0])} and {len(events[1])}): annotate both alike",
                artifact_type=name,
                audio_file_id=other,
            )
            return


def _same_events(first: Int64[np.ndarray, "first 2"], second: Int64[np.ndarray, "second 2"]) -> bool:
    return len(first) == len(second) and bool((np.abs(first[:, 0] - second[:, 0]) <= SAME_EVENT_MS).all())


def _covered_ms(spans: Spans) -> int:
    """How much of the audio the events cover; where they overlap, it counts once."""
    before = np.concatenate([[0], _latest_ends(spans)[:-1]])[: len(spans)]
    return int(np.maximum(0, spans[:, 1] - np.maximum(spans[:, 0], before)).sum())


def _latest_ends(spans: Spans) -> np.ndarray:
    """For each event, the latest offset of it and all that begin before it."""
    return np.maximum.accumulate(spans[:, 1])
