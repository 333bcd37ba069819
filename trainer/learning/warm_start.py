"""Warm starts: training starts from the weights of a base model, also if types were added or dropped."""

from collections.abc import Sequence
from dataclasses import replace

import jax
from jaxtyping import Array, Float

from earmark.storage.objects import ObjectNotFoundError, ObjectStore
from earmark.trainer.events import Notice, NoticeCode, TrainingFailedError
from earmark.trainer.job import NetworkSize, TrainingConfig, TrainingJob
from earmark.trainer.model import Model, UnreadableModelError, load_model
from earmark.trainer.network import (
    STEP,
    Architecture,
    Weights,
    initial_parameters,
    new_architecture,
    output_bucket,
)


def base_model(job: TrainingJob, objects: ObjectStore) -> Model | None:
    """Loads the job's base model; None if it has none. Raises TrainingFailedError if it is unusable."""
    if job.base is None:
        return None
    try:
        return load_model(objects, job.base.weights, job.base.config, job.base.sha256)
    except ObjectNotFoundError as error:
        reason = f"its object {error.key!r} is missing from the object store"
    except UnreadableModelError as error:
        reason = str(error)
    raise TrainingFailedError(
        "BASE_MODEL_UNUSABLE",
        f"the base model cannot be started from: {reason}; leave base_model_id out, or choose another",
    )


def initial_weights(
    config: TrainingConfig, base: Model | None, network: NetworkSize
) -> tuple[Architecture, Weights, Notice | None]:
    """The network, its weights before the first step, and a notice of what comes from the base model."""
    types = config.artifact_types
    if base is None:
        architecture = new_architecture(len(types), network)
        return architecture, initial_parameters(architecture, config.seed), None
    architecture = replace(base.architecture, outputs=output_bucket(len(types)))
    fresh = initial_parameters(architecture, config.seed)
    return architecture, *transfer_weights(base, architecture, fresh, types)


def transfer_weights(
    base: Model, architecture: Architecture, fresh: Weights, types: Sequence[str]
) -> tuple[Weights, Notice]:
    """The weights of the base model, but outputs of types that it does not know are `fresh`."""
    base_types = [learned.name for learned in base.types]
    pairs = [(types.index(name), base_types.index(name)) for name in types if name in base_types]

    def weight(
        path: tuple[jax.tree_util.KeyEntry, ...], new: Float[Array, "..."], old: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        if not jax.tree_util.keystr(path, simple=True, separator="/").startswith("head/"):
            return old
        return _with_outputs(new, old, architecture.outputs, pairs)

    parameters = jax.tree_util.tree_map_with_path(weight, fresh, base.parameters)
    return parameters, Notice(NoticeCode.WARM_START, _summary(types, base_types))


def _with_outputs(
    new: Float[Array, "*inputs head"],
    old: Float[Array, "*inputs old_head"],
    outputs: int,
    pairs: Sequence[tuple[int, int]],
) -> Float[Array, "*inputs head"]:
    """`new` with outputs taken from `old`: `pairs` are output numbers in `new` and in `old`.

    The last axis of a head's weight is STEP times the number of outputs long.
    """
    by_output = new.reshape(*new.shape[:-1], STEP, outputs)
    old_by_output = old.reshape(*old.shape[:-1], STEP, -1)
    for new_number, old_number in pairs:
        by_output = by_output.at[..., new_number].set(old_by_output[..., old_number])
    return by_output.reshape(new.shape)


def _summary(types: Sequence[str], base_types: Sequence[str]) -> str:
    groups = {
        "kept": [name for name in types if name in base_types],
        "new": [name for name in types if name not in base_types],
        "dropped": [name for name in base_types if name not in types],
    }
    parts = [f"{group}: {', '.join(names)}" for group, names in groups.items() if names]
    return f"the weights are those of the base model; types {'; '.join(parts)}"
