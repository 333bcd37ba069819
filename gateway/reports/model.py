"""The report of one model: what it was made of, how it learned, and how good it is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from earmark.gateway.reports.charts import Axes, Point, lines, rounded_up
from earmark.gateway.reports.page import Page
from earmark.gateway.reports.strips import EXPLANATION, Strip, drawn
from earmark.storage.records import Event, Model

THRESHOLD = 0.5  # at which the figures count
UNSET = "-"
HEADER = (
    *("artifact type", "precision", "recall", "F1", "95 % interval", "support", "average precision"),
    *("best threshold", "merge window", "shortest"),
)

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WorstErrors:
    """What a detection job of the model over its dataset got wrong, each kind with the worst first."""

    detection_job_id: str
    files: int
    missed: int
    false: int
    worst_missed: Sequence[Strip]
    worst_false: Sequence[Strip]


def model_report(model: Model, epochs: Sequence[Event], worst: WorstErrors | None) -> str:
    """The page. `epochs`: the events of the completed epochs of its job, as far as they are kept.

    `worst`: of the newest detection job over its dataset, if there is one.
    """
    page = Page(model.name)
    page.paragraph(model.description)
    page.facts(_facts(model))
    page.heading("How good it is")
    page.paragraph(
        "Counted on the validation audio of its training job, which it did not train on, at a threshold of "
        f"{THRESHOLD}: a detection matches an annotation if its onset is within 200 ms, and its offset "
        "within 200 ms or half the artifact's length. Support is the number of annotations; with few of "
        "them, the interval is wide, or there is none."
    )
    figures = model.eval_metrics
    per_type = figures.get("per_type", {})
    page.table(
        HEADER, (_row(model, name, per_type.get(name, {})) for name in model.artifact_types), _all(figures)
    )
    page.heading("How it learned")
    completed = [event.body["epoch_completed"] for event in epochs]
    if completed:
        page.charts(_learning(completed, model.best_epoch))
    else:
        page.paragraph("The events of its training job are no longer kept.")
    page.heading("Where to set the thresholds")
    page.paragraph(
        "Each line goes from a low threshold, which finds most, to a high one, which is wrong least. The "
        f"point is at {THRESHOLD}."
    )
    page.charts(_curves(model.artifact_types, per_type))
    _add_errors(page, worst)
    return page.html()


def _add_errors(page: Page, worst: WorstErrors | None) -> None:
    page.heading("Where it is most wrong")
    if worst is None:
        page.paragraph(
            "Not known: no detection job has searched its dataset with this model. After one, this report "
            "has the worst misses and false detections."
        )
        return
    page.paragraph(
        f"In the {worst.files} files of its dataset that detection job {worst.detection_job_id} searched, "
        "most of which it was trained on, against the annotations that it was trained with: "
        f"{worst.missed} misses and {worst.false} false detections. A mark that is wrong shows here too."
    )
    if worst.worst_missed or worst.worst_false:
        page.paragraph(f"{EXPLANATION} The green bars above are annotations.")
    for title, strips in (("Misses", worst.worst_missed), ("False detections", worst.worst_false)):
        if strips:
            page.subheading(f"{title}, the worst first")
            page.strips(map(drawn, strips))


def _facts(model: Model) -> Iterator[tuple[str, str]]:
    minutes = model.audio_duration_ms / 60_000
    yield "model", str(model.id)
    yield "aliases", ", ".join(model.aliases) or UNSET
    yield "made", f"{model.created_at:%Y-%m-%d %H:%M} UTC, by training job {model.training_job_id}"
    yield "dataset", f"{model.dataset_id}, {model.audio_file_count} files, {minutes:.1f} minutes"
    yield "annotations", f"set {model.annotation_set_id}, version {model.annotation_set_version}"
    settings = {name: value for name, value in model.config.items() if name != "artifact_types"}
    yield "configuration", ", ".join(f"{name} {value}" for name, value in settings.items())
    yield "weights", f"of epoch {model.best_epoch}; {model.size_bytes:,} bytes, SHA-256 {model.sha256}"
    yield "Earmark", f"{model.earmark_version}, front end {model.frontend_version}"


def _row(model: Model, name: str, figures: Figures) -> list[str]:
    interval = figures.get("f1_score_interval")
    return [
        name,
        *(_figure(figures.get(key)) for key in ("precision", "recall", "f1_score")),
        f"{interval.get('low', 0):.2f}-{interval.get('high', 0):.2f}" if interval else UNSET,
        str(figures.get("support", 0)),
        *(_figure(figures.get(key)) for key in ("average_precision", "best_threshold")),
        f"{model.merge_windows_ms[name]} ms",
        f"{model.min_durations_ms[name]} ms",
    ]


def _all(figures: Figures) -> list[str]:
    overall, interval = figures.get("overall", {}), figures.get("f1_score_interval")
    return [
        "over all",
        *(_figure(overall.get(key)) for key in ("precision", "recall", "f1_score")),
        f"{interval.get('low', 0):.2f}-{interval.get('high', 0):.2f}" if interval else UNSET,
        str(overall.get("support", 0)),
        *("", "", "", ""),
    ]


def _figure(value: float | None) -> str:
    return UNSET if value is None else f"{value:.2f}"


def _learning(epochs: Sequence[Figures], best_epoch: int) -> Iterator[Element]:
    last = max(2.0, float(epochs[-1]["epoch"]))
    losses = {
        name: [(each["epoch"], each[key]) for each in epochs if key in each]
        for name, key in (("training", "train_loss"), ("validation", "validation_loss"))
    }
    shown = {name: points for name, points in losses.items() if points}
    highest = max(loss for points in shown.values() for _, loss in points)
    yield lines("Loss", Axes((1, last), (0, rounded_up(highest)), "epoch", "", is_whole=True), shown)
    scores = [
        (each["epoch"], score)
        for each in epochs
        if (score := each.get("metrics", {}).get("overall", {}).get("f1_score")) is not None
    ]
    best = next(((epoch, score) for epoch, score in scores if epoch == best_epoch), None)
    mark = (best, f"epoch {best_epoch}") if best else None
    yield lines(
        "Event F1 on the validation audio",
        Axes((1, last), (0, 1), "epoch", "", is_whole=True),
        {"F1": scores},
        mark,
    )


def _curves(names: Sequence[str], per_type: Mapping[str, Figures]) -> Iterator[Element]:
    axes = Axes((0, 1), (0, 1), "recall", "precision")
    for name in names:
        curve = per_type.get(name, {}).get("precision_recall_curve", [])
        points: list[Point] = [
            (point.get("recall", 0.0), point["precision"]) for point in curve if "precision" in point
        ]
        if not points:
            continue
        nearest = min(
            (point for point in curve if "precision" in point),
            key=lambda point: abs(point.get("threshold", 0.0) - THRESHOLD),
        )
        at = (nearest.get("recall", 0.0), nearest["precision"])
        yield lines(name, axes, {name: points}, (at, f"{nearest.get('threshold', 0.0):.2f}"))
