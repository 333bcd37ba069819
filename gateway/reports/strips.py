"""Strips: a part of a file along its time, with the scores, the threshold and the events of each type."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from earmark.scores import FRAME_MS, Detection, DetectionConfig, Scores, Spans, TypeDefaults

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 720, 96, 10, 24, 20
LANE, CURVE = 56, 32  # the heights of a lane and of the scores in it
BAR, LEAST = 5, 1.5  # the height of an event and its least width
TICKS = 5
MOST_POINTS = 360
EXPLANATION = (
    "The line is the score over time, the dashed line the threshold, and the blue bars below are detections."
)

Span = tuple[int, int]  # onset and offset in ms


@dataclass(frozen=True, slots=True)
class Lane:
    """A type. `curve` are its highest scores of all channels, 0 to 1, evenly over the strip's time."""

    name: str
    threshold: float
    curve: Sequence[float]
    annotated: Sequence[Span]
    detected: Sequence[Span]


@dataclass(frozen=True, slots=True)
class Strip:
    """From `start_ms` to `end_ms` of a file."""

    title: str
    start_ms: int
    end_ms: int
    lanes: Sequence[Lane]


def lane(
    learned: TypeDefaults,
    number: int,
    part: Span,
    scores: Scores,
    config: DetectionConfig,
    found: Iterable[Detection],
    annotated: Spans,
) -> Lane:
    """The lane of the model's type of this number in a part of a file."""
    return Lane(
        learned.name,
        config.for_type(learned)[0],
        _curve(scores, number, part),
        _inside([(start, end) for start, end in annotated.tolist()], part),
        _inside([(each.start_ms, each.end_ms) for each in found if each.artifact_type == learned.name], part),
    )


def _curve(scores: Scores, number: int, part: Span) -> list[float]:
    values = scores.counted[:, part[0] // FRAME_MS : -(-part[1] // FRAME_MS), number]
    if not values.size:
        return []
    highest = np.maximum(values.max(axis=0), 0)
    begins = np.linspace(0, len(highest), min(MOST_POINTS, len(highest)), endpoint=False).astype(np.int64)
    return [round(value, 3) for value in np.maximum.reduceat(highest, begins).tolist()]


def _inside(spans: Sequence[Span], part: Span) -> list[Span]:
    return [
        (max(start, part[0]), min(end, part[1])) for start, end in spans if end > part[0] and start < part[1]
    ]


def drawn(strip: Strip) -> Element:
    """The strip as an SVG element."""
    height = TOP + LANE * len(strip.lanes) + BOTTOM
    svg = Element("svg", viewBox=f"0 0 {WIDTH} {height}", role="img")
    SubElement(svg, "title").text = strip.title
    _text(svg, 6, 15, strip.title, "start", "head")
    for number, of_type in enumerate(strip.lanes):
        _draw_lane(svg, strip, of_type, TOP + LANE * number)
    for number in range(TICKS + 1):
        time_ms = strip.start_ms + number / TICKS * (strip.end_ms - strip.start_ms)
        anchor = "end" if number == TICKS else "middle"
        _text(svg, _x(strip, time_ms), height - 6, _clock(time_ms), anchor, "tick")
    return svg


def _draw_lane(svg: Element, strip: Strip, of_type: Lane, top: float) -> None:
    _text(svg, LEFT - 8, top + BAR + 3 + CURVE / 2, of_type.name, "end", "name")
    _draw_bars(svg, strip, of_type.annotated, top, "annotated")
    base = top + BAR + 3 + CURVE
    _draw_bars(svg, strip, of_type.detected, base + 3, "detected")
    ends = {"x1": f"{LEFT}", "x2": f"{WIDTH - RIGHT}"}
    SubElement(svg, "line", {**ends, "y1": f"{base}", "y2": f"{base}"})
    at = f"{base - of_type.threshold * CURVE:.1f}"
    SubElement(svg, "line", {**ends, "y1": at, "y2": at, "class": "threshold"})
    step = (WIDTH - LEFT - RIGHT) / max(1, len(of_type.curve))
    points = " ".join(
        f"{LEFT + (number + 0.5) * step:.1f},{base - score * CURVE:.1f}"
        for number, score in enumerate(of_type.curve)
    )
    SubElement(svg, "polyline", {"points": points, "class": "score"})


def _draw_bars(svg: Element, strip: Strip, spans: Sequence[Span], top: float, kind: str) -> None:
    for start, end in spans:
        x = min(_x(strip, start), WIDTH - RIGHT - LEAST)
        width = max(LEAST, _x(strip, end) - x)
        place = {"x": f"{x:.1f}", "y": f"{top}", "width": f"{width:.1f}", "height": f"{BAR}", "class": kind}
        SubElement(svg, "rect", place)


def _x(strip: Strip, time_ms: float) -> float:
    share = (time_ms - strip.start_ms) / max(1, strip.end_ms - strip.start_ms)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _clock(time_ms: float) -> str:
    minutes, milliseconds = divmod(round(time_ms), 60_000)
    return f"{minutes}:{milliseconds / 1000:04.1f}"


def _text(svg: Element, x: float, y: float, text: str, anchor: str, kind: str) -> None:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "class": kind}
    SubElement(svg, "text", place).text = text
