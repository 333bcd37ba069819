"""Draws planted and detected artifacts: a mel spectrogram above one lane for each artifact type."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 1600, 900
_DPI = 100
_TRUTH = "#0072B2"  # Okabe and Ito's blue and orange, distinct in every form of colour blindness
_DETECTED = "#E69F00"
_INK = "#1b1f24"
_FAINT = "#d9dde2"
_WINDOW_SECONDS = 0.03
_MELS = 192
_COLORS = colormaps["magma"].resampled(
    64
)  # few enough for the palette of `_save`, with those of text and bars
_LOWEST_HZ = 60.0
_TILT_HZ = 500.0  # above this, levels are raised by 6 dB an octave, by which speech falls
_RANGE_DB = 60.0
_MIN_WIDTH_SECONDS = 0.004  # of the shown duration: the narrowest visible bar
_LABEL_CHARACTER = 0.0066  # of the shown duration: the width of one character of a confidence
_TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000, 16000)
_KILO = 1000
_TITLE_SIZE = 19
_TITLE_CHARACTERS = 66  # that fit beside the legend at that size
_TICK_SECONDS = {
    10: 1,
    40: 2,
    100: 5,
}  # the longest audio for each distance of ticks; matplotlib chooses for longer audio


class Event(Protocol):
    """What the picture needs of an annotation, of whatever class."""

    @property
    def artifact_type(self) -> str:
        """The artifact type, which has a lane of its own."""

    @property
    def start_ms(self) -> int:
        """Onset, in ms."""

    @property
    def end_ms(self) -> int:
        """Offset, in ms."""


class Detected(Event, Protocol):
    """What the picture needs of a detection, of whatever class."""

    @property
    def confidence(self) -> float:
        """Between 0 and 1."""


@dataclass(frozen=True)
class Detection:
    """A detection: its type, onset and offset (ms), and confidence (0-1)."""

    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float


def draw(
    path: str | Path,
    audio: NDArray[np.float32],
    rate: int,
    truth: Sequence[Event],
    detections: Sequence[Detected],
    title: str,
) -> None:
    """Write a PNG of 1600 x 900 to `path`: `audio` (mono, `rate` Hz) with `truth` above `detections`.

    Raises ValueError unless the audio is mono and has at least one sample.
    """
    if audio.ndim != 1 or not len(audio):
        raise ValueError(f"the picture needs mono audio of at least one sample, not shape {audio.shape}")
    figure = Figure(figsize=(WIDTH / _DPI, HEIGHT / _DPI), dpi=_DPI, facecolor="white")
    top, lanes = figure.subplots(
        2, 1, sharex=True, gridspec_kw={"height_ratios": [1.15, 1.0], "hspace": 0.11}
    )
    figure.subplots_adjust(left=0.085, right=0.975, top=0.905, bottom=0.065)
    size = _TITLE_SIZE * min(1.0, _TITLE_CHARACTERS / max(len(title), 1))
    figure.text(0.085, 0.945, title, fontsize=size, fontweight="bold", color=_INK, va="center")
    seconds = len(audio) / rate
    _draw_spectrogram(top, audio, rate, truth)
    _draw_lanes(lanes, seconds, truth, detections)
    figure.legend(
        handles=[Patch(color=_TRUTH, label="truth"), Patch(color=_DETECTED, label="detected (confidence)")],
        loc="center right", bbox_to_anchor=(0.978, 0.945), ncols=2, frameon=False, fontsize=14,
        handlelength=1.6, columnspacing=1.6,
    )  # fmt: skip
    _save(figure, Path(path))


def _draw_spectrogram(axes: Axes, audio: NDArray[np.float32], rate: int, truth: Sequence[Event]) -> None:
    levels = _mel_db(audio, rate)
    loudest = np.percentile(levels, 99.9)
    top = _mel(rate / 2)
    bottom = _mel(_LOWEST_HZ)
    axes.imshow(
        levels, origin="lower", aspect="auto", cmap=_COLORS, interpolation="nearest",
        extent=(0, len(audio) / rate, bottom, top), vmin=loudest - _RANGE_DB, vmax=loudest,
    )  # fmt: skip
    ticks = [hz for hz in _TICKS_HZ if hz < rate / 2]
    labels = [f"{hz} Hz" if hz < _KILO else f"{hz // _KILO} kHz" for hz in ticks]
    axes.set_yticks([_mel(hz) for hz in ticks], labels)
    for event in truth:
        for edge_ms in (event.start_ms, event.end_ms):
            axes.axvline(edge_ms / 1000, color="white", linewidth=0.9, linestyle=(0, (3, 3)), alpha=0.55)
    _plain(axes)


def _draw_lanes(axes: Axes, seconds: float, truth: Sequence[Event], detections: Sequence[Detected]) -> None:
    names = sorted({event.artifact_type for event in (*truth, *detections)})
    for lane, name in enumerate(names):
        if lane % 2 == 0:
            axes.axhspan(lane - 0.5, lane + 0.5, color="#f4f6f8", zorder=0)
        for event in truth:
            if event.artifact_type == name:
                _bar(axes, event, lane - 0.38, _TRUTH, seconds)
        of_type = [detection for detection in detections if detection.artifact_type == name]
        _draw_detections(axes, of_type, lane, seconds)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=14)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.set_xlim(0, seconds)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} s")
    step = next((step for longest, step in _TICK_SECONDS.items() if seconds <= longest), None)
    if step:
        axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.grid(axis="x", color=_FAINT, linewidth=0.8, zorder=1)
    axes.set_axisbelow(True)
    _plain(axes)


def _draw_detections(axes: Axes, detections: Sequence[Detected], lane: int, seconds: float) -> None:
    """Draw one lane's detections, each with its confidence on the right, or left if the next one is near."""
    ordered = sorted(detections, key=lambda detection: detection.start_ms)
    taken = 0.0
    for index, detection in enumerate(ordered):
        end = _bar(axes, detection, lane + 0.04, _DETECTED, seconds)
        label = f"{detection.confidence:.2f}"
        width = _LABEL_CHARACTER * seconds * (len(label) + 1)
        following = ordered[index + 1].start_ms / 1000 if index + 1 < len(ordered) else seconds
        start = detection.start_ms / 1000
        space = 0.003 * seconds
        if end + width <= following:
            axes.text(end + space, lane + 0.21, label, fontsize=12, color=_INK, va="center")
            end += width
        elif start - width >= taken:
            axes.text(start - space, lane + 0.21, label, fontsize=12, color=_INK, va="center", ha="right")
        taken = end


