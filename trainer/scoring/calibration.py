"""What a model learns about its types besides the weights: how long they last, and how to shift their logits.

The lengths come from the training annotations, the shift (calibration) mostly from the validation
annotations. This module does no input or output.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int64
from scipy import ndimage  # type: ignore[import-untyped]  # it has no stubs

from earmark.scores import FRAME_MS, Spans
from earmark.trainer.model import LearnedType
from earmark.trainer.regions import Region

SMOOTHING_SHARE = 0.5  # of a short artifact: a longer median filter would erase it
SHORT_QUANTILE = 0.1  # of the lengths, and of the gaps
LONGEST_MERGE_WINDOW_MS = 200
MERGE_SHARE = 0.5  # of a short gap between two events: a longer window would join them
LONGEST_MIN_DURATION_MS = 1000  # the most that a request for detection can set
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
    spans: dict[str, list[Spans]] = {name: [] for name in types}
    for region in regions:
        for (name, _), of_channel in region.spans_by_channel().items():
            spans[name].append(of_channel)
    return tuple(
        _learned_type(name, spans[name], float(weight))
        for name, weight in zip(types, positive_weight, strict=False)
    )


def _learned_type(name: str, spans: Sequence[np.ndarray], positive_weight: float) -> LearnedType:
    lengths = [int(length) for of_region in spans for length in of_region[:, 1] - of_region[:, 0]]
    gaps = [gap for of_region in spans for gap in gaps_ms(of_region)]
    return LearnedType(
        name,
        smoothing=smoothing(lengths, gaps),
        min_duration_ms=min_duration_ms(lengths),
        offset=initial_offset(positive_weight),
        merge_window_ms=merge_window_ms(gaps),
    )


def gaps_ms(spans: Spans) -> list[int]:
    """The gap in ms before each event but the first; 0 between events that touch or overlap."""
    ends = np.maximum.accumulate(spans[:, 1])
    return [int(gap) for gap in np.maximum(0, spans[1:, 0] - ends[:-1])]


def merge_window_ms(gaps_ms: Sequence[int]) -> int:
    """The largest gap within one detection: half of a short gap between events, so that events stay apart."""
    if not len(gaps_ms):
        return LONGEST_MERGE_WINDOW_MS
    return int(min(LONGEST_MERGE_WINDOW_MS, MERGE_SHARE * _short_gap_ms(gaps_ms)))


def smoothing(lengths_ms: Sequence[int], gaps_ms: Sequence[int]) -> int:
    """The length of a type's median filter in frames, odd; 1 without lengths.

    A filter closes gaps of up to half its length, so it is no longer than a short gap between events.
    """
    if not len(lengths_ms):
        return 1
    longest_ms = SMOOTHING_SHARE * float(np.quantile(lengths_ms, SHORT_QUANTILE))
    if len(gaps_ms):
        longest_ms = min(longest_ms, _short_gap_ms(gaps_ms))
    return int(longest_ms / FRAME_MS) // 2 * 2 + 1


def _short_gap_ms(gaps_ms: Sequence[int]) -> float:
    """A gap that nearly all others exceed.

    It is one of the gaps themselves: to interpolate between the gaps within a burst and those between bursts
    would give a gap that does not occur.
    """
    return float(np.quantile(gaps_ms, SHORT_QUANTILE, method="lower"))


def min_duration_ms(lengths_ms: Sequence[int]) -> int:
    """The length below which a detection is dropped; 0 without lengths."""
    if not len(lengths_ms):
        return 0
    return int(min(LONGEST_MIN_DURATION_MS, SHORTEST_SHARE * np.quantile(lengths_ms, SHORTEST_QUANTILE)))


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
