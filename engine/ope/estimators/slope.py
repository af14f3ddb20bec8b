"""Estimators of growing bias, of which the log itself chooses one (SLOPE)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine.errors import ParameterError
from engine.ope.estimators.terms import Estimator

# Lepski's constant of Tucker & Lee (2021), theorem 1: the criterion then costs the smallest factor.
REACH: Final = math.sqrt(6.0) - 1.0


@dataclass(frozen=True)
class Tuned:
    """The estimator among several that SLOPE chooses for each policy.

    Attributes:
        name: The name in results.
        parameter: what is chosen, "tau" or "estimator" for instance.
        values: The parameter's values, one a member.
        members: the first without bias, whose error, interval and support the result carries.
    """

    name: str
    parameter: str
    values: tuple[str, ...]
    members: tuple[Estimator, ...]

    def __post_init__(self) -> None:
        if not self.members or not self.members[0].has_interval:
            raise ParameterError(
                "estimators",
                self.name,
                allowed="one with an interval first",
                got=self.values,
                hint="what SLOPE chooses is judged by the interval of the first: take ips, snips, dr or the like",
            )

    @property
    def weight(self) -> str:
        return self.members[0].weight

    @property
    def needs_model(self) -> bool:
        return any(member.needs_model for member in self.members)

    @property
    def own_model(self) -> bool:
        return any(member.own_model for member in self.members)

    @property
    def has_interval(self) -> bool:
        return self.members[0].has_interval

    @property
    def caution(self) -> str:
        return self.members[0].caution


def accepted(values: Sequence[float], reaches: Sequence[float]) -> list[int]:
    """The candidates that SLOPE++ accepts, by falling half-width: each agrees with all before it.

    Su, Srinath & Krishnamurthy (2020), algorithm 1, in the form of Tucker & Lee (2021), algorithm 1, which needs no
    candidate to be more biased than the one before. It ends before the first candidate i with
    |value_i - value_j| > reach_i + (sqrt(6) - 1) reach_j for an earlier j.

    Args:
        values: (m,) estimates, at least one.
        reaches: (m,) half-widths of their intervals, not negative.

    Returns:
        Positions in `values`; equal half-widths keep the order given.
    """
    order = sorted(range(len(values)), key=lambda i: -reaches[i])
    for place, i in enumerate(order):
        if any(abs(values[i] - values[j]) > reaches[i] + REACH * reaches[j] for j in order[:place]):
            return order[:place]
    return order


def least_error(
    kept: Sequence[int], values: Sequence[float], errors: Sequence[float], gap_reaches: Sequence[float]
) -> int:
    """Of the accepted candidates the one with the smallest estimated squared error: variance + bias^2.

    SLOPE takes each candidate's interval by itself. But candidates are means over the same rows, so their difference to
    the unbiased one is known far better than either: where rewards are heavy-tailed SLOPE alone accepts a bias of
    several standard errors that the paired difference shows. The bias is the distance of that difference's interval to
    0, as in MAGIC (Thomas & Brunskill 2016, section 6).

    Args:
        kept: positions, from the widest to the narrowest.
        values: (m,) estimates, the first without bias.
        errors: (m,) standard errors.
        gap_reaches: (m,) half-widths of the intervals of value_i - value_0.
    """
    squares = {i: errors[i] ** 2 + max(abs(values[i] - values[0]) - gap_reaches[i], 0.0) ** 2 for i in kept}
    return min(kept, key=lambda i: squares[i])
