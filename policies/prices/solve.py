"""The dual: multipliers of budgets, by coordinate-wise root finding on sums that are evaluated elsewhere.

maximise sum_i <p_i, s_i> + exploration  subject to  sum_i <p_i, u_j> <= b_j  has the Lagrangian in which every score is
lowered by sum_j price_j u_j(a); price_j >= 0 and price_j > 0 only where the budget binds (complementary slackness;
Boyd & Vandenberghe, "Convex Optimization", 2004, section 5.5). For greedy and softmax the expected use is the gradient
of that convex dual; for the other explorations it is the same condition on their own distributions. The use of a term
falls with its own price, so each price is a root of a monotone function, and one term after the other is solved with
the others fixed until all hold (batch coordinate descent on the dual).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.errors import LearnError, ParameterError
from engine.numeric.matmul import matmul
from engine.types import FloatArray

# Reward units: no score comes near it, float32 tables still hold it.
CAP: Final = 1e9
_ROUNDS: Final = 60
_FALLING: Final = 40
_STEPS: Final = 100
# A price that moves less has not moved; float32 tables know no finer ones.
_STILL: Final = 1e-9

# Prices (J,) -> the expected use of each term (J,) and the scale (J,) that its tolerance is a share of.
Evaluate = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


@dataclass(frozen=True)
class Solution:
    """Prices at which every budget holds.

    Attributes:
        price: (J,) reward units per unit of the term, >= 0.
        use: (J,) expected use at these prices.
        evaluations: times that the expected use was computed.
    """

    price: FloatArray
    use: FloatArray
    evaluations: int


class Dual:
    """Finds the prices of J terms.

    Args:
        names: the names of the terms, for errors.
        bounds: (J,) what each may use at most.
        evaluate: gives use and scale at prices; deterministic.
        tolerance: a binding term may stay under its limit by this share of its scale.
        first_step: where the search upwards from 0 begins, in reward units; within the tolerance it changes only the
            time that the search takes.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        bounds: FloatArray,
        evaluate: Evaluate,
        *,
        tolerance: float = 1e-3,
        first_step: float = 0.01,
    ) -> None:
        self._names, self._bounds, self._evaluate = names, bounds, evaluate
        self._tolerance, self._first = tolerance, first_step
        self._known: dict[bytes, tuple[FloatArray, FloatArray]] = {}
        self.evaluations = 0

    def solve(self, start: FloatArray | None = None) -> Solution:
        """The prices, from those of another day or from 0.

        Raises:
            ParameterError: a limit that no price can meet, with what is used at least.
            LearnError: bounds that cannot be met together.
        """
        price = np.zeros(len(self._bounds)) if start is None else np.array(start, dtype=np.float64)
        margin, step = 0.0, np.zeros(len(price))
        for turn in range(_ROUNDS):
            before = price.copy()
            for term in range(len(price)):
                root = self._root(price, term, falls=margin == 0.0)
                price[term] = root + margin * max(self._first, root) if root > price[term] else root
            over, slack = self._over(price), self._slack(price)
            moved = np.abs(price - before) > _STILL * np.maximum(1.0, np.abs(price))
            held = (over <= 1e-9 * (1.0 + np.abs(self._bounds))).all()
            # Where use jumps (a greedy policy, few contacts) no price ends within the tolerance: then the one above
            # the jump is found again and again, and holds.
            if held and (margin > 0.0 or ((price == 0.0) | (over >= -slack) | ~moved).all()):
                return Solution(price, self._at(price)[0], self.evaluations)
            step, price = _extrapolated(step, before, price, every=turn % 3 == 2 and margin == 0.0)
            # Terms that pull at each other over a jump go round for ever; prices that only rise, and by a little more
            # than they must, do not.
            if margin > 0.0 or turn >= _FALLING or np.abs(step).max() <= 1e-4 * np.abs(price).max():
                margin = max(2.0 * margin, 1e-6)
        raise LearnError(
            f"no prices meet all of {list(self._names)} together",
            hint="raise the budget that is furthest off, or the tolerance",
        )

    def _at(self, price: FloatArray) -> tuple[FloatArray, FloatArray]:
        key = price.tobytes()
        if key not in self._known:
            self._known[key] = self._evaluate(price.copy())
            self.evaluations += 1
        return self._known[key]

    def _over(self, price: FloatArray) -> FloatArray:
        over: FloatArray = self._at(price)[0] - self._bounds
        return over

    def _slack(self, price: FloatArray) -> FloatArray:
        slack: FloatArray = self._tolerance * self._at(price)[1]
        return slack

    def _root(self, price: FloatArray, term: int, *, falls: bool) -> float:
        """The price of one term, the others fixed: 0, or where its use is within the tolerance under its limit."""

        def miss(value: float) -> tuple[float, float]:
            trial = price.copy()
            trial[term] = value
            half = float(self._slack(trial)[term]) / 2.0
            return float(self._over(trial)[term]) + half, half

        here = float(price[term])
        value, half = miss(here)
        if abs(value) <= half or (value < 0.0 and (here == 0.0 or not falls)):
            return here
        if value > 0.0:
            low, at_low = here, value
            high, at_high = self._dearer(miss, here, term)
        else:
            high, at_high = here, value
            low, at_low = _cheaper(miss, here)
            if low == 0.0 and at_low <= 0.0:
                return 0.0
        return _between(miss, (low, at_low), (high, at_high))

    def _dearer(self, miss: Callable[[float], tuple[float, float]], here: float, term: int) -> tuple[float, float]:
        step = max(self._first, 0.1 * here)
        for turn in range(_STEPS):
            value, half = miss(min(here + step, CAP))
            if value <= half:
                return min(here + step, CAP), value
            if turn == 3 or here + step >= CAP:
                self._require_reachable(miss, term)
            step *= 4.0
        raise LearnError(f"no price was found for {self._names[term]!r}", hint="raise the tolerance")

    def _require_reachable(self, miss: Callable[[float], tuple[float, float]], term: int) -> None:
        value, half = miss(CAP)
        if value > half:
            least = value - half + float(self._bounds[term])
            raise ParameterError(
                self._names[term],
                "prices",
                allowed=f"at least {least:.6g}: so much is used at any price"
                if least > 0
                else "a limit that prices reach",
                got=float(self._bounds[term]),
                hint="epsilon, a uniform or explored share and a floor send at any price, and nobody gets more than "
                "the guardrails leave: lower the one, or ask for less of the other; "
                "prices.allow_more_volume=true lifts the baseline's volume",
            )


