"""docs/detecting.md is right: every block runs and prints the output that the page shows."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.client import Client, connect, upload, wait_until_ready, watch
from earmark.client.local import LocalSystem
from earmark.v1 import annotation_service_pb2 as annotations
from earmark.v1 import dataset_service_pb2 as datasets
from earmark.v1 import model_service_pb2 as models
from earmark.v1 import training_service_pb2 as training
from tests.docs.guide import Reader, blocks
from tests.sounds import write_wav

PAGE = Path(__file__).parents[2] / "docs" / "detecting.md"
TYPES = ("dropout", "glitch", "echo")


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("call", "monday", "tuesday"), start=100):
        write_wav(tmp_path / f"{name}.wav", 30, seed)
    settings = {
        "EARMARK_DATA_DIR": str(tmp_path / "data"),
        "EARMARK_PORT": "0",
        "EARMARK_TRAINER_PORT": "0",
        "EARMARK_DETECTION_SOURCES": f"file://{tmp_path}",
    }
    with LocalSystem(settings, lambda _: None) as system, connect(system.address) as client:
        dataset_id, set_id, model_id = trained(client, tmp_path)
        yield Reader(
            PAGE,
            system.address,
            {
                "019a9f50-77c3-7e81-bb02-1a2b3c4d5e66": lambda _: model_id,
                "019a9f3e-7b1c-7d2a-9c55-0f6f3f1f2a11": lambda _: dataset_id,
                "019a9f41-aa01-7c4e-b0de-2f4d6c8e0a33": lambda _: set_id,
                "file:///srv/calls": lambda _: f"file://{tmp_path}",
                "019a9f52-0c4e-7f90-a1b2-3c4d5e6f7a89": lambda names: names["searched"].id,
                "019a9f52-0c4d-7f90-a1b2-3c4d5e6f7a88": lambda names: names["search"].id,
            },
        )


def trained(client: Client, folder: Path) -> tuple[str, str, str]:
    """Makes an annotated dataset and an active model of it; returns the ids of dataset, set and model."""
    request = datasets.CreateDatasetRequest(
        name="calls", artifact_types=[datasets.ArtifactType(name=name) for name in TYPES]
    )
    dataset_id = client.datasets.CreateDataset(request).dataset.id
    new = []
    for number in range(2):
        path = folder / f"training-{number}.wav"
        placed = write_wav(path, 151, number)
        file_id = upload(client, dataset_id, path).id
        new += [
            annotations.AnnotationSpec(audio_file_id=file_id, artifact_type=kind, start_ms=start, end_ms=end)
            for kind, start, end in placed
        ]
    wait_until_ready(client, dataset_id)
    create = annotations.CreateAnnotationSetRequest(dataset_id=dataset_id)
    set_id = client.annotations.CreateAnnotationSet(create).annotation_set.id
    client.annotations.BatchCreateAnnotations(
        annotations.BatchCreateAnnotationsRequest(annotation_set_id=set_id, annotations=new)
    )
    client.annotations.PublishAnnotationSet(annotations.PublishAnnotationSetRequest(annotation_set_id=set_id))
    job = client.training.CreateTrainingJob(
        training.CreateTrainingJobRequest(
            dataset_id=dataset_id,
            annotation_set_id=set_id,
            config={"artifact_types": ["dropout", "glitch"], "epochs": 8, "seed": 1},
        )
    ).training_job
    *_, created, _ = watch(client, job.id)
    model_id = created.model_created.model_id
    client.models.UpdateModel(
        models.UpdateModelRequest(
            model={"id": model_id, "is_active": True}, update_mask={"paths": ["is_active"]}
        )
    )
    return dataset_id, set_id, model_id


def test_every_block_runs_and_prints_what_is_shown(reader: Reader) -> None:
    for block in blocks(PAGE):
        reader.read(block)
    assert reader.names["found"]
