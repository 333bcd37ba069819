"""Annotations in the records in which a trainer gets them."""

from collections.abc import Iterable, Sequence

import numpy as np

from earmark.trainer.job import Annotation
from earmark.trainer.packed_job import RECORD


def records(annotations: Iterable[Annotation], types: Sequence[str]) -> bytes:
    """The records of annotations of these types."""
    rows = [
        (types.index(kind), *between, -1 if channel is None else channel)
        for kind, *between, channel in annotations
    ]
    return np.array(rows, RECORD).tobytes()
