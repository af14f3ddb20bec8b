"""Safe improvement: today's practice, left only where the bags agree that another action is better.

An action's score here is the lower bound of its gain over the practice,

    gain(x, a)  = score(x, a) - sum over a' of practice(a' | x) score(x, a')
    lower(x, a) = gain(x, a) - t sd_b gain_b(x, a)

with the gain of the fit to all rows, its standard deviation over the B bags b, and t the quantile of Student's t with
B - 1 degrees of freedom at the stated confidence. The practice itself has exactly 0, so it stays wherever no bound is
above 0. What holds contact by contact holds for all of them together: the standard deviation of a sum is at most the
sum of the standard deviations, so the lower bound of the whole gain is at least the sum of the lower bounds. The idea
is that of policy improvement which falls back on the practice where the data say little (Laroche, Trichelair & Tachet
des Combes, "Safe Policy Improvement with Baseline Bootstrapping", ICML 2019), with bags in the place of counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from engine.decide.asking import unchecked_distribution
from engine.errors import ParameterError
from engine.features import ContextBatch
from engine.protocols import Policy
from engine.types import HOLD, BoolArray, Float32Array, FloatArray
from policies.parts.config import LEAST_BAGS, require_confidence
from policies.parts.tables import PartTables
from policies.vw.scoring import kernels
from policies.vw.scoring.compiled import CompiledPolicy
from policies.vw.scoring.tables import BATCH_ROWS, ScoreTables

# What is not better than a sure practice must not tie with it.
_BELOW = -np.finfo(np.float64).tiny


@dataclass(frozen=True, kw_only=True)
class SafePolicy(CompiledPolicy):
    """A compiled policy that explores around the practice wherever nothing is surely better.

    `scores` stay those of the learnt parts; the exploration is asked with the lower bounds. A practice that draws by
    chance decides itself where it stays, with its own probabilities.

    Attributes:
        bags: the parts of every bag; what is the same in all of them, as prices, may be left out.
        practice: what is done today; any policy.
        confidence: in (0.5, 1), one-sided.
        shown: whether contacts that were not learnt from show that leaving the practice pays; else it stays everywhere.
    """

    bags: tuple[PartTables, ...]
    practice: Policy
    confidence: float = 0.9
    shown: bool = True

    def __post_init__(self) -> None:
        require_confidence(self.confidence, "SafePolicy")
        if len(self.bags) < LEAST_BAGS:
            raise ParameterError("bags", "SafePolicy", allowed=f"at least {LEAST_BAGS}", got=len(self.bags))

    @property
    def fused(self) -> bool:
        """Only the scores of the bags are made by kernels, not the choice."""
        return False

    def batch_distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """`distribution` of a small batch."""
        today = unchecked_distribution(self.practice, context, eligible)
        lower = self.lower(context, today)
        # What the practice does is done today, whatever the log showed of it.
        shown = np.where(today > 0.0, lower, self.known_first(lower, context, eligible))
        lower = np.where(eligible, shown, -np.inf)
        sure = (today == 1.0).any(axis=1)
        asked = np.flatnonzero(sure | (lower.max(axis=1) > 0.0))
        out = today.copy()
        # What is not eligible plays no part, but has to be a number.
        scores = np.where(eligible[asked], lower[asked], 0.0)
        out[asked] = self.exploration.distribution(scores, eligible[asked], self.rounds)
        return out

    def lower(self, context: ContextBatch, today: FloatArray) -> FloatArray:
        """(n, k) lower bound of each action's gain over the practice; 0 for a practice that is sure.

        Args:
            context: n rows.
            today: (n, k) distribution of the practice.

        Raises:
            DataError: the context has another schema.
        """
        x = self.encoder.encode(context)
        width = float(stdtrit(len(self.bags) - 1, self.confidence))
        total, squares = np.zeros(today.shape), np.zeros(today.shape)
        for count, gain in enumerate((self._gain(bag, x, today) for bag in self.bags), start=1):
            # Welford's sums: what all bags say alike has a deviation of exactly 0.
            step = gain - total
            total += step / count
            squares += step * (gain - total)
        own = self._gain(self.tables, x, today)
        lower = own - width * np.sqrt(squares / (len(self.bags) - 1))
        beaten: FloatArray = np.where((today == 1.0) | ((lower > 0.0) & self.shown), lower, np.minimum(lower, _BELOW))
        return beaten

    def improvement(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """(n,) lower bound of what leaving the practice brings; 0 where it stays."""
        best = np.empty(context.n)
        for start in range(0, context.n, BATCH_ROWS):
            rows = slice(start, min(start + BATCH_ROWS, context.n))
            some, may = context.take(rows), eligible[rows]
            today = unchecked_distribution(self.practice, some, may)
            best[rows] = np.where(may, self.lower(some, today), -np.inf).max(axis=1)
        return np.maximum(best, 0.0)

    def kept(self, context: ContextBatch, eligible: BoolArray) -> BoolArray:
        """(n,) rows in which the practice stays."""
        stays: BoolArray = self.improvement(context, eligible) == 0.0
        return stays

    def holds(self, context: ContextBatch, eligible: BoolArray) -> bool:
        """Whether a practice stays that sends nothing, in one row."""
        sure = unchecked_distribution(self.practice, context, eligible)[0, HOLD] == 1.0
        return bool(sure and self.kept(context, eligible)[0])

    def _gain(self, tables: ScoreTables | PartTables, x: Float32Array, today: FloatArray) -> FloatArray:
        return over_practice(fast_scores(tables, x) if self.fast else tables.scores(x), today)


def over_practice(scores: FloatArray, today: FloatArray) -> FloatArray:
    """(n, k) scores less what the practice's distribution (n, k) scores."""
    # Summed over every action: of a sure practice this is its score, bit for bit.
    out: FloatArray = scores - np.cumsum(today * scores, axis=1)[:, -1:]
    return out


def fast_scores(tables: ScoreTables | PartTables, x: Float32Array) -> FloatArray:
    """(n, k) scores, by kernels where there are any."""
    return kernels.scores(x, tables) if kernels.AVAILABLE else tables.scores(x)
