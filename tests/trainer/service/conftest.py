import pytest

from earmark.internal.v1 import trainer_service_pb2 as pb
from tests.records import records
from tests.sounds import bursts, encoded
from tests.trainer.process import running


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """Shares one compilation cache among all trainers of the run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        yield


@pytest.fixture(scope="session")
def trainer(tmp_path_factory, compiled):  # noqa: ARG001
    """A trainer shared by all tests that leave it unchanged."""
    data_dir = tmp_path_factory.mktemp("trainer")
    # Most jobs of the tests are not of the default shape, which would be compiled in vain.
    flags = ("--heartbeat-seconds", "0.2", "--audio-processes", "2", "--precompile", "false")
    flags += ("--trainer-metrics-port", "0")
    with running(data_dir, *flags) as trainer:
        yield trainer.warm()


@pytest.fixture(scope="session")
def files(trainer):
    """A manifest of four processed files of 16 s."""
    manifest = []
    for number in range(4):
        audio, annotations = bursts(16, number)
        name = f"dataset/{number}"
        responses = trainer.process_audio(encoded(audio, "WAV"), name)
        assert responses[-1].WhichOneof("content") == "ready"
        file = pb.TrainRequest.File(
            audio_file_id=name,
            sha256=f"{number:064x}",
            features=f"default/audio/{name}/features",
            duration_ms=16_000,
            annotations=records(annotations, ["static"]),
        )
        manifest.append(pb.TrainRequest(file=file))
    return manifest


@pytest.fixture(scope="session")
def trained(trainer, files):
    """The responses of a job that succeeded, and the capacity while it ran."""
    call = trainer.train(files, epochs=2)
    responses = [next(call), next(call)]
    capacity = trainer.capacity()
    responses += call
    return responses, capacity


@pytest.fixture(scope="session")
def model(trained):
    return trained[0][-1].completed
