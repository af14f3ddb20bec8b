"""The columns of sums behind an evaluation, and the ratios of them that make an estimate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from engine.ope.intervals.names import USE_WEIGHTS
from engine.ope.ips import Ips
from engine.ope.moments import Pair
from engine.ope.named import Asked
from engine.ope.pooled import Pooled
from engine.ope.terms import ONE, WEIGHT, Estimator
from engine.ope.tuned import Tuned

if TYPE_CHECKING:
    from engine.ope.setup import Setup

ONE_COLUMN: Final = 0


class Ratio(NamedTuple):
    """factor * sum of column `above` / sum of column `below`."""

    above: int
    below: int
    factor: float = 1.0


Ratios = tuple[Ratio, ...]


def members(asked: Asked) -> tuple[Estimator, ...]:
    """The estimators whose columns are summed for one that was asked for."""
    return tuple(asked.members) if isinstance(asked, Tuned | Pooled) else (asked,)


class Layout:
    """The columns of sums behind a `Setup`.

    Attributes:
        columns: (unit, column name) -> position; column 0 is the constant 1, shared by all.
        estimators: per unit those that are defined for it, deduplicated by column.
        named: per unit the columns that `Rows.named` gives: weights and indicators.
        weights: per unit the weights whose support is judged; `WEIGHT` first.
        pairs: positions whose second moments the delta method needs.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.columns: dict[tuple[int, str], int] = {}
        self.estimators: list[list[Estimator]] = []
        self.named: list[list[str]] = []
        self.weights: list[list[str]] = []
        for unit, target in enumerate(setup.units):
            defined = [e for e in setup.estimators if setup.obstacle(target, e) is None]
            if unit == 0 and len(defined) < len(setup.estimators):
                defined.append(Ips())  # what the baseline is worth where an estimator is not defined for it
            parts = [part for asked in defined for member in members(asked) for part in chain(member)]
            weights = dict.fromkeys([WEIGHT, *(member.weight for asked in defined for member in members(asked))])
            named = dict.fromkeys([*weights, *(part.denominator for part in parts if part.denominator != ONE)])
            by_column = {part.numerator: part for part in parts}
            for name in (*named, *by_column):
                self.columns.setdefault((unit, name), self.width)
            self.weights.append(list(weights))
            self.named.append(list(named))
            self.estimators.append(list(by_column.values()))
        self.pairs = self._pairs()

    @property
    def width(self) -> int:
        return 1 + len(self.columns)

    def baseline_estimator(self, estimator: Asked) -> Asked:
        """What judges the baseline beside an estimator: itself, or IPS where it is not defined for the baseline."""
        return estimator if self._setup.obstacle(self._setup.baseline, estimator) is None else Ips()

    def form(self, unit: int, estimator: Estimator, factor: float = 1.0) -> Ratios:
        """The ratios whose sum is the estimator's value, the weighted one first."""
        return tuple(
            Ratio(self.columns[unit, part.numerator], self._below(unit, part), factor) for part in chain(estimator)
        )

    def _below(self, unit: int, part: Estimator) -> int:
        return ONE_COLUMN if part.denominator == ONE else self.columns[unit, part.denominator]

    def _pairs(self) -> tuple[Pair, ...]:
        needed: dict[Pair, None] = {}
        for unit, target in enumerate(self._setup.units):
            for name in self.weights[unit]:
                weight = self.columns[unit, name]
                needed[weight, weight] = None
            for asked in self._setup.estimators:
                judge = self.baseline_estimator(asked)
                own = judge if unit == 0 else asked
                if self._setup.obstacle(target, own) is None and own.has_interval:
                    mine, others = self._groups(unit, own), self._groups(0, judge)
                    weights = self._weights_of(unit)
                    for group in (*(mine[0] | group for group in mine), mine[0] | others[0] | weights):
                        needed.update(dict.fromkeys(_pairs_of(group)))
        return tuple(needed)

    def _weights_of(self, unit: int) -> set[int]:
        """Weights of a unit and of the baseline, where the interval reads them beside the estimate."""
        if self._setup.interval not in USE_WEIGHTS:
            return set()
        return {self.columns[unit, WEIGHT], self.columns[0, WEIGHT]}

    def _groups(self, unit: int, asked: Asked) -> list[set[int]]:
        """Sets of columns that stand in one figure together, first those of the interval.

        Each candidate of a family alone, the least biased first, or all loggers at once.
        """
        found = [{column for ratio in self.form(unit, part) for column in ratio[:2]} for part in members(asked)]
        return [set().union(*found)] if isinstance(asked, Pooled) else found


def chain(estimator: Estimator) -> Iterator[Estimator]:
    """An estimator and those that are added to it."""
    part: Estimator | None = estimator
    while part is not None:
        yield part
        part = part.offset


def quadratic(seconds: Mapping[Pair, float], form: Mapping[int, float]) -> float:
    """Sum over rows of (sum of coefficient * centred column)^2, from the second moments of pairs (i <= j)."""
    varying = {column: value for column, value in form.items() if column != ONE_COLUMN and value != 0.0}
    return sum(a * b * seconds[min(i, j), max(i, j)] for i, a in varying.items() for j, b in varying.items())


def _pairs_of(columns: set[int]) -> list[Pair]:
    used = sorted(columns - {ONE_COLUMN})
    return [(i, j) for i in used for j in used if i <= j]
