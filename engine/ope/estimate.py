"""The frozen result of one estimator on one policy, as evaluations return it and commands print it."""

from __future__ import annotations

import math

import msgspec

BETTER, WORSE, NO_DIFFERENCE, INSUFFICIENT = "better", "worse", "no difference", "insufficient"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Value of the policy minus value of the baseline, paired on the same rows.

    Attributes:
        baseline: Its name.
        value: In the metric's unit; None where not defined.
        stderr / low / high: None where no interval is defined.
    """

    baseline: str
    value: float | None
    stderr: float | None
    low: float | None
    high: float | None


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """One policy, one metric, one estimator; figures that are not finite are None.

    Attributes:
        policy: The policy's name as it was asked for.
        metric: The name of the reward column.
        estimator: The estimator's name, see `engine.ope.estimators.named`.
        value: In the metric's unit.
        stderr: Standard error, by cluster where the log declares clusters; None where none is defined.
        low / high: Interval of level 1 - alpha, or None.
        alpha: Error rate of the interval, in (0, 1).
        n: The number of rows.
        ess: Effective sample size (sum w)^2 / sum w^2, in rows.
        mean_weight: 1 in expectation where propensities are right and no mass is unsupported.
        max_weight: The largest weight.
        unsupported_mass: Mean target mass on actions outside the eligible set, in [0, 1]; None where it is unknown.
        verdict: better, worse, no difference or insufficient, relative to the baseline.
        difference: The difference to the baseline; None where there is no baseline.
        exact: False where the log has no propensities or the target's probabilities are estimates.
        interval: The method of the interval (`engine.ope.settings.INTERVALS`), or "" where there is no interval.
        notes: What a reader must know; the reasons of an insufficient support come first.
        per_contact: The difference per cluster, all of its decisions together (intention to treat where groups were
            assigned to contacts); None where rows are their own clusters, or no such figure is defined.
    """

    policy: str
    metric: str
    estimator: str
    value: float | None
    stderr: float | None
    low: float | None
    high: float | None
    alpha: float
    n: int
    ess: float | None
    mean_weight: float | None
    max_weight: float | None
    unsupported_mass: float | None
    verdict: str
    difference: Difference | None
    exact: bool = True
    interval: str = ""
    notes: tuple[str, ...] = ()
    per_contact: Difference | None = None

    @property
    def trustworthy(self) -> bool:
        """Whether the figures are an answer: reports must not show them as one where the verdict is insufficient."""
        return self.verdict != INSUFFICIENT


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """A policy x estimator that is not defined on a log, and why."""

    policy: str
    estimator: str
    reason: str


def finite(value: float | None) -> float | None:
    """The value, or None where it is none or not finite."""
    return value if value is not None and math.isfinite(value) else None
