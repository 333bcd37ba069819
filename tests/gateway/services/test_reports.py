"""Reports of detection jobs, and the worst errors in those of models, from the scores that jobs keep."""

import xml.etree.ElementTree as ET
from uuid import UUID

import numpy as np

from earmark.gateway.evaluation.errors import errors
from earmark.gateway.services import job_report
from earmark.internal.v1 import trainer_service_pb2 as trainer_pb
from earmark.scores import DetectionConfig, by_type
from earmark.storage.database import Database
from earmark.storage.queries import annotations, models
from earmark.v1 import detection_service_pb2 as pb
from earmark.v1 import model_service_pb2
from earmark.v1.model_service_pb2_grpc import ModelServiceStub
from tests.gateway import rows
from tests.gateway.calls import refused
from tests.gateway.detecting_trainer import DetectingTrainer, scores_of
from tests.gateway.services.test_detection_jobs import DEFAULTS, TYPES, expected


def body(html: str) -> ET.Element:
    """The body of a page, whose elements must all be closed."""
    assert "<script" not in html
    assert "http" not in html
    return ET.fromstring(html[html.index("<body>") : html.index("</html>")])


def texts(element: ET.Element) -> str:
    return " | ".join(filter(None, (text.strip() for text in element.itertext())))


def of_class(element: ET.Element, name: str) -> list[ET.Element]:
    return [each for each in element.iter() if each.get("class") == name]


async def report(at, job_id: str, **fields) -> ET.Element:
    request = pb.GetDetectionJobReportRequest(detection_job_id=job_id, **fields)
    return body((await at.stub.GetDetectionJobReport(request)).html)


async def test_a_job_has_a_report_of_its_files_and_of_what_was_found(here):
    def third_fails(file_id: str):
        if file_id == str(at.built.audio_file_ids[2]):
            failed = {"file_id": file_id, "reason": "INVALID_AUDIO", "message": "<b>is empty</b>"}
            return trainer_pb.DetectFilesResponse.Failed(**failed)
        return None

    at = await here(DetectingTrainer(answer=third_fails))
    job = await at.ended((await at.create(metadata={"for": "<i>quality</i>"})).id)
    page = await report(at, job.id)
    shown, found = texts(page), expected(map(str, at.built.audio_file_ids[:2]))
    assert "completed | 2 | failed | 1" in shown
    assert "INVALID_AUDIO | 1 | <b>is empty</b>" in shown
    assert "for <i>quality</i>" in shown
    assert f"glitch | 0.50 | {len(found)} | {len(found) / 6000 * 3_600_000:.1f} | 2" in shown
    (histogram,) = of_class(page, "charts")
    assert len(of_class(histogram, "bar")) == 20
    (strips,) = of_class(page, "strips")
    assert len(strips) == 2
    assert len(of_class(strips, "detected")) == len(found)
    assert not of_class(strips, "annotated")
    # The file with most detections is the first.
    counts = [len(of_class(strip, "detected")) for strip in strips]
    assert counts == sorted(counts, reverse=True)

    fewer = expected(map(str, at.built.audio_file_ids[:2]), DetectionConfig(threshold=0.95))
    strict = texts(await report(at, job.id, config={"threshold": 0.95}))
    assert f"glitch | 0.95 | {len(fewer)} | " in strict
    unknown = pb.GetDetectionJobReportRequest(detection_job_id=at.model_id)
    await refused(at.stub.GetDetectionJobReport(unknown), "NOT_FOUND", "NOT_FOUND")


async def test_files_longer_than_a_strip_in_which_nothing_was_found_are_reported(here, monkeypatch):
    monkeypatch.setattr(job_report, "STRIP_MS", 1000)
    at = await here()
    job = await at.ended((await at.create()).id)
    page = await report(at, job.id, config={"min_duration_ms": 1000, "merge_window_ms": 0})
    assert "glitch | 0.50 | 0 | 0.0 | 0" in texts(page)
    (strips,) = of_class(page, "strips")
    assert not list(strips)


async def test_the_report_of_a_job_without_results_says_so(here):
    at = await here()
    at.trainer.may_go_on.clear()
    shown = texts(await report(at, (await at.create()).id))
    assert "glitch | 0.50 | 0 | - | 0" in shown
    at.trainer.may_go_on.set()


async def test_the_report_of_a_model_has_its_worst_errors_once_a_job_has_searched_its_dataset(
    here, database_url
):
    at = await here()
    async with Database(database_url) as database, database.connection() as connection:
        model = await models.get(connection, rows.TENANT, UUID(at.model_id))
        query = "SELECT id FROM audio_files WHERE dataset_id = $1"
        file_ids = [row["id"] for row in await connection.fetch(query, model.dataset_id)]
        spans = await annotations.spans(connection, model.annotation_set_id, file_ids, 0.5)

    request = model_service_pb2.GetModelReportRequest(model_id=at.model_id)

    async def of_model() -> ET.Element:
        return body((await ModelServiceStub(at.channel).GetModelReport(request)).html)

    assert "no detection job has searched its dataset" in texts(await of_model())
    job = await at.ended((await at.create(dataset_id=str(model.dataset_id))).id)
    real: dict[UUID, dict] = {}
    for row in spans:
        pairs = np.stack([row.starts_ms, row.ends_ms], axis=1)
        real.setdefault(row.audio_file_id, {})[row.artifact_type, row.channel] = pairs
    wrong = [
        error
        for file in await at.files(job.id)
        for error in errors(
            scores_of(file.id),
            scores_of(file.id).detections(TYPES, DEFAULTS),
            by_type(real.get(UUID(file.id), {})),
            ["glitch"],
        )
    ]
    missed = [error for error in wrong if error.kind == "missed"]
    false = sorted((e.confidence for e in wrong if e.kind == "false_detection"), reverse=True)
    assert false
    page = await of_model()
    shown = texts(page)
    assert f"{len(missed)} misses and {len(false)} false detections" in shown
    strips = of_class(page, "strips")
    titles = [strip.find("title").text for each in strips for strip in each]
    assert [title.rpartition(" ")[2] for title in titles if ": confidence" in title] == [
        f"{confidence:.2f}" for confidence in false[:6]
    ]
    assert sum(": highest score" in title for title in titles) == min(6, len(missed))
    assert all(of_class(strip, "threshold") and of_class(strip, "score") for each in strips for strip in each)
