"""docs/training-models.md and docs/detecting.md are right: every block runs and prints what is shown."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from earmark.client import Client, connect, upload, wait_until_ready, watch
from earmark.client.local import LocalSystem
from earmark.v1 import annotation_service_pb2 as annotations
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import dataset_service_pb2 as datasets
from earmark.v1 import model_service_pb2 as models
from earmark.v1 import training_service_pb2 as training
from earmark.v1.training_config_pb2 import TrainingConfig
from protos.generate import GEN
from tests.docs.guide import Reader, blocks
from tests.sounds import write_wav

DOCS = Path(__file__).parents[2] / "docs"
GUIDE, DETECTING = DOCS / "training-models.md", DOCS / "detecting.md"
HEADINGS = """Prerequisites, Creating a job, Settings, Choosing types, Watching and polling, Statuses,
    Reading the metrics, Models, Cancelling, When to retrain, The same with asyncio, Troubleshooting"""
UNSET = {"off", "none"}  # defaults in the table of settings that mean no value


@dataclass
class Examples:
    """Creates the resources of the guide's examples in a running system, with their files in `folder`."""

    client: Client
    folder: Path

    def dataset(self, name: str, *seconds: float, broken: int = 0) -> tuple[str, list[str], str]:
        """Make a dataset with a published annotation set; return the ids of dataset, files and set.

        There is one file for each of `seconds`, and `broken` files that are not audio.
        """
        types = [datasets.ArtifactType(name=kind) for kind in ("dropout", "glitch", "echo")]
        request = datasets.CreateDatasetRequest(name=name, artifact_types=types)
        dataset_id = self.client.datasets.CreateDataset(request).dataset.id
        ids, new = [], []
        for number, length in enumerate(seconds):
            path = self.folder / f"{name}-{number}.wav"
            placed = write_wav(path, length, number)
            ids.append(upload(self.client, dataset_id, path).id)
            new += [
                annotations.AnnotationSpec(
                    audio_file_id=ids[-1], artifact_type=kind, start_ms=start, end_ms=end
                )
                for kind, start, end in placed
            ]
        for number in range(broken):
            path = self.folder / f"broken-{number + 1}.wav"
            path.write_text("This is not audio.")
            ids.append(upload(self.client, dataset_id, path).id)
        files = wait_until_ready(self.client, dataset_id)
        ready = [file for file in files if file.processing_status == audio.AUDIO_PROCESSING_STATUS_READY]
        assert len(ready) == len(seconds), files
        set_id = self.draft(dataset_id)
        self.client.annotations.BatchCreateAnnotations(
            annotations.BatchCreateAnnotationsRequest(annotation_set_id=set_id, annotations=new)
        )
        self.client.annotations.PublishAnnotationSet(
            annotations.PublishAnnotationSetRequest(annotation_set_id=set_id)
        )
        return dataset_id, ids, set_id

    def draft(self, dataset_id: str, copy_of: str = "") -> str:
        """Make a draft and return its id."""
        request = annotations.CreateAnnotationSetRequest(dataset_id=dataset_id, copy_of=copy_of)
        return self.client.annotations.CreateAnnotationSet(request).annotation_set.id


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that detection jobs may read."""
    return tmp_path_factory.mktemp("calls")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, calls: Path) -> Iterator[LocalSystem]:
    lines: list[str] = []
    settings = {
        "EARMARK_DATA_DIR": str(tmp_path_factory.mktemp("earmark")),
        "EARMARK_PORT": "0",
        "EARMARK_TRAINER_PORT": "0",
        "EARMARK_DETECTION_SOURCES": f"file://{calls}",
    }
    with LocalSystem(settings, lines.append) as system:
        yield system
    sys.stdout.write("\n".join(lines))  # pytest shows it if a test fails


@pytest.fixture
def reader(system: LocalSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "call.wav", 270, 100)
    write_annotated_week(tmp_path)
    with connect(system.address) as client:
        examples = Examples(client, tmp_path)
        main, main_files, main_set = examples.dataset("calls", *[31.0] * 10)
        short, _, short_set = examples.dataset("short", 60.0)
        mixed, mixed_files, mixed_set = examples.dataset("mixed", 301.0, broken=2)
        prepared = {
            "019a9f3e-7b1c-7d2a-9c55-0f6f3f1f2a11": main,
            "019a9f41-aa01-7c4e-b0de-2f4d6c8e0a33": main_set,
            "019a9f41-aa02-7c4e-b0de-2f4d6c8e0a34": examples.draft(main, main_set),
            "019a9f3e-7b1d-7d2a-9c55-0f6f3f1f2a12": short,
            "019a9f41-aa03-7c4e-b0de-2f4d6c8e0a35": short_set,
            "019a9f3e-7b1e-7d2a-9c55-0f6f3f1f2a13": mixed,
            "019a9f41-aa04-7c4e-b0de-2f4d6c8e0a36": mixed_set,
            "019a9f40-1d2e-7a10-8f33-5b9f0f5d1c22": mixed_files[-2],
            "019a9f40-1d30-7a10-8f33-5b9f0f5d1c24": mixed_files[-1],
            "019a9f41-aa05-7c4e-b0de-2f4d6c8e0a37": examples.draft(main, main_set),
            "019a9f40-1d2f-7a10-8f33-5b9f0f5d1c23": main_files[0],
        }
        created_by_blocks = {
            "019a9f45-5e21-7b60-a7c1-8d9e0f1a2b55": lambda names: names["job"].id,
            "019a9f50-77c3-7e81-bb02-1a2b3c4d5e66": lambda names: names["model"].id,
            "019a9f46-1c3d-7a55-8e11-2b3c4d5e6f77": lambda names: names["second"].id,
        }
        yield Reader(
            GUIDE,
            system.address,
            {example: lambda _, real=real: real for example, real in prepared.items()} | created_by_blocks,
        )


def write_annotated_week(folder: Path) -> None:
    """Write two recordings and the table of their annotations."""
    rows = ["file,type,start_ms,end_ms"]
    for seed, name in enumerate(("monday.wav", "tuesday.wav"), start=200):
        rows += [f"{name},{kind},{start},{end}" for kind, start, end in write_wav(folder / name, 151, seed)]
    (folder / "annotations.csv").write_text("\n".join(rows))


def settings_table() -> dict[str, list[str]]:
    """Return the default and the range of each setting in the guide's table."""
    return {
        cells[1].strip().strip("`"): [cell.strip() for cell in cells[2:4]]
        for line in GUIDE.read_text().splitlines()
        if line.startswith("| `") and len(cells := line.split("|")) == 7
    }