def _bar(axes: Axes, event: Event, bottom: float, color: str, seconds: float) -> float:
    """Draw the event as a visible bar above `bottom`, and return where the bar ends, in seconds."""
    start = event.start_ms / 1000
    width = max((event.end_ms - event.start_ms) / 1000, _MIN_WIDTH_SECONDS * seconds)
    axes.add_patch(
        FancyBboxPatch(
            (start, bottom), width, 0.34, boxstyle="round,pad=0,rounding_size=0.03",
            mutation_aspect=3, color=color, linewidth=0, zorder=3,
        )
    )  # fmt: skip
    return start + width


def _plain(axes: Axes) -> None:
    axes.tick_params(length=0, labelsize=13, colors=_INK)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _save(figure: Figure, path: Path) -> None:
    """Write the figure with a palette: the file is a third of the size and looks the same."""
    drawn = BytesIO()
    FigureCanvasAgg(figure).print_png(drawn)  # type: ignore[no-untyped-call]  # untyped in matplotlib
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, "PNG", optimize=True)


def _mel_db(audio: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """Return power in dB, (bands, frames): about one frame for each pixel, bands evenly spaced in mel."""
    window = np.hanning(int(_WINDOW_SECONDS * rate))
    padded = np.pad(audio, len(window) // 2)
    onsets = np.linspace(0, len(padded) - len(window), WIDTH).astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(padded, len(window))[onsets]
    size = 4 * len(window)
    tilt = np.fft.rfftfreq(size, 1 / rate) / _TILT_HZ
    power = np.abs(np.fft.rfft(frames * window, n=size)) ** 2 * (1 + tilt**2)
    bands = power @ _filterbank(size, rate)
    levels: NDArray[np.float64] = 10 * np.log10(bands.T + 1e-9)
    return levels


def _filterbank(size: int, rate: int) -> NDArray[np.float64]:
    """Return a mel filterbank of triangles of equal area, (bins, bands)."""
    edges = _hertz(np.linspace(_mel(_LOWEST_HZ), _mel(rate / 2), _MELS + 2))
    bins = np.fft.rfftfreq(size, 1 / rate)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles = np.clip(np.minimum(rising, falling), 0, None)
    normalized: NDArray[np.float64] = triangles / np.maximum(triangles.sum(axis=0), 1e-12)
    return normalized


def _mel(hertz: float) -> float:
    """Return mel on O'Shaughnessy's scale (Speech Communication, 1987)."""
    return 2595 * float(np.log10(1 + hertz / 700))


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return 700 * (10 ** (mel / 2595) - 1)