def _extrapolated(
    last: FloatArray, before: FloatArray, price: FloatArray, *, every: bool
) -> tuple[FloatArray, FloatArray]:
    """The round's step, and the prices, sometimes carried on along it (Aitken, 1926): coupled budgets creep."""
    step = price - before
    ahead, behind = float(matmul(step, last)), float(matmul(last, last))
    if not every or behind == 0.0 or ahead <= 0.0:
        return step, price
    ratio = min(ahead / behind, 0.95)
    return step, np.maximum(price + step * ratio / (1.0 - ratio), 0.0)


def _cheaper(miss: Callable[[float], tuple[float, float]], here: float) -> tuple[float, float]:
    """A lower price that uses too much, or 0."""
    step = 0.05 * here
    while here - step > 0.0:
        value, half = miss(here - step)
        if value >= -half:
            return here - step, value
        step *= 4.0
    return 0.0, miss(0.0)[0]


def _between(
    miss: Callable[[float], tuple[float, float]], below: tuple[float, float], above: tuple[float, float]
) -> float:
    """The root between a price that uses too much and one that does not (Illinois; Dowell & Jarratt, BIT 1971)."""
    (low, at_low), (high, at_high) = below, above
    side = 0
    for turn in range(_STEPS):
        if high - low <= 0.1 * _STILL * max(1.0, high):
            break
        ahead = low - at_low * (high - low) / (at_high - at_low) if at_low != at_high else 0.5 * (low + high)
        # Every third turn halves: a jump would hold the secant at one end for ever.
        middle = 0.5 * (low + high) if turn % 3 == 2 or not low < ahead < high else ahead
        if not low < middle < high:
            break
        value, half = miss(middle)
        if abs(value) <= half:
            return middle
        if value > 0.0:
            low, at_low = middle, value
            at_high = at_high / 2.0 if side == 1 else at_high
            side = 1
        else:
            high, at_high = middle, value
            at_low = at_low / 2.0 if side == -1 else at_low
            side = -1
    return high
