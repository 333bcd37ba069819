"""Whether one of two jobs is better, by the paired bootstrap."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earmark.figures import Interval
from earmark.metrics import FEWEST_FILES, interval, resampled

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Difference:
    """F1 of the first job minus that of the second; None without support.

    `first_better` is the share of the draws in which the first is better, where equal ones count half. It and
    `interval` are None if too few files have an annotation.
    """

    value: float | None
    interval: Interval | None = None
    first_better: float | None = None


def differences(first: Numbers, second: Numbers) -> list[Difference]:
    """The differences of each type, then those of the micro and the macro average.

    Both are (files, types, 3): the reference, estimated and matched events of the same files, which are drawn
    together because a file that is hard for one job is mostly hard for the other (Efron and Tibshirani 1993).
    """
    both = np.stack([first, second], axis=1)
    totals = _f1_scores(both.sum(axis=0))
    of_types = first[:, :, 0] > 0
    of_any = of_types.any(axis=1)
    enough = np.array([*of_types.sum(axis=0), of_any.sum(), of_any.sum()]) >= FEWEST_FILES
    of_draws = _f1_scores(resampled(both)) if enough.any() else np.empty((0, *totals.shape))
    return [
        _difference(totals[:, column], of_draws[:, :, column] if enough[column] else None)
        for column in range(len(enough))
    ]


def _difference(total: Floats, of_draws: Floats | None) -> Difference:
    """`total` are both jobs' F1, `of_draws` (draws, 2) those of each draw."""
    value = None if np.isnan(total).any() else float(total[0] - total[1])
    if of_draws is None:
        return Difference(value)
    known = of_draws[~np.isnan(of_draws).any(axis=1)]
    less = known[:, 0] - known[:, 1]
    better = float((less > 0).mean() + (less == 0).mean() / 2)
    return Difference(value, interval(less), better)


def _f1_scores(counts: Numbers) -> Floats:
    """(..., types + 2): the F1 of each type, that of all together, and the mean of the types' F1.

    `counts` are (..., types, 3). NaN without a reference.
    """
    of_types, micro = _f1(counts), _f1(counts.sum(axis=-2))
    known = ~np.isnan(of_types)
    with np.errstate(invalid="ignore"):
        macro = np.nansum(of_types, axis=-1) / known.sum(axis=-1)
    return np.concatenate([of_types, micro[..., None], macro[..., None]], axis=-1)


def _f1(counts: Numbers) -> Floats:
    reference, estimated, matched = np.moveaxis(counts, -1, 0)
    f1_scores: Floats = np.where(reference > 0, 2 * matched / np.maximum(1, reference + estimated), np.nan)
    return f1_scores
