"""Line charts and histograms as SVG elements."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement

WIDTH, HEIGHT = 360, 240
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 26, 36
COLORS = ("#2563eb", "#dc2626", "#059669", "#7c3aed")
TICKS = 4
MOST_POINTS = 200  # of a line

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Axes:
    """The ranges and the names of the axes."""

    x: tuple[float, float]
    y: tuple[float, float]
    x_name: str
    y_name: str
    # Whether x counts something.
    is_whole: bool = False


def lines(
    title: str, axes: Axes, series: Mapping[str, Sequence[Point]], mark: tuple[Point, str] | None = None
) -> Element:
    """A chart with one line for each series, and perhaps a point that is marked and named."""
    svg = Element("svg", viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img")
    SubElement(svg, "title").text = title
    _text(svg, (LEFT, 15), title, "start", "head")
    _grid(svg, axes)
    for number, (name, points) in enumerate(series.items()):
        color = COLORS[number % len(COLORS)]
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (_place(axes, point) for point in _thinned(points)))
        SubElement(svg, "polyline", points=places, stroke=color)
        if len(series) > 1:
            at = (WIDTH - RIGHT - 4, TOP + 12 + 13 * number)
            _text(svg, at, name, "end", "name").set("fill", color)
    if mark is not None:
        (x, y), name = _place(axes, mark[0]), mark[1]
        SubElement(svg, "circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="4")
        on_right = x > (LEFT + WIDTH - RIGHT) / 2
        _text(svg, (x - 8 if on_right else x + 8, y + 14), name, "end" if on_right else "start", "name")
    return svg


def bars(title: str, axes: Axes, counts: Sequence[int], border: float) -> Element:
    """A histogram whose bars divide the range of x evenly, with a dashed line at `border`."""
    svg = Element("svg", viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img")
    SubElement(svg, "title").text = title
    _text(svg, (LEFT, 15), title, "start", "head")
    _grid(svg, axes)
    step = (axes.x[1] - axes.x[0]) / len(counts)
    for number, count in enumerate(counts):
        left, top = _place(axes, (axes.x[0] + number * step, count))
        right, bottom = _place(axes, (axes.x[0] + (number + 1) * step, axes.y[0]))
        size = {"width": f"{right - left - 1:.1f}", "height": f"{bottom - top:.1f}"}
        SubElement(svg, "rect", {"x": f"{left:.1f}", "y": f"{top:.1f}", **size, "class": "bar"})
    x, _ = _place(axes, (border, axes.y[0]))
    ends = {"x1": f"{x:.1f}", "x2": f"{x:.1f}", "y1": f"{TOP}", "y2": f"{HEIGHT - BOTTOM}"}
    SubElement(svg, "line", {**ends, "class": "threshold"})
    return svg


def _grid(svg: Element, axes: Axes) -> None:
    for value in _ticks(*axes.y):
        _, y = _place(axes, (axes.x[0], value))
        ends = {"x1": f"{LEFT}", "x2": f"{WIDTH - RIGHT}", "y1": f"{y:.1f}", "y2": f"{y:.1f}"}
        SubElement(svg, "line", ends)
        _text(svg, (LEFT - 5, y + 4), _number(value), "end")
    for value in {round(tick) if axes.is_whole else tick: None for tick in _ticks(*axes.x)}:
        x, _ = _place(axes, (value, axes.y[0]))
        _text(svg, (x, HEIGHT - BOTTOM + 14), _number(value), "middle")
    _text(svg, ((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6), axes.x_name, "middle")
    _text(svg, (WIDTH - RIGHT, 15), axes.y_name, "end")


def _ticks(low: float, high: float) -> list[float]:
    return [low + number / TICKS * (high - low) for number in range(TICKS + 1)]


def rounded_up(value: float) -> float:
    """The next number with one digit that is not 0, as the end of an axis."""
    unit: float = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return math.ceil(value / unit) * unit


def _place(axes: Axes, point: Point) -> Point:
    """The place of a point in the picture."""
    x = (point[0] - axes.x[0]) / ((axes.x[1] - axes.x[0]) or 1)
    y = (point[1] - axes.y[0]) / ((axes.y[1] - axes.y[0]) or 1)
    return LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM)


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """The points, or so many of them, with the first and the last."""
    if len(points) <= MOST_POINTS:
        return points
    step = (len(points) - 1) / (MOST_POINTS - 1)
    return [points[round(number * step)] for number in range(MOST_POINTS)]


def _text(svg: Element, at: Point, text: str, anchor: str, kind: str = "tick") -> Element:
    place = {"x": f"{at[0]:.1f}", "y": f"{at[1]:.1f}", "text-anchor": anchor, "class": kind}
    element = SubElement(svg, "text", place)
    element.text = text
    return element


def _number(value: float) -> str:
    return f"{value:.3g}"