@pytest.fixture
def reader_of_detecting(
    system: LocalSystem, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Reader]:
    monkeypatch.chdir(calls)
    for seed, name in enumerate(("call", "monday", "tuesday"), start=100):
        write_wav(calls / f"{name}.wav", 30, seed)
    with connect(system.address) as client:
        dataset_id, _, set_id = Examples(client, calls).dataset("searched", 151.0, 151.0)
        model_id = trained(client, dataset_id, set_id)
        yield Reader(
            DETECTING,
            system.address,
            {
                "019a9f50-77c3-7e81-bb02-1a2b3c4d5e66": lambda _: model_id,
                "019a9f3e-7b1c-7d2a-9c55-0f6f3f1f2a11": lambda _: dataset_id,
                "019a9f41-aa01-7c4e-b0de-2f4d6c8e0a33": lambda _: set_id,
                "file:///srv/calls": lambda _: f"file://{calls}",
                "019a9f52-0c4e-7f90-a1b2-3c4d5e6f7a89": lambda names: names["searched"].id,
                "019a9f52-0c4d-7f90-a1b2-3c4d5e6f7a88": lambda names: names["search"].id,
            },
        )


def trained(client: Client, dataset_id: str, set_id: str) -> str:
    """Train a model and make it active; return its id."""
    job = client.training.CreateTrainingJob(
        training.CreateTrainingJobRequest(
            dataset_id=dataset_id,
            annotation_set_id=set_id,
            config={"artifact_types": ["dropout", "glitch"], "epochs": 8, "seed": 1},
        )
    ).training_job
    *_, created, _ = watch(client, job.id)
    model_id = created.model_created.model_id
    update = models.UpdateModelRequest(
        model={"id": model_id, "is_active": True}, update_mask={"paths": ["is_active"]}
    )
    client.models.UpdateModel(update)
    return model_id


def test_every_block_about_detecting_runs_and_prints_what_is_shown(reader_of_detecting: Reader) -> None:
    for block in blocks(DETECTING):
        reader_of_detecting.read(block)
    assert reader_of_detecting.names["found"]


def test_every_block_runs_and_prints_what_is_shown(reader: Reader) -> None:
    for block in blocks(GUIDE):
        reader.read(block)

    effective = reader.names["would_be"].config
    set_fields = {field.name for field, _ in effective.ListFields()}
    for name, (default, _) in settings_table().items():
        if default in UNSET:
            assert name not in set_fields, name
        elif name not in {"artifact_types", "seed"}:
            assert f"{getattr(effective, name):g}" == default, name


def test_the_headings_are_complete_and_in_order() -> None:
    lines = GUIDE.read_text().splitlines()
    headings = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    assert headings == [heading.strip() for heading in HEADINGS.split(",")]


def test_settings_have_the_ranges_of_the_contract() -> None:
    table = settings_table()
    pool = descriptor_pool.DescriptorPool()
    for file in FileDescriptorSet.FromString((GEN / "earmark" / "descriptors.binpb").read_bytes()).file:
        pool.Add(file)
    options = message_factory.GetMessageClass(pool.FindMessageTypeByName("google.protobuf.FieldOptions"))
    rules_of_field = pool.FindExtensionByName("buf.validate.field")
    for setting in TrainingConfig.DESCRIPTOR.fields:
        rules = options.FromString(setting.GetOptions().SerializeToString()).Extensions[rules_of_field]
        bounds = rules.double if rules.HasField("double") else rules.int32
        if bounds.HasField("gte"):
            assert table[setting.name][1] == f"{bounds.gte:g}-{bounds.lte:g}", setting.name
        else:
            assert setting.name in table
