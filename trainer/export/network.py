"""The network and what follows it in ONNX: features to scores that are ready for a threshold.

`scores` is the twin of earmark.trainer.scoring.detection.frame_scores, for one track.
"""

import numpy as np

from earmark.scores import ONE
from earmark.trainer.export.graph import Value
from earmark.trainer.export.waveform import median
from earmark.trainer.model import LearnedType, Model
from earmark.trainer.network import STEP
from earmark.trainer.pytrees import to_arrays

NORM_EPSILON = 1e-6  # of Flax


def scores(model: Model, features: Value, frames: Value) -> Value:
    """Return the cleaned and rounded scores (frames, types) of features (frames, features)."""
    architecture, weights = model.architecture, Weights(to_arrays(model.parameters))
    normalised = (features - model.mean) / model.deviation
    valid = (frames.range() * 0 + 1).cast(np.float32).new_axis(1)
    # Outside the audio the network gets frames that are not valid, as far as it reaches.
    missing = STEP - 1 - (frames + (STEP - 1)).op("Mod", STEP)
    x = normalised.join(valid, axis=1).pad(architecture.past, missing + architecture.future)
    x = x.reshape(-1, STEP, model.mean.size + 1)
    x = weights.linear("stem", x.reduce("Mean", 1).join(x.reduce("Max", 1), axis=1))
    for number, (past, future) in enumerate(zip(architecture.dilations, architecture.futures, strict=True)):
        padded, count = weights.norm(f"blocks/{number}/norm", x).pad(past, future), x.length()
        shifted = [padded.cut(shift, count + shift) for shift in (0, past, past + future)]
        hidden = weights.linear(f"blocks/{number}/spread", shifted[0].join(*shifted[1:], axis=1))
        x = x + weights.linear(f"blocks/{number}/gather", hidden.op("Relu"))
    logits = weights.linear("head", weights.norm("norm", x).op("Relu"))
    logits = logits.reshape(-1, architecture.outputs).cut(architecture.past, frames + architecture.past)
    return cleaned(logits.cut(0, len(model.types), axis=1).op("Sigmoid"), model.types)


def cleaned(raw: Value, types: tuple[LearnedType, ...]) -> Value:
    """See the twin in earmark.trainer.scoring.detection."""
    odds = raw * np.exp(np.array([learned.offset for learned in types], np.float32))
    moved = odds / (odds + (1 - raw))
    columns = [
        median(moved.cut(column, column + 1, axis=1).reshape(-1), learned.smoothing, "constant").new_axis(1)
        for column, learned in enumerate(types)
    ]
    return (columns[0].join(*columns[1:], axis=1) * ONE).op("Round") / ONE


class Weights:
    """The layers of a model by the names of its weights."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._arrays = arrays

    def linear(self, name: str, x: Value) -> Value:
        return x @ self._arrays[f"{name}/kernel/value"] + self._arrays[f"{name}/bias/value"]

    def norm(self, name: str, x: Value) -> Value:
        scale, bias = (self._arrays[f"{name}/{part}/value"] for part in ("scale", "bias"))
        return x.op("LayerNormalization", scale, bias, epsilon=NORM_EPSILON)
