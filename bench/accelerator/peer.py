"""The peer: what a team would write instead, in PyTorch, on the same audio and the same device.

    python -m bench.accelerator.peer --train DIR --test DIR [--epochs 20] [--batch-size 32]

A convolutional-recurrent network of the shape of the DCASE Task 4 baseline, on log-mel features. It is kept
simple but not slow: features are computed on the device, all windows stay there, and a GPU trains with
bfloat16. Prints a line of JSON; seconds include reading and decoding the audio, not the import of PyTorch.
"""

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile  # type: ignore[import-untyped]  # has no stubs
import torch
import typer
from librosa.filters import mel as mel_filterbank
from torch import nn

from bench.tools.folder import Row, annotations, audio, durations_ms
from bench.tools.scores import scores

RATE, HOP, FFT, BANDS = 16_000, 160, 512, 64
FRAME_MS = 10
POOL = 2  # frames per output
FRAMES = 400  # of a window
MERGE_MS, SHORTEST_MS = 200, 50
FLOOR = 1e-6
DECODERS = 8


@dataclass(frozen=True, slots=True)
class Recording:
    """Log-mel features (frames, bands) on the device."""

    name: str
    features: Any


class Network(nn.Module):  # type: ignore[misc]  # PyTorch may be absent where types are checked
    """Four convolutions, a bidirectional GRU and a head: logits per POOL frames."""

    def __init__(self, types: int) -> None:
        super().__init__()
        layers: list[Any] = []
        last = 1
        for width, pool in ((16, (POOL, 2)), (32, (1, 2)), (64, (1, 4)), (128, (1, 4))):
            layers += [nn.Conv2d(last, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            layers += [nn.MaxPool2d(pool)]
            last = width
        self.convolutions = nn.Sequential(*layers)
        self.recurrent = nn.GRU(last, 128, batch_first=True, bidirectional=True)
        self.head = nn.Linear(256, types)

    def forward(self, x: Any) -> Any:
        """(batch, frames, bands) to (batch, frames / POOL, types)."""
        x = self.convolutions(x[:, None]).squeeze(3).transpose(1, 2)
        return self.head(self.recurrent(x)[0])


def main(
    train: Annotated[Path, typer.Option()],
    test: Annotated[Path, typer.Option()],
    epochs: int = 20,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
) -> None:
    """Train the peer, and score it on the test folder."""
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    started = time.perf_counter()
    rows = annotations(train)
    types = sorted({row["artifact_type"] for row in rows})
    recordings = read(train, device)
    every = torch.cat([recording.features for recording in recordings])
    mean, deviation = every.mean(0), every.std(0) + 1e-5
    loaded = time.perf_counter()
    x, y = windows(recordings, rows, types, mean, deviation)
    network = Network(len(types)).to(device)
    loss = learn(network, x, y, epochs, batch_size, learning_rate)
    trained = time.perf_counter()
    found = [
        row for recording in read(test, device) for row in detect(network, recording, types, mean, deviation)
    ]
    figures = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "seconds_to_model": round(trained - started, 1),
        "seconds_loading": round(loaded - started, 1),
        "audio_seconds_per_second": round(epochs * len(x) * FRAMES / 100 / (trained - loaded), 1),
        "loss": round(loss, 4),
        "parameters": sum(weight.numel() for weight in network.parameters()),
    }
    print(json.dumps(figures | scores(annotations(test), found, durations_ms(test))))


def read(folder: Path, device: Any) -> list[Recording]:
    """The features of the folder's audio, which is mono at RATE."""
    filters = torch.tensor(mel_filterbank(sr=RATE, n_fft=FFT, n_mels=BANDS), device=device).float()
    window = torch.hann_window(FFT, device=device)

    def features(path: Path) -> Recording:
        samples, _ = soundfile.read(path, dtype="float32")
        spectrum = torch.stft(
            torch.from_numpy(samples).to(device), FFT, HOP, window=window, return_complex=True
        )
        return Recording(path.name, torch.log(filters @ spectrum.abs() ** 2 + FLOOR).T)

    with ThreadPoolExecutor(DECODERS) as pool:
        return list(pool.map(features, audio(folder)))


def windows(
    recordings: Sequence[Recording], rows: Sequence[Row], types: Sequence[str], mean: Any, deviation: Any
) -> tuple[Any, Any]:
    """Normalised windows (windows, FRAMES, bands), half of a window apart, and their targets."""
    by_file: dict[str, list[Row]] = {recording.name: [] for recording in recordings}
    for row in rows:
        by_file[row["filename"]].append(row)
    inputs, targets = [], []
    for recording in recordings:
        values = (recording.features - mean) / deviation
        marks = torch.zeros(len(values), len(types), device=values.device)
        for row in by_file[recording.name]:
            onset, offset = int(row["start_ms"]) // FRAME_MS, -(-int(row["end_ms"]) // FRAME_MS)
            marks[onset:offset, types.index(row["artifact_type"])] = 1
        for start in range(0, max(1, len(values) - FRAMES + 1), FRAMES // 2):
            missing = (0, 0, 0, max(0, FRAMES - len(values)))
            inputs.append(nn.functional.pad(values[start : start + FRAMES], missing))
            of_window = nn.functional.pad(marks[start : start + FRAMES], missing)
            targets.append(of_window.reshape(FRAMES // POOL, POOL, -1).amax(1))
    return torch.stack(inputs), torch.stack(targets)


def learn(network: Any, x: Any, y: Any, epochs: int, batch_size: int, learning_rate: float) -> float:
    """Train on the windows in random order. Returns the last loss, after the device is done."""
    steps = -(-len(x) // batch_size)
    optimizer = torch.optim.AdamW(network.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=epochs * steps)
    loss_of, loss = nn.BCEWithLogitsLoss(), torch.zeros(())
    for _ in range(epochs):
        for batch in torch.randperm(len(x), device=x.device).split(batch_size):
            optimizer.zero_grad()
            with torch.autocast(x.device.type, torch.bfloat16, enabled=x.device.type == "cuda"):
                logits = network(x[batch])
            loss = loss_of(logits.float(), y[batch])
            loss.backward()
            optimizer.step()
            schedule.step()
    return float(loss.detach())


def detect(network: Any, recording: Recording, types: Sequence[str], mean: Any, deviation: Any) -> list[Row]:
    """The runs of scores of at least 0.5, joined across gaps of up to MERGE_MS."""
    network.eval()
    with torch.no_grad():
        even = len(recording.features) // POOL * POOL
        scored = torch.sigmoid(network(((recording.features[:even] - mean) / deviation)[None]))[0]
    active = (scored >= 0.5).cpu().numpy()  # noqa: PLR2004 the usual threshold
    return [
        {
            "filename": recording.name,
            "artifact_type": name,
            "start_ms": str(onset),
            "end_ms": str(offset),
            "confidence": "1",
        }
        for number, name in enumerate(types)
        for onset, offset in spans(active[:, number])
    ]


def spans(active: np.ndarray) -> list[tuple[int, int]]:
    """Runs of active outputs, in ms."""
    edges = np.diff(active.astype(np.int8), prepend=0, append=0)
    runs: list[tuple[int, int]] = []
    for onset, offset in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        start, end = int(onset) * POOL * FRAME_MS, int(offset) * POOL * FRAME_MS
        if runs and start - runs[-1][1] <= MERGE_MS:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return [(start, end) for start, end in runs if end - start >= SHORTEST_MS]


if __name__ == "__main__":
    typer.run(main)
