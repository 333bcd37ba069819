import jax
import pytest

from earmark.storage.objects import ObjectStore
from earmark.trainer.network import new_architecture
from tests.trainer.jobs import training_job

# An array that is broadcast or converted without being asked to is more often a mistake than meant.
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

SHARD_FRAMES = 1 << 15


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    return ObjectStore.open(str(tmp_path_factory.mktemp("objects")))


@pytest.fixture(scope="module")
def job(objects):
    """Six files of 20 s."""
    return training_job(objects)


@pytest.fixture(scope="module")
def tiny():
    """Uses a network and shards so small that compiling is quick, and device calls of one step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "earmark.trainer.learning.warm_start.new_architecture",
            lambda types, _: new_architecture(types, "tiny"),
        )
        patch.setattr("earmark.trainer.data.shards.SHARD_FRAMES", SHARD_FRAMES)
        patch.setattr("earmark.trainer.learning.epochs.CALL_STEPS", 4)
        patch.setattr("earmark.trainer.learning.epochs.CALL_SECONDS", 1e-9)
        patch.setattr("earmark.trainer.learning.epochs.PROGRESS_SECONDS", 0)
        yield
