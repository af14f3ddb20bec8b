"""A ratio of two sums over rows, re-centred at its own value: all that the moment-based intervals need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from engine.ope.sums.moments import Pair
from engine.types import FloatArray

Form = Mapping[int, float]
Bounds = tuple[float | None, float | None]
NOTHING: Bounds = (None, None)


class Sums(Protocol):
    """What a finished evaluation knows of its columns: n rows, (m,) sums and centred second moments of pairs."""

    @property
    def n(self) -> int: ...
    @property
    def sums(self) -> FloatArray: ...
    @property
    def seconds(self) -> Mapping[Pair, float]: ...


@dataclass(frozen=True)
class CentredRatio:
    """Sums over n rows of u_i = numerator_i - value * denominator_i and of the denominators.

    The value solves sum(u) = 0; at another candidate value + t the rows are u_i - t denominator_i, whose sum is
    -t * denominator and whose sum of squares is squares - 2 t cross + t^2 denominator_squares.

    Attributes:
        n: rows.
        value: sum(numerator) / sum(denominator).
        denominator: sum of the denominators; n for a mean.
        squares: sum of u_i^2.
        cross: sum of u_i denominator_i; 0 for a mean.
        denominator_squares: sum of denominator_i^2; n for a mean.
    """

    n: int
    value: float
    denominator: float
    squares: float
    cross: float
    denominator_squares: float

    @classmethod
    def of_mean(cls, n: int, mean: float, squares: float) -> CentredRatio:
        """A mean of n rows whose squared distances from it sum to `squares`."""
        return cls(n, mean, float(n), max(squares, 0.0), 0.0, float(n))

    def negated(self) -> CentredRatio:
        """The ratio of the negated numerators: what bounds it from below bounds this one from above."""
        return CentredRatio(self.n, -self.value, self.denominator, self.squares, -self.cross, self.denominator_squares)


def total(sums: Sums, form: Form) -> float:
    """Sum over the rows of a linear form of the columns; column 0 is the constant 1."""
    return float(sum(factor * sums.sums[column] for column, factor in form.items()))


def product(sums: Sums, a: Form, b: Form) -> float:
    """Sum over the rows of the product of two linear forms."""
    centred = sum(
        x * y * sums.seconds[min(i, j), max(i, j)] for i, x in a.items() for j, y in b.items() if i != 0 and j != 0
    )
    return centred + total(sums, a) * total(sums, b) / sums.n


def ratio_of(sums: Sums, numerator: Form, denominator: Form) -> CentredRatio | None:
    """The ratio of two linear forms; None where the denominator sums to 0."""
    below = total(sums, denominator)
    if not below:
        return None
    value = total(sums, numerator) / below
    rows = dict(numerator)
    for column, factor in denominator.items():
        rows[column] = rows.get(column, 0.0) - value * factor
    squares = max(product(sums, rows, rows), 0.0)
    return CentredRatio(
        sums.n, value, below, squares, product(sums, rows, denominator), product(sums, denominator, denominator)
    )
