import hashlib
import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from earmark.trainer.events import Checkpoint, EpochCompleted, Notice, NoticeCode, TrainingFailedError
from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.job import Annotation, BaseModel
from earmark.trainer.learning.loop import train
from earmark.trainer.learning.warm_start import base_model, transfer_weights
from earmark.trainer.model import LearnedType, Model, load_model
from earmark.trainer.network import Architecture, initial_parameters, logits, output_bucket
from earmark.trainer.pytrees import to_arrays
from tests.trainer.jobs import completed, never

TINY = {"width": 16, "dilations": (1, 2)}
MANY = tuple(f"type {number}" for number in range(9))


def untrained_model(names, seed=1):
    """An untrained model whose weights are all random."""
    architecture = Architecture(output_bucket(len(names)), **TINY)
    weights = initial_parameters(architecture, seed)
    rng = np.random.default_rng(seed)
    drawn = jax.tree.map(lambda w: w + rng.normal(0, 0.1, w.shape).astype(np.float32), weights)
    normal = np.zeros(FEATURES, np.float32), np.ones(FEATURES, np.float32)
    return Model(architecture, tuple(LearnedType(name) for name in names), drawn, *normal)


def started(base, names):
    """The architecture, the fresh weights, and the weights that training starts from."""
    architecture = replace(base.architecture, outputs=output_bucket(len(names)))
    fresh = initial_parameters(architecture, 2)
    parameters, _ = transfer_weights(base, architecture, fresh, names)
    return architecture, fresh, parameters


def logits_of_noise(architecture, parameters):
    """Logits (1, 32, outputs) of some noise, always the same."""
    x = jax.random.normal(jax.random.key(0), (1, 32, FEATURES))
    return np.asarray(logits(architecture, parameters, x, jnp.ones((1, 32), bool)))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (("a", "b", "c"), ("a", "b", "c")),
        (("a", "b", "c"), ("c", "new", "a")),
        (("a", "b", "c"), (*MANY[:7], "b")),
        (("a", "b", "c"), (*MANY, "c", "a")),
        ((*MANY, "a"), ("a", MANY[4])),
        (("a",), ("new",)),
    ],
    ids=["same", "moved", "bucket full", "bucket outgrown", "bucket shrunk", "none in common"],
)
def test_a_type_in_common_starts_with_the_logits_of_the_base_model(before, now):
    base = untrained_model(before)
    architecture, fresh, parameters = started(base, now)
    old, new = logits_of_noise(base.architecture, base.parameters), logits_of_noise(architecture, parameters)
    for column, name in enumerate(now):
        if name in before:
            np.testing.assert_allclose(new[..., column], old[..., before.index(name)], atol=1e-5)
    others = [n for n in range(architecture.outputs) if n >= len(now) or now[n] not in before]
    drawn = to_arrays(fresh)
    for name, weights in to_arrays(parameters).items():
        if name.startswith("head/"):
            both = (of.reshape(-1, architecture.outputs)[:, others] for of in (weights, drawn[name]))
            np.testing.assert_array_equal(*both)


def test_all_weights_but_the_head_come_from_the_base_model():
    base = untrained_model(("a", "b"))
    _, _, parameters = started(base, ("new", *MANY))
    before, after = to_arrays(base.parameters), to_arrays(parameters)
    assert any(name.startswith("stem/") for name in after)
    for name in before:
        if not name.startswith("head/"):
            np.testing.assert_array_equal(after[name], before[name])


@pytest.mark.parametrize(
    ("now", "ending"),
    [
        (("a", "b"), "types kept: a, b"),
        (("b", "c"), "types kept: b; new: c; dropped: a"),
        (("c",), "types new: c; dropped: a, b"),
    ],
)
def test_the_notice_lists_types_kept_new_and_dropped(now, ending):
    base = untrained_model(("a", "b"))
    fresh = initial_parameters(base.architecture, 2)
    _, notice = transfer_weights(base, base.architecture, fresh, now)
    assert notice.code == NoticeCode.WARM_START
    assert notice.message.endswith(ending)


@pytest.fixture(scope="module")
def base(objects, job, tiny):  # noqa: ARG001
    longer = replace(job, config=replace(job.config, epochs=6, learning_rate=0.003), prefix="base")
    done = completed(longer, objects)
    return BaseModel(done.weights, done.config, done.sha256)


def stored(objects, model):
    """The model that a job or a base model has stored."""
    return load_model(objects, model.weights, model.config, model.sha256)


def epochs_of(events):
    return [event for event in events if isinstance(event, EpochCompleted)]


def test_the_first_epoch_starts_from_what_the_base_model_has_learned(objects, job, base):
    once = replace(job, config=replace(job.config, epochs=1, seed=11))
    fresh, warm = (
        epochs_of(train(replace(once, base=start, prefix=f"first-{start is None}"), objects, never))[0]
        for start in (None, base)
    )
    assert warm.validation_loss < 0.7 * fresh.validation_loss
    assert warm.train_loss < 0.7 * fresh.train_loss


