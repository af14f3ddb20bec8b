"""What exploring costs, and the width of next month's interval that it buys, as configured and for plain slices."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from scipy.special import ndtri

from engine.ope.estimate import Difference, Estimate
from engine.ope.plan import PilotSums, Terms
from engine.ope.target import LoggedTarget, Target
from engine.records.rounds import RoundBatch
from engine.time.localtime import DAY_US
from engine.types import NOT_AN_INSTANT, FloatArray
from experiments.judge.launch.recommend import BETTER, NO_DIFFERENCE, WORSE
from experiments.judge.launch.rule_costs import Scores
from experiments.outputs import Output
from policies.exploring.exploration import uniform

SLICES: Final = (0.01, 0.02, 0.05, 0.1)
MONTH_DAYS: Final = 30
# Whether exploring is what makes a policy lose.
SHOWN, POSSIBLE, NOT = "shown", "possible", "no"


class ExploringRow(Output, frozen=True, kw_only=True):
    """One way to explore, and what it buys.

    Attributes:
        name: "as configured", or a slice drawn alike from all eligible actions.
        off_greedy: share of the decisions that leave the best action.
        cost: what that costs per decision, in the metric's unit, by the model that was learnt.
        cost_month: the same over a month of decisions.
        half_width: planned half-width of next month's interval for the policy less the baseline, per decision; null
            where no number of decisions shows it.
        unseen: share of the baseline's choices that next month's log cannot judge, since they are never drawn there.
    """

    name: str
    off_greedy: float
    cost: float
    cost_month: float
    half_width: float | None
    unseen: float


class ExploringOutput(Output, frozen=True, kw_only=True):
    """What exploring costs beside what it will teach.

    Attributes:
        baseline: what next month's log is to judge the policy against.
        decisions_month: of 30 days at the pace of the log; as many as the log has where it knows no instants.
        confidence: of the interval.
        measured: what exploring costs per decision as the log itself shows it: the policy as it explores less the same
            without; null where it was not estimated.
        rows: as configured, then the slices.
        without: the policy without exploring less the baseline; null where it was not estimated.
        cause: whether exploring is what makes the policy lose: shown | possible | no (`cause_of`).
    """

    baseline: str
    decisions_month: int
    confidence: float
    measured: Difference | None
    rows: tuple[ExploringRow, ...]
    without: Difference | None = None
    cause: str = NOT


def cause_of(learned: Estimate, greedy: Estimate, measured: Difference | None) -> str:
    """Whether exploring is what makes a policy lose: "shown", "possible" or "no".

    A policy that is worse than the baseline, while the same policy without exploring is not, differs from it by the
    exploring alone. That two verdicts differ shows nothing by itself, so the cause counts as shown only where the
    interval of the cost of exploring on the same decisions leaves out zero; where it does not, it is possible.

    Args:
        learned: the policy as it explores, against the baseline.
        greedy: the same without exploring, against the same baseline by the same estimator.
        measured: the first less the second.
    """
    if learned.verdict != WORSE or greedy.verdict not in (BETTER, NO_DIFFERENCE):
        return NOT
    if measured is None or measured.value is None or measured.value >= 0.0:
        return NOT
    return SHOWN if measured.high is not None and measured.high < 0.0 else POSSIBLE


@dataclass
class ExploringSums:
    """Sums of one pass over a log.

    Attributes:
        policy: as it explores.
        greedy: the same without exploring.
        baseline: what both are held against.
        scores: predicted reward of every action under the policy's own model.
        metric / reward_range: of the rewards.
    """

    policy: Target
    greedy: Target
    baseline: Target
    scores: Scores
    metric: str
    reward_range: tuple[float, float]
    rows: int = 0
    first_at: int = NOT_AN_INSTANT
    last_at: int = NOT_AN_INSTANT
    timed: bool = True
    _sums: FloatArray = field(default_factory=lambda: np.zeros(5))

    def __post_init__(self) -> None:
        # The log to come is decided by the policy, so it is what `PilotSums` calls the baseline.
        self._pilot = PilotSums(
            self.baseline,
            self.greedy,
            metric=self.metric,
            reward_range=self.reward_range,
            explorations=(LoggedTarget(), self.policy, *SLICES),
        )

    def add(self, batch: RoundBatch) -> None:
        """Sum a batch of rows whose metric is known; a batch of none is nothing."""
        if not batch.n:
            return
        eligible = batch.eligible_dense()
        explored, best = self.policy.probabilities(batch).full, self.greedy.probabilities(batch).full
        if explored is None or best is None:
            return
        worth = np.where(eligible, self.scores(batch.context), 0.0)
        even = uniform(eligible)
        theirs = self.baseline.probabilities(batch)
        never = explored <= 0.0
        if theirs.full is None:
            unseen = float(never[np.arange(batch.n), batch.action].sum())
        else:
            unseen = float(np.where(never, theirs.full, 0.0).sum())
        own = np.where(best > 0.0, 1.0, 0.0)
        self._sums += (
            ((best - explored) * worth).sum(),
            ((best - even) * worth).sum(),
            (1.0 - (explored * own).sum(axis=1)).sum(),
            (1.0 - (even * own).sum(axis=1)).sum(),
            unseen,
        )
        self.rows += batch.n
        self._instants(batch)
        self._pilot.add(batch)

    def _instants(self, batch: RoundBatch) -> None:
        low, high = int(batch.decided_at.min()), int(batch.decided_at.max())
        self.timed &= low != NOT_AN_INSTANT
        self.first_at = low if self.first_at == NOT_AN_INSTANT else min(self.first_at, low)
        self.last_at = max(self.last_at, high)

    def result(
        self, share_of_log: float, stderr: float | None, alpha: float, measured: Difference | None = None
    ) -> ExploringOutput | None:
        """What the pass found; None where nothing was summed.

        Args:
            share_of_log: share of the log's rows that were summed, in (0, 1].
            stderr: standard error of the policy's difference to the baseline on these rows, by the estimator that will
                judge next month. What it is beside the plain error of independent rows is carried over: rows of one
                contact depend on each other, and a reward model takes noise away.
            alpha: error of next month's interval.
            measured: see `ExploringOutput`.
        """
        if not self.rows:
            return None
        explored, even, off, off_even, unseen = (self._sums / self.rows).tolist()
        month = self._month(share_of_log)
        here, configured, *slices = self._pilot.result().terms
        factor = math.nan
        if stderr is not None and 0.0 < here.variance < math.inf:
            factor = stderr * stderr * self.rows / here.variance

        def row(name: str, off_greedy: float, cost: float, terms: Terms, never: float) -> ExploringRow:
            spread = factor * terms.variance / month
            half = float(ndtri(1.0 - alpha / 2.0)) * math.sqrt(spread) if math.isfinite(spread) else None
            return ExploringRow(
                name=name, off_greedy=off_greedy, cost=cost, cost_month=cost * month, half_width=half, unseen=never
            )

        return ExploringOutput(
            baseline=self.baseline.name,
            decisions_month=month,
            confidence=1.0 - alpha,
            measured=measured,
            rows=(
                row("as configured", off, explored, configured, unseen),
                *(
                    row(f"a slice of {100 * share:g} %", share * off_even, share * even, terms, 0.0)
                    for share, terms in zip(SLICES, slices, strict=True)
                ),
            ),
        )

    def _month(self, share_of_log: float) -> int:
        rows = self.rows / share_of_log
        if not self.timed:
            return round(rows)
        days = self.last_at // DAY_US - self.first_at // DAY_US + 1
        return max(round(rows / days * MONTH_DAYS), 1)
