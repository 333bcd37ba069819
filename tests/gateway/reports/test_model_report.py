"""The report of a model: a whole page with every type, curve and epoch, whatever users have named things."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.gateway.reports.charts import Axes, lines, rounded_up
from earmark.storage.database import Database
from earmark.storage.queries import events, models
from earmark.v1 import model_service_pb2 as pb
from earmark.v1.model_service_pb2_grpc import ModelServiceStub
from tests.gateway import model_rows, rows
from tests.gateway.calls import opened, refused

CURVE = [
    {"threshold": 0.2, "precision": 0.5, "recall": 1.0},
    {"threshold": 0.5, "precision": 0.75, "recall": 0.75},
    {"threshold": 0.9, "recall": 0.25},
]
METRICS = {
    "overall": {"precision": 0.9, "recall": 0.5, "f1_score": 0.64, "support": 4},
    "per_type": {
        "glitch": {
            "precision": 0.75, "recall": 0.75, "f1_score": 0.75, "support": 4,
            "f1_score_interval": {"low": 0.4, "high": 1.0}, "precision_recall_curve": CURVE,
        },
        "<b>echo</b>": {"support": 0},
    },
}  # fmt: skip
EPOCHS = [
    {"epoch": 1, "train_loss": 2.0, "validation_loss": 1.0, "metrics": {"overall": {"f1_score": 0.1}}},
    {"epoch": 2, "train_loss": 0.5, "metrics": {"overall": {"f1_score": 0.64}}},
]


async def report(database_url, tmp_path, *epochs) -> str:
    types = ("glitch", "<b>echo</b>")
    async with Database(database_url) as database, database.transaction() as connection:
        model_id = await model_rows.model(connection, types=types, eval_metrics=METRICS, best_epoch=2)
        model = await models.get(connection, rows.TENANT, model_id)
        for number, epoch in enumerate(epochs, 2):
            await connection.execute(
                events.SQL["record"],
                *(rows.TENANT, "training_job", model.training_job_id, model.dataset_id, "epoch_completed"),
                *("training", 1, number, {}, {"epoch_completed": epoch}),
            )
    async with opened(database_url, tmp_path) as gateway:
        request = pb.GetModelReportRequest(model_id=str(model_id))
        return (await ModelServiceStub(gateway.channel).GetModelReport(request)).html


def texts(html: str) -> str:
    """The text of a page, whose elements must all be closed but for the empty ones of its head."""
    body = html[html.index("<body>") : html.index("</html>")]
    return " | ".join(filter(None, (text.strip() for text in ET.fromstring(body).itertext())))


async def test_a_report_has_the_figures_the_curves_and_the_epochs(database_url, tmp_path):
    html = await report(database_url, tmp_path, *EPOCHS)
    shown = texts(html)
    assert "glitch | 0.75 | 0.75 | 0.75 | 0.40-1.00 | 4 | - | - | 30 ms | 0 ms" in shown
    assert "<b>echo</b> | - | - | - | - | 0" in shown
    assert "over all | 0.90 | 0.50 | 0.64" in shown
    assert html.count("<svg") == 3
    assert html.count("<polyline") == 4
    assert "epoch 2" in shown
    assert "<b>" not in html
    assert "<script" not in html


async def test_a_report_without_kept_events_says_so(database_url, tmp_path):
    assert "no longer kept" in texts(await report(database_url, tmp_path))


async def test_there_is_no_report_of_an_unknown_model(database_url, tmp_path):
    async with opened(database_url, tmp_path) as gateway:
        request = pb.GetModelReportRequest(model_id="019a9f50-77c3-7e81-bb02-1a2b3c4d5e66")
        await refused(ModelServiceStub(gateway.channel).GetModelReport(request), "NOT_FOUND", "NOT_FOUND")


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=1_000))
def test_every_point_lies_in_the_picture(points):
    svg = lines("title", Axes((0, 1), (0, 1), "x", "y"), {"line": points})
    places = [tuple(map(float, place.split(","))) for place in svg.find("polyline").get("points").split()]
    assert len(places) <= 200
    assert all(0 <= x <= 360 and 0 <= y <= 240 for x, y in places)


@pytest.mark.parametrize(("value", "end"), [(3.1, 4), (0.22, 0.3), (10, 10), (0, 0), (99, 100)])
def test_an_axis_ends_at_a_round_number(value, end):
    assert rounded_up(value) == pytest.approx(end)
