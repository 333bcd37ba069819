"""What a model learns about its types besides the weights: how long they last, and how to shift their logits.

The lengths come from the training annotations, the shift (calibration) mostly from the validation
annotations. This module does no input or output.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int64
from scipy import ndimage  # type: ignore[import-untyped]  # it has no stubs

from trainer.model import LearnedType
from trainer.network import OUTPUT_MS
from trainer.regions import Region

SMOOTHING_SHARE = 0.5  # of a short artifact: a longer median filter would erase it
SHORT_QUANTILE = 0.1  # of the lengths
SHORTEST_SHARE = 0.7  # of the shortest artifact
SHORTEST_QUANTILE = 0.02  # of the lengths: the very shortest annotation may be a slip

# Weighting a type's positives by w shifts its logits by ln w. The initial offset undoes this share of it.
UNDONE_SHARE = 0.75

# The thresholds to choose from, evenly spaced in the logit, where they are penalised.
LOGITS = np.linspace(-4, 4, 33)
CANDIDATES = 1 / (1 + np.exp(-LOGITS))
# The penalty in F1 for a logit at distance 1 from 0. It is divided by the number of examples, because few
# examples are weak evidence for a distant threshold. It is limited, so that a hardly trained model that finds
# nothing at 0.5 still gets the offset it needs.
PENALTY = 2.5
HIGHEST_PENALTY = 0.1
KERNEL = np.exp(-0.5 * (LOGITS[12:21] / 0.5) ** 2)  # a best threshold with bad neighbours is chance
RESAMPLES = 200


def learned_types(
    types: Sequence[str], regions: Sequence[Region], positive_weight: Float32[np.ndarray, " outputs"]
) -> tuple[LearnedType, ...]:
    """Each type with the settings that follow from its training events and its `positive_weight`."""
    lengths: dict[str, list[int]] = {name: [] for name in types}
    for region in regions:
        for event in region.events:
            lengths[event.artifact_type].append(event.offset_ms - event.onset_ms)
    return tuple(
        LearnedType(name, smoothing(type_lengths), shortest_ms(type_lengths), initial_offset(float(weight)))
        for (name, type_lengths), weight in zip(lengths.items(), positive_weight, strict=False)
    )


def smoothing(lengths_ms: Sequence[int]) -> int:
    """The length of a type's median filter in outputs, odd; 1 without lengths."""
    if not len(lengths_ms):
        return 1
    return int(SMOOTHING_SHARE * np.quantile(lengths_ms, SHORT_QUANTILE) / OUTPUT_MS) // 2 * 2 + 1


def shortest_ms(lengths_ms: Sequence[int]) -> int:
    """The length below which a detection is dropped; 0 without lengths."""
    return int(SHORTEST_SHARE * np.quantile(lengths_ms, SHORTEST_QUANTILE)) if len(lengths_ms) else 0


def initial_offset(positive_weight: float) -> float:
    """What to add to the logits of a type that was trained with this weight, before calibration."""
    return -UNDONE_SHARE * float(np.log(positive_weight))


def offset(counts: Int64[np.ndarray, "thresholds regions 3"]) -> float:
    """What to add to a type's logits, so that the best one of the thresholds CANDIDATES becomes 0.5.

    `counts` are the reference, estimated and matched events. The best threshold has the highest F1, averaged
    over bootstrap samples of the regions and over neighbouring thresholds, less the penalty. The offset is 0
    without support.
    """
    support, regions = counts[0, :, 0].sum(), counts.shape[1]
    if not support:
        return 0.0
    drawn = np.random.default_rng(0).multinomial(regions, np.full(regions, 1 / regions), RESAMPLES)
    totals = np.einsum("br,trc->btc", drawn, counts)
    f1 = (2 * totals[..., 2] / np.maximum(1, totals[..., 0] + totals[..., 1])).mean(axis=0)
    f1 = ndimage.convolve1d(f1, KERNEL / KERNEL.sum(), mode="nearest")
    penalty = min(HIGHEST_PENALTY, PENALTY / support)
    return -float(LOGITS[np.argmax(f1 - penalty * LOGITS**2)])
