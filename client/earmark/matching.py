"""Which annotated events and which detected ones are the same. This module does no input or output."""

from collections import deque

import numpy as np
import numpy.typing as npt

from earmark.scores import Spans

COLLAR_MS = 200
OFFSET_SHARE = 0.5

Rows = npt.NDArray[np.int64]  # numbers of events


def matched_pairs(reference: Spans, estimated: Spans) -> tuple[Rows, Rows]:
    """The largest one-to-one matching of close events: their rows in `reference` and in `estimated`.

    Each row of both is an onset and an offset in ms.
    """
    return largest_matching(*close_pairs(reference, estimated))


def close_pairs(reference: Spans, estimated: Spans) -> tuple[Rows, Rows]:
    """The pairs of events that are close enough to match: their rows in `reference` and in `estimated`.

    The rule is that of sed_eval (Mesaros, Heittola and Virtanen 2016): the onsets differ by at most
    COLLAR_MS, and the offsets by at most the larger of COLLAR_MS and OFFSET_SHARE of the event's length.
    """
    order = np.argsort(estimated[:, 0], kind="stable")
    onsets = estimated[order, 0]
    first = np.searchsorted(onsets, reference[:, 0] - COLLAR_MS, "left")
    near = np.searchsorted(onsets, reference[:, 0] + COLLAR_MS, "right") - first
    rows = np.repeat(np.arange(len(reference)), near)
    columns = order[np.arange(len(rows)) + np.repeat(first - np.cumsum(near) + near, near)]
    collar = np.maximum(COLLAR_MS, OFFSET_SHARE * (reference[:, 1] - reference[:, 0]))
    close = np.abs(reference[rows, 1] - estimated[columns, 1]) <= collar[rows]
    return rows[close], columns[close]


def largest_matching(rows: Rows, columns: Rows) -> tuple[Rows, Rows]:
    """As many of the pairs (`rows`, `columns`) as possible, so that no row and no column is in two; by row.

    Pairs that share nothing with another are taken as they are. The others are matched along augmenting paths
    (Berge 1957), in passes until one finds none.
    """
    alone = (np.bincount(rows)[rows] == 1) & (np.bincount(columns)[columns] == 1)
    candidates: dict[int, list[int]] = {}
    for row, column in zip(rows[~alone].tolist(), columns[~alone].tolist(), strict=True):
        candidates.setdefault(row, []).append(column)
    found = [(row, column) for column, row in _augmented(candidates).items()]
    pairs = np.concatenate(
        [np.stack([rows[alone], columns[alone]], axis=1), np.array(found, np.int64).reshape(-1, 2)]
    )
    pairs = pairs[np.argsort(pairs[:, 0])]
    return pairs[:, 0], pairs[:, 1]


def _augmented(candidates: dict[int, list[int]]) -> dict[int, int]:
    """The row of each matched column, from the columns that each row may have."""
    of_column: dict[int, int] = {}
    of_row: dict[int, int] = {}
    left = list(candidates)
    while left:
        # What a search has seen leads nowhere else in this pass, so a pass looks at each column once.
        seen: set[int] = set()
        unmatched = [row for row in left if not _augment(row, candidates, of_row, of_column, seen)]
        if len(unmatched) == len(left):
            break
        left = unmatched
    return of_column


def _augment(
    start: int,
    candidates: dict[int, list[int]],
    of_row: dict[int, int],
    of_column: dict[int, int],
    seen: set[int],
) -> bool:
    """Gives the row a column, with other columns for the rows on the way to one that is free."""
    reached_from: dict[int, int] = {}
    waiting = deque([start])
    while waiting:
        row = waiting.popleft()
        for column in candidates[row]:
            if column in seen:
                continue
            seen.add(column)
            reached_from[column] = row
            if column in of_column:
                waiting.append(of_column[column])
                continue
            step: int | None = column
            while step is not None:
                row = reached_from[step]
                before = of_row.get(row)
                of_row[row], of_column[step] = step, row
                step = before
            return True
    return False
