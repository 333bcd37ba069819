"""What a model is told of its types after training: how long they last, and which score to believe.

How long comes from the training annotations, which score from the validation ones. No input or output.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from trainer.model import LearnedType
from trainer.network import OUTPUT_MS
from trainer.regions import Region

SMOOTHING_SHARE = 0.5  # of a short artifact: a longer median filter would erase it
SHORT = 0.1  # quantile of the lengths
SHORTEST_SHARE = 0.7  # of the shortest artifact
SHORTEST = 0.02  # quantile of the lengths: the shortest mark may be a slip

# Weighting a type's positives by w shifts its logits by ln w. So much of that is undone from the start.
UNDONE = 0.75

# Thresholds to choose from: even in the logit, where they are penalised.
LOGITS = np.linspace(-4, 4, 33)
CANDIDATES = 1 / (1 + np.exp(-LOGITS))
# Of F1, for a logit that is 1 away from 0: what few examples say is not believed far. Shared by all of them,
# and never more than lets a model that found nothing, for it was hardly trained, be heard.
PENALTY = 2.5
HIGHEST_PENALTY = 0.1
KERNEL = np.exp(-0.5 * (LOGITS[12:21] / 0.5) ** 2)  # a best threshold whose neighbours are bad is chance
RESAMPLES = 200


def learned_types(
    types: Sequence[str], regions: Sequence[Region], positive_weight: Float32[np.ndarray, " outputs"]
) -> tuple[LearnedType, ...]:
    """The types with what their training events and the `positive_weight` of each say."""
    lengths: dict[str, list[int]] = {name: [] for name in types}
    for region in regions:
        for event in region.events:
            lengths[event.artifact_type].append(event.offset_ms - event.onset_ms)
    return tuple(
        LearnedType(name, smoothing(of_type), shortest_ms(of_type), first_offset(float(weight)))
        for (name, of_type), weight in zip(lengths.items(), positive_weight, strict=False)
    )


def smoothing(lengths_ms: Sequence[int]) -> int:
    """The length of a type's median filter in outputs, odd; 1 without lengths."""
    if not len(lengths_ms):
        return 1
    return int(SMOOTHING_SHARE * np.quantile(lengths_ms, SHORT) / OUTPUT_MS) // 2 * 2 + 1


def shortest_ms(lengths_ms: Sequence[int]) -> int:
    """The length under which a detection is none; 0 without lengths."""
    return int(SHORTEST_SHARE * np.quantile(lengths_ms, SHORTEST)) if len(lengths_ms) else 0


def first_offset(positive_weight: float) -> float:
    """What to add to the logits of a type that was trained with this weight, before any is counted."""
    return -UNDONE * float(np.log(positive_weight))


def offset(counts: np.ndarray) -> float:
    """What to add to a type's logits, from (thresholds, regions, 3) reference, estimated and matched events.

    The threshold at CANDIDATES whose F1 is best, over bootstrap samples of the regions and the neighbouring
    candidates and less the penalty, becomes 0.5. It is 0 without support.
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
