"""What is stored of an audio file: the features of its tracks, and which channels each track is.

A track is the audio of one channel, or of several that are the same. A channel without a signal has no track,
unless no channel has one. This module does no input or output.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import safetensors.numpy
from jaxtyping import Float16, Float32

from earmark.trainer.features.frontend import FEATURES, View, feature_blocks, frame_count, frame_of
from earmark.trainer.features.version import FRONTEND_VERSION

COMPARED_SAMPLES = 1 << 20  # at a time
HEADER_ALIGNMENT = 8


class OutdatedFeaturesError(ValueError):
    """Stored features were computed by another version of the front end."""


@dataclass(frozen=True, slots=True)
class FileFeatures:
    """The features of a file's tracks, and the channels, counted from 0, that each track is.

    `begins` are the first frames that count of each track: see `signal_begins`. `views` are features of the
    same tracks as they might be heard elsewhere, to train on.
    """

    tracks: Float16[np.ndarray, "tracks frames features"]
    channels: tuple[tuple[int, ...], ...]
    begins: tuple[int, ...]
    views: Float16[np.ndarray, "views tracks frames features"]

    @classmethod
    def of_mono(cls, values: Float16[np.ndarray, "frames features"]) -> "FileFeatures":
        """The features of a file with one channel, without views."""
        return cls(values[None], ((0,),), (0,), np.empty((0, 1, *values.shape), np.float16))

    @property
    def frames(self) -> int:
        """The length in frames."""
        return int(self.tracks.shape[1])

    @property
    def bytes(self) -> int:
        """The size in memory."""
        return self.tracks.nbytes + self.views.nbytes


def file_features(
    audio: Float32[np.ndarray, "channels samples"], rate: int, *, views: Sequence[View] = ()
) -> FileFeatures:
    """Compute the features of each track of the audio, and the views of each."""
    channels, shape = same_channels(audio), (frame_count(audio.shape[1], rate), FEATURES)
    every = np.empty((1 + len(views), len(channels), *shape), np.float16)
    for view, track, first, values in _computed(audio, rate, channels, views):
        every[view, track, first : first + len(values)] = values
    return FileFeatures(every[0], channels, signal_begins(audio, channels, rate), every[1:])


def write_features(
    file: BinaryIO, audio: Float32[np.ndarray, "channels samples"], rate: int, *, views: Sequence[View] = ()
) -> None:
    """Write what `pack_features` would make of `file_features`, and keep no more than a block in memory.

    `file` is empty, and open for reading and writing.
    """
    channels = same_channels(audio)
    shape = (len(channels), frame_count(audio.shape[1], rate), FEATURES)
    size = math.prod(shape) * np.dtype(np.float16).itemsize
    header = json.dumps(
        {
            "__metadata__": _metadata(channels, signal_begins(audio, channels, rate)),
            "features": {"dtype": "F16", "shape": shape, "data_offsets": [0, size]},
            "views": {
                "dtype": "F16",
                "shape": (len(views), *shape),
                "data_offsets": [size, size * (1 + len(views))],
            },
        }
    ).encode()
    header += b" " * (-len(header) % HEADER_ALIGNMENT)
    file.write(len(header).to_bytes(8, "little") + header)
    start = file.tell()
    for view, track, first, values in _computed(audio, rate, channels, views):
        file.seek(start + 2 * int(np.ravel_multi_index((view, track, first, 0), (1 + len(views), *shape))))
        file.write(values.tobytes())


def _computed(
    audio: np.ndarray, rate: int, channels: Sequence[Sequence[int]], views: Sequence[View]
) -> Iterator[tuple[int, int, int, Float16[np.ndarray, "_ features"]]]:
    """Yield features of frames with their place: the view, 0 for none, the track, and the first frame."""
    for track, (first_channel, *_) in enumerate(channels):
        signal = np.ascontiguousarray(audio[first_channel])
        for number, view in enumerate((None, *views)):
            for first, values in feature_blocks(signal, rate, view):
                yield number, track, first, values.astype(np.float16)


def same_channels(audio: Float32[np.ndarray, "channels samples"]) -> tuple[tuple[int, ...], ...]:
    """Group the channels that are the same. One without a signal is in no group, unless all are without."""
    groups: list[list[int]] = []
    for number, channel in enumerate(audio):
        if is_dead(channel):
            continue
        for group in groups:
            if _equal(channel, audio[group[0]]):
                group.append(number)
                break
        else:
            groups.append([number])
    return tuple(map(tuple, groups)) or (tuple(range(len(audio))),)


def is_dead(channel: Float32[np.ndarray, " samples"]) -> bool:
    """Whether the channel has no signal: every sample is the same."""
    return first_change(channel) is None


def first_change(channel: Float32[np.ndarray, " samples"]) -> int | None:
    """Return the number of the first sample that differs from those before it, None if there is none."""
    for number, part in enumerate(_parts(channel)):
        differs = part != channel[0]
        if differs.any():
            return number * COMPARED_SAMPLES + int(differs.argmax())
    return None


def signal_begins(
    audio: Float32[np.ndarray, "channels samples"], tracks: Sequence[Sequence[int]], rate: int
) -> tuple[int, ...]:
    """Return the frame in which the signal of each track begins: what lies before does not count.

    A lone channel counts from its start. This does not depend on what comes later, so that a live stream can
    have it too.
    """
    if len(audio) == 1:
        return (0,)
    changes = (first_change(audio[channels[0]]) for channels in tracks)
    frames = frame_count(audio.shape[1], rate)
    return tuple(frames if change is None else frame_of(change, rate) for change in changes)


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(_parts(one), _parts(other), strict=True))


def _parts(channel: np.ndarray) -> Sequence[np.ndarray]:
    return [channel[first : first + COMPARED_SAMPLES] for first in range(0, len(channel), COMPARED_SAMPLES)]


def pack_features(values: FileFeatures) -> bytes:
    """Return the features as the bytes of a safetensors file that names the front end's version."""
    arrays = {"features": values.tracks, "views": values.views}
    return safetensors.numpy.save(arrays, _metadata(values.channels, values.begins))


def _metadata(channels: Sequence[Sequence[int]], begins: Sequence[int]) -> dict[str, str]:
    return {
        "frontend": FRONTEND_VERSION,
        "channels": json.dumps(channels),
        "begins": json.dumps(begins),
    }


def unpack_features(data: bytes) -> FileFeatures:
    """Return the features that `pack_features` packed.

    Raises OutdatedFeaturesError for features of another version, and ValueError for any other bytes.
    """
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata: dict[str, str] = header["__metadata__"]
        version = metadata["frontend"]
        arrays = safetensors.numpy.load(data)
        tracks, views = arrays["features"], arrays["views"]
        channels = tuple(map(tuple, json.loads(metadata["channels"])))
        begins = tuple(json.loads(metadata["begins"]))
    except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise ValueError("these bytes are not stored features") from error
    if version != FRONTEND_VERSION or tracks.shape[2:] != (FEATURES,):
        raise OutdatedFeaturesError(
            f"features are of front end {version}, this trainer has {FRONTEND_VERSION}: "
            "they are computed again once all trainers have the same",
        )
    if not len(tracks) == len(channels) == len(begins) or views.shape[1:] != tracks.shape:
        raise ValueError("these bytes are not stored features")
    return FileFeatures(tracks, channels, begins, views)
