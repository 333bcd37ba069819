"""Starting from an earlier model's weights: what both know is kept, whatever types were added or dropped."""

from collections.abc import Sequence
from dataclasses import replace

import jax

from storage.objects import ObjectNotFoundError, ObjectStore
from trainer.events import Notice, NoticeCode, TrainingFailedError
from trainer.job import NetworkSize, TrainingConfig, TrainingJob
from trainer.model import Model, UnreadableModelError, load_model
from trainer.network import (
    FOLD,
    STEP,
    Architecture,
    Weights,
    initial_parameters,
    new_architecture,
    output_bucket,
)


def base_model(job: TrainingJob, objects: ObjectStore) -> Model | None:
    """None for a job without one. Raises TrainingFailedError where it cannot be started from."""
    if job.base is None:
        return None
    try:
        return load_model(objects, job.base.weights, job.base.config)
    except ObjectNotFoundError as error:
        said = f"its object {error.key!r} is missing from the object store"
    except UnreadableModelError as error:
        said = str(error)
    raise TrainingFailedError(
        "BASE_MODEL_UNUSABLE",
        f"the base model cannot be started from: {said}; leave base_model_id out, or choose another",
    )


def initial_weights(
    config: TrainingConfig, base: Model | None, network: NetworkSize
) -> tuple[Architecture, Weights, Notice | None]:
    """The network and its weights before the first step, and a notice of what a base model contributes."""
    types = config.artifact_types
    if base is None:
        architecture = new_architecture(len(types), network)
        return architecture, initial_parameters(architecture, config.seed), None
    architecture = replace(base.architecture, outputs=output_bucket(len(types)))
    fresh = initial_parameters(architecture, config.seed)
    return architecture, *started_from(base, architecture, fresh, types)


def started_from(
    base: Model, architecture: Architecture, fresh: Weights, types: Sequence[str]
) -> tuple[Weights, Notice]:
    """The base's weights, with the outputs of the types in common; those of further types stay `fresh`."""
    known = [kind.name for kind in base.types]
    pairs = [(types.index(name), known.index(name)) for name in types if name in known]

    def weight(path: tuple[jax.tree_util.KeyEntry, ...], new: jax.Array, old: jax.Array) -> jax.Array:
        if not jax.tree_util.keystr(path, simple=True, separator="/").startswith("head/"):
            return old
        return _with_outputs(new, old, architecture.outputs, pairs)

    parameters = jax.tree_util.tree_map_with_path(weight, fresh, base.parameters)
    return parameters, Notice(NoticeCode.WARM_START, _said(types, known))


def _with_outputs(
    new: jax.Array, old: jax.Array, outputs: int, pairs: Sequence[tuple[int, int]]
) -> jax.Array:
    """`new` with the outputs of `old` in `pairs` (of new, of old): both are (..., STEP // FOLD * outputs)."""
    by_output = new.reshape(*new.shape[:-1], STEP // FOLD, outputs)
    earlier = old.reshape(*old.shape[:-1], STEP // FOLD, -1)
    for own, theirs in pairs:
        by_output = by_output.at[..., own].set(earlier[..., theirs])
    return by_output.reshape(new.shape)


def _said(types: Sequence[str], known: Sequence[str]) -> str:
    groups = {
        "kept": [name for name in types if name in known],
        "new": [name for name in types if name not in known],
        "dropped": [name for name in known if name not in types],
    }
    parts = [f"{group}: {', '.join(names)}" for group, names in groups.items() if names]
    return f"the weights are those of the base model; types {'; '.join(parts)}"