def test_an_added_type_is_learned_and_features_are_normalised_as_for_the_base_model(objects, job, base):
    files = [
        replace(file, annotations=(*file.annotations, Annotation("late", 18_000, 19_000)))
        for file in job.files
    ]
    changed = replace(job.config, artifact_types=("late", "noisy"), epochs=1)
    events = list(
        train(replace(job, files=tuple(files), config=changed, base=base, prefix="added"), objects, never)
    )
    (notice,) = (
        event for event in events if isinstance(event, Notice) and event.code == NoticeCode.WARM_START
    )
    assert notice.message.endswith("types kept: noisy; new: late; dropped: gone")
    before, after = (json.loads(objects.get(key)) for key in (base.config, events[-1].config))
    assert (after["mean"], after["deviation"]) == (before["mean"], before["deviation"])
    assert [kind["name"] for kind in after["artifact_types"]] == ["late", "noisy"]
    stored(objects, events[-1])


def test_a_warm_started_job_resumes_to_the_same_bytes(objects, job, base):
    warm = replace(job, base=base, prefix="warm")
    events = list(train(warm, objects, never))
    key = next(event.key for event in events if isinstance(event, Checkpoint))
    resumed = list(train(replace(warm, resume_from=key, attempt=2, prefix="warm-2"), objects, never))
    assert [event.epoch for event in epochs_of(resumed)] == [2]
    assert objects.get(resumed[-1].weights) == objects.get(events[-1].weights)
    assert objects.get(resumed[-1].config) == objects.get(events[-1].config)


def test_a_checkpoint_of_another_base_is_not_resumed_from(objects, job, base):
    key = next(event.key for event in train(job, objects, never) if isinstance(event, Checkpoint))
    events = train(replace(job, base=base, resume_from=key, prefix="other-base"), objects, never)
    messages = [event.message for event in events if isinstance(event, Notice)]
    assert any("starts again with epoch 1" in message for message in messages)


def flipped(data):
    """The bytes with one bit of another value in the last weight."""
    return data[:-4] + bytes([data[-4] ^ 0x10]) + data[-3:]


def unusable_base(objects, base, case):
    """A base model that training cannot start from."""
    config, weights = json.loads(objects.get(base.config)), objects.get(base.weights)
    if case == "missing":
        return replace(base, weights="no/such/weights")
    if case == "damaged":
        objects.put("bad/weights", flipped(weights))
        return replace(base, weights="bad/weights")
    if case == "damaged config":
        objects.put("bad/config", objects.get(base.config).replace(b'window_ms": ', b'window_ms": 1', 1))
        return replace(base, config="bad/config")
    if case == "other weights":
        with safetensors.safe_open(objects.folder / base.weights, "numpy") as file:
            other = safetensors.numpy.save({"x": np.zeros(3)}, file.metadata())
        objects.put("bad/weights", other)
        return replace(base, weights="bad/weights", sha256=hashlib.sha256(other).hexdigest())
    changes = {"old format": {"format": 1}, "old front end": {"frontend": "1"}, "no types": {}}[case]
    kept = {name: value for name, value in config.items() if changes or name != "artifact_types"}
    objects.put("bad/config", json.dumps(kept | changes).encode())
    return replace(base, config="bad/config")


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("missing", "no/such/weights"),
        ("damaged", "the weights bad/weights are damaged"),
        ("damaged config", "bad/config cannot be read: it is damaged"),
        ("other weights", "weights missing or unknown"),
        ("old format", "of format 1 and .*train it again"),
        ("old front end", "front end 1, this trainer has .*train it again"),
        ("no types", "bad/config cannot be read: it is damaged"),
    ],
)
def test_an_unusable_base_model_fails_the_job_before_files_are_read(objects, job, base, case, message):
    events = train(replace(job, base=unusable_base(objects, base, case), prefix="unusable"), objects, never)
    with pytest.raises(TrainingFailedError, match=message) as error:
        next(events)
    assert error.value.reason == "BASE_MODEL_UNUSABLE"
    assert "leave base_model_id out, or choose another" in str(error.value)


def test_a_job_without_a_base_model_has_none(objects, job):
    assert base_model(job, objects) is None


def test_a_model_knows_the_files_of_its_base_model_and_its_job_keeps_their_sides(objects, job, base):
    before = stored(objects, base).files
    assert before.trained | before.held_out == {file.sha256 for file in job.files}
    assert before.trained
    assert before.held_out
    other_seed = replace(job, config=replace(job.config, seed=12, epochs=1), base=base, prefix="known")
    done = completed(other_seed, objects)
    assert stored(objects, done).files == before
    fewer = replace(other_seed, files=job.files[:-1], prefix="fewer")
    done = completed(fewer, objects)
    assert before.trained <= stored(objects, done).files.trained
