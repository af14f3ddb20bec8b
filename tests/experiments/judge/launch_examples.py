"""Backtests as they may come out, written by hand: what the launch report has to say in each case."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.ope.estimate import Difference, Estimate
from engine.ope.metrics.gate import Check, Gate
from experiments.judge.backtest import BacktestOutput
from experiments.judge.launch.recommend import Launch
from experiments.judge.launch.rule_costs import RuleCost
from experiments.judge.launch.support import SupportRow, WeightBin
from experiments.judge.launch.treatment import GroupRow, ShareRow, TreatmentOutput
from experiments.outputs import LogSummary, MetricDifference, MetricRow

HOSTILE = '<script>alert("x")</script>'


def result(policy: str, verdict: str, *, low: float, high: float, baseline: str = "static_segments") -> Estimate:
    middle = (low + high) / 2
    gap = Difference(baseline=baseline, value=middle, stderr=(high - low) / 4, low=low, high=high)
    return Estimate(
        policy=policy,
        metric="margin",
        estimator="dr",
        value=0.25 + middle,
        stderr=0.02,
        low=0.2 + middle,
        high=0.3 + middle,
        alpha=0.05,
        n=80_000,
        ess=7_900.0,
        mean_weight=1.0,
        max_weight=34.0,
        unsupported_mass=0.0,
        verdict=verdict,
        difference=gap,
        notes=("one cluster carries 52.4% of the sampling variance",) if verdict == "insufficient" else (),
    )


def metric(
    policy: str, name: str, layer: str, value: float | None, gap: tuple[float, float] | None = None
) -> MetricRow:
    difference = None
    if gap is not None:
        verdict = "no difference" if gap[0] <= 0 <= gap[1] else "worse"
        difference = MetricDifference(
            baseline="static_segments", value=sum(gap) / 2, stderr=0.001, low=gap[0], high=gap[1], verdict=verdict
        )
    return MetricRow(
        policy=policy,
        metric=name,
        layer=layer,
        label=name.replace("_", " ").capitalize(),
        unit="usd" if "revenue" in name else "share",
        higher_is_better=False,
        value=value,
        stderr=None if value is None else 0.001,
        low=None if value is None else 0.9 * value,
        high=None if value is None else 1.1 * value,
        alpha=0.05,
        rows=80_000,
        effective=7_000.0,
        missing="" if value is not None else "the log has no metric 'replied': no outcome says it",
        difference=difference,
    )


def check(name: str, verdict: str, role: str = "guardrail") -> Check:
    return Check(
        metric=name,
        label=name.replace("_", " "),
        unit="share",
        role=role,
        rule="better" if role == "primary" else "not_worse",
        margin=0.0 if role == "primary" else 0.005,
        relative=False,
        baseline_value=0.25,
        value=0.26,
        gain=-0.01,
        bound=-0.02,
        limit=-0.005,
        verdict=verdict,
        reason=f"{name}: {verdict}",
        blocks=verdict in ("fail", "undecided"),
    )


def shares(change: float) -> tuple[ShareRow, ...]:
    cells = (("treatment", "no message"), ("channel", "email"), ("hours", "18 h"), ("arm", "ten_percent_off"))
    return tuple(
        ShareRow(kind=kind, level=level, baseline=0.4 - 0.05 * i, policy=0.4 - 0.05 * i + change)
        for i, (kind, level) in enumerate(cells)
    )


def example(
    verdict: str, *, unsubscribes: str = "pass", launch: str = "static_segments", **changes: Any
) -> BacktestOutput:
    """A backtest whose learned policy gets this verdict.

    Args:
        verdict: better, worse, no difference or insufficient.
        unsubscribes: what the gate says to unsubscribes.
        launch: what is recommended.
        changes: of other fields.
    """
    bounds = {"better": (0.01, 0.16), "worse": (-0.16, -0.01)}.get(verdict, (-0.05, 0.09))
    checks = (
        check("margin", "pass" if verdict == "better" else "undecided", "primary"),
        check("unsubscribe_rate", unsubscribes),
    )
    weights = (WeightBin(low=0.0, high=0.0, rows=0.4, weight=0.0), WeightBin(low=50.0, high=None, rows=0.6, weight=1.0))
    output = BacktestOutput(
        log=LogSummary(
            path="log.parquet",
            rows=160_000,
            contacts=16_000,
            actions=17,
            metric="margin",
            dropped={"no_outcome": 32_000},
            propensity="logged",
            clusters="contact",
            notes=("SIMULATED: contacts and outcomes come from a simulated world, not from people.",),
            unit="usd",
            description="margin within 3 days",
        ),
        results=(
            result("vw", verdict, low=bounds[0], high=bounds[1]),
            result("static_segments", "no difference", low=0.0, high=0.0),
            result("always:hold", "worse", low=-0.2, high=-0.1),
            result("uniform", "insufficient", low=-1.0, high=1.0),
        ),
        launch=Launch(policy=launch, verdict=verdict, reason=f"vw against static_segments: {verdict}"),
        comparisons=(result("static_segments", "better", low=0.1, high=0.2, baseline="always:hold"),),
        metrics=(
            metric("static_segments", "unsubscribe_rate", "efficiency", 0.006),
            metric("static_segments", "reply_rate", "engagement", None),
            metric("static_segments", "revenue_per_send", "efficiency", 0.8),
            metric("static_segments", "sends_per_decision", "volume", 0.5),
            metric("vw", "unsubscribe_rate", "efficiency", 0.008, (0.0005, 0.0035)),
            metric("vw", "reply_rate", "engagement", None),
            metric("vw", "revenue_per_send", "efficiency", 0.9, (-0.1, 0.3)),
            metric("vw", "sends_per_decision", "volume", 0.49, (-0.015, -0.005)),
        ),
        gate=Gate(
            policy="vw",
            baseline="static_segments",
            passed=not any(one.blocks for one in checks),
            reason="",
            error=0.05,
            checks=checks,
        ),
        support=(
            SupportRow(
                policy="static_segments",
                rows=80_000,
                effective=7_500.0,
                mean_weight=1.01,
                largest_weight=34.0,
                bins=weights,
            ),
            SupportRow(
                policy="vw", rows=80_000, effective=7_900.0, mean_weight=0.99, largest_weight=34.0, bins=weights
            ),
        ),
        treatment=TreatmentOutput(
            policy="vw",
            baseline="static_segments",
            rows=80_000,
            distance=0.34,
            overall=shares(0.02),
            groups=(
                GroupRow(feature="region", level=HOSTILE, share=0.3, distance=0.4, shares=shares(-0.1)),
                GroupRow(
                    feature="days_since_purchase", level="not known", share=0.47, distance=0.37, shares=shares(0.06)
                ),
            ),
        ),
        rules=(
            RuleCost(
                id="C1",
                rule="consent",
                kind="legal",
                removed=0.3,
                silenced=0.04,
                sends=0.05,
                note="not priced: the law",
            ),
            RuleCost(id="F4", rule="frequency", kind="eng", removed=0.5, silenced=0.4, sends=0.4, value=0.16),
        ),
        provenance={"tactful": "0.1.0", "log sha256": "ac1b735f" * 8},
        split={
            "by": "contact",
            "train_fraction": 0.5,
            "seed": 0,
            "train_rows": 80_000,
            "evaluation_rows": 80_000,
            "segments": ["region"],
        },
    )
    return msgspec.structs.replace(output, **changes)
