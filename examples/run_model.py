"""Runs a model in the native form with nothing but NumPy. docs/export.md explains the steps.

    python examples/run_model.py model.zip recording.wav

prints what is found in the first channel of a 16-bit WAV file, whose rate is a multiple of 100 Hz.
"""

import json
import sys
import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from front_end import features

Config = dict[str, Any]
Weights = dict[str, np.ndarray]


def read_model(path: str | Path) -> tuple[Config, Weights]:
    """Return the configuration, and the weights by their names."""
    with zipfile.ZipFile(path) as archive:
        stored, config = archive.read("model.safetensors"), json.loads(archive.read("model.json"))
    if (config["format"], config["frontend"]) != (6, "4"):
        raise ValueError("this script is for models of format 6 and front end 4")
    size = int.from_bytes(stored[:8], "little")
    header, data = json.loads(stored[8 : 8 + size]), stored[8 + size :]
    weights = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            weights[name] = np.frombuffer(data[begin:end], "<f4").reshape(entry["shape"])
    return config, weights


def frame_scores(config: Config, weights: Weights, values: np.ndarray) -> np.ndarray:
    """Return the cleaned and rounded scores (frames, types) of features (frames, 158)."""
    raw = sigmoid(logits(config["architecture"], weights, normalised(config, values)))
    columns = []
    for column, learned in enumerate(config["artifact_types"]):
        odds = raw[: len(values), column] * np.exp(np.float32(learned["offset"]))
        moved = odds / (odds + 1 - raw[: len(values), column])
        half = learned["smoothing"] // 2
        around = np.lib.stride_tricks.sliding_window_view(np.pad(moved, half), 2 * half + 1)
        columns.append(np.median(around, axis=1))
    return np.rint(np.stack(columns, axis=1) * 1000).astype(np.float32) / np.float32(1000)


def normalised(config: Config, values: np.ndarray) -> np.ndarray:
    """Return (frames, 159): the last column is 1. The rows are filled up to a multiple of four with zeros."""
    known = (values.astype(np.float32) - np.float32(config["mean"])) / np.float32(config["deviation"])
    known = np.pad(known, ((0, 0), (0, 1)), constant_values=1)
    return np.pad(known, ((0, -len(known) % 4), (0, 0)))


def logits(architecture: Config, weights: Weights, x: np.ndarray) -> np.ndarray:
    """Return (frames, outputs)."""
    dilations = architecture["dilations"]
    futures = [min(dilation, 7) for dilation in dilations]
    before, after = sum(dilations) + 1, sum(futures) + 1
    x = np.pad(x, ((4 * before, 4 * after), (0, 0))).reshape(-1, 4, x.shape[1])
    x = linear(weights, "stem", np.concatenate([x.mean(axis=1), x.max(axis=1)], axis=1))
    for number, (past, future) in enumerate(zip(dilations, futures, strict=True)):
        padded = np.pad(norm(weights, f"blocks/{number}/norm", x), ((past, future), (0, 0)))
        shifted = [padded[shift : shift + len(x)] for shift in (0, past, past + future)]
        hidden = np.maximum(0, linear(weights, f"blocks/{number}/spread", np.concatenate(shifted, axis=1)))
        x = x + linear(weights, f"blocks/{number}/gather", hidden)
    x = linear(weights, "head", np.maximum(0, norm(weights, "norm", x)))
    return x[before : len(x) - after].reshape(-1, architecture["outputs"])


def linear(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    return x @ weights[f"{name}/kernel/value"] + weights[f"{name}/bias/value"]


def norm(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-6)
    return scaled * weights[f"{name}/scale/value"] + weights[f"{name}/bias/value"]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def detections(
    types: list[Config], scores: np.ndarray, duration_ms: int, begin: int = 0, threshold: float = 0.5
) -> Iterator[tuple[str, int, int, float]]:
    """Yield the type, onset and offset in ms, and confidence of each detection of one channel.

    The channel counts from frame `begin` on.
    """
    for learned, column in zip(types, scores.T, strict=True):
        active = (column >= threshold) & (np.arange(len(column)) >= begin)
        edges = np.diff(active.astype(int), prepend=0, append=0)
        merged: list[list[int]] = []
        for first, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
            onset, offset = int(first) * 10, min(int(end) * 10, duration_ms)
            if merged and onset - merged[-1][1] <= learned["merge_window_ms"]:
                merged[-1][1] = offset
            else:
                merged.append([onset, offset])
        for onset, offset in merged:
            if offset - onset >= max(1, learned["min_duration_ms"]):
                confidence = float(column[onset // 10 : -(-offset // 10)].max())
                yield learned["name"], onset, offset, round(confidence, 3)


def read_wav(path: str) -> tuple[np.ndarray, int, int]:
    """Return the first channel (samples,) of a file of 16 bits, with full scale 1, its rate, and its begin.

    In a file of several channels, one begins in the frame of its first sample that differs from those before.
    """
    with wave.open(path) as file:
        rate, channels = file.getframerate(), file.getnchannels()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")[::channels]
    changes = np.append(np.flatnonzero(samples != samples[0]), len(samples))
    begin = int(-(-(changes[0] + 1) * 100 // rate) - 1) if channels > 1 else 0
    return samples.astype(np.float32) / 32_768, rate, begin


def main() -> None:
    config, weights = read_model(sys.argv[1])
    pcm, rate, begin = read_wav(sys.argv[2])
    scores = frame_scores(config, weights, features(pcm, rate))
    for found in detections(config["artifact_types"], scores, len(pcm) * 1000 // rate, begin):
        print(*found)


if __name__ == "__main__":
    main()
