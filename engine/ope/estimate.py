"""The frozen result of one estimator on one policy."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Difference:
    """Value of the policy minus value of the baseline, paired on the same rows.

    Attributes:
        baseline: its name.
        value: in the metric's unit.
        stderr / low / high: None where no interval is defined.
    """

    baseline: str
    value: float
    stderr: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Estimate:
    """One policy, one metric, one estimator.

    Attributes:
        policy: name as it was asked for.
        metric: name of the reward column.
        estimator: its name, see `engine.ope.named`.
        value: in the metric's unit; NaN where not defined.
        stderr: standard error, by cluster where the log declares clusters; None where none is defined.
        low / high: interval of level 1 - alpha, or None.
        alpha: error rate of the interval, in (0, 1).
        n: rows.
        ess: effective sample size (sum w)^2 / sum w^2, in rows.
        mean_weight: 1 in expectation where propensities are right and no mass is unsupported.
        max_weight: largest weight.
        unsupported_mass: mean target mass on actions outside the eligible set, in [0, 1]; NaN where it is unknown.
        verdict: better, worse, no difference or insufficient, relative to the baseline.
        exact: false where the log has no propensities or the target's probabilities are estimates.
        difference: to the baseline; None where it is not defined.
        interval: how it was made (`engine.ope.intervals.names`), or None where there is no interval.
        trustworthy: false where the verdict is insufficient: reports must not show the figures as an answer.
        reasons: why the support is too little; empty where it is enough.
        notes: what a reader must know besides.
    """

    policy: str
    metric: str
    estimator: str
    value: float
    stderr: float | None
    low: float | None
    high: float | None
    alpha: float
    n: int
    ess: float
    mean_weight: float
    max_weight: float
    unsupported_mass: float
    verdict: str
    exact: bool
    difference: Difference | None
    interval: str | None
    trustworthy: bool
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars of full precision; what is not finite becomes None."""
        plain: dict[str, Any] = _plain(self)
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate | Difference):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
