"""Bootstrap bags of a part: fits to the contacts drawn anew, which say how far the part could be another.

A contact counts in a bag as often as a draw from Poisson(1) says, fixed by the contact and the number of the bag, with
all its rows: the bootstrap of clusters without a table of draws (Oza & Russell, "Online Bagging and Boosting", AISTATS
2001, section 3). Terms and penalty are those that all rows chose, so a bag costs one regression.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from scipy.special import pdtr

from engine.identity import unit_of
from engine.types import IntArray, KeyArray
from policies.parts.regression import Fitted, Rows, Stream, refit
from policies.parts.tables import PartTables
from policies.vw.arguments import VwConfig
from policies.vw.scoring.tables import ScoreTables

# Nobody counts more often than this: Poisson(1) exceeds it once in ten billion draws.
_MOST: Final = 12
_CDF: Final = pdtr(np.arange(_MOST), 1.0)


def bag_counts(cluster: KeyArray, bag: int, seed: int) -> IntArray:
    """(n,) how often each row counts in a bag: rows of one contact alike, the same wherever they stand."""
    counts: IntArray = np.searchsorted(_CDF, unit_of(cluster, f"parts/bag/{seed}/{bag}"), side="right").astype(np.int64)
    return counts


def bagged(
    fitted: Fitted, stream: Stream, bags: int, passes: int, config: VwConfig, seed: int
) -> tuple[ScoreTables, ...]:
    """The tables of a part in every bag.

    Args:
        fitted: the part, fitted on all rows.
        stream: those rows.
        bags: how many; 0 is none.
        passes / config: of one regression.
        seed: of the draws.

    Raises:
        LearnError: a bag without any row, or a failure of Vowpal Wabbit.
    """
    return tuple(refit(fitted, _drawn(stream, bag, seed), passes, config) for bag in range(bags))


def assembled_bags(tables: PartTables, drawn: Mapping[str, Sequence[ScoreTables]], bags: int) -> tuple[PartTables, ...]:
    """The parts in every bag; losses, which are the same in all of them, stay out.

    Args:
        tables: those of all rows.
        drawn: name of a field of `tables` -> its tables in every bag.
        bags: how many.
    """
    fields: list[dict[str, Any]] = [{name: of_bags[bag] for name, of_bags in drawn.items()} for bag in range(bags)]
    return tuple(replace(tables, losses=(), **own) for own in fields)


def _drawn(stream: Stream, bag: int, seed: int) -> Stream:
    def drawn() -> Iterable[Rows]:
        for batch in stream():
            counts = bag_counts(batch.cluster, bag, seed)
            rows = np.flatnonzero(counts)
            if len(rows):
                yield replace(batch.take(rows), weight=counts[rows])

    return drawn
