"""What a recent log says of a new version beside the live one: one piece of evidence for every metric of the gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from engine.errors import DataError
from engine.log.parquet import LogReader
from engine.log.selection import Selection
from engine.ope.evaluate import evaluate
from engine.ope.metrics.gate import Demand, Evidence, Gate, evidence_of, gate
from engine.ope.target import Target
from engine.records.rounds import RoundBlock
from engine.types import BoolArray
from experiments.judge.evaluate import each_step, model_factory, question_of
from experiments.judge.promotion_config import SENDS, PromoteConfig
from experiments.judge.promotion_sends import sends_evidence

Advance = Callable[[float], None]


@dataclass(frozen=True)
class After:
    """The rows decided later than `at` (microseconds UTC); a row without an instant is not."""

    at: int

    def keep(self, block: RoundBlock) -> BoolArray:
        """(n,) bool."""
        later: BoolArray = block.decided_at > self.at
        return later


@dataclass(frozen=True)
class Judged:
    """The gate's answer, and the rows that it rests on."""

    gate: Gate
    rows: int


def judge(
    reader: LogReader,
    new: Target,
    live: Target,
    metric: str,
    config: PromoteConfig,
    side: After | None = None,
    advance: Advance | None = None,
) -> Judged:
    """Hold a new version against the live one on a log.

    Args:
        new / live: what to compare; `live` may be what the log did.
        metric: primary, more is better.
        side: the rows to judge on; None is all.

    Raises:
        DataError: no such metric, or no rows.
        ParameterError: a setting outside its range.
    """
    known = reader.meta.rewards
    if metric not in known:
        raise DataError(f"{reader.path} has no metric {metric!r}", hint=f"the log knows: {sorted(known)}")
    demands = demands_of(metric, config)
    found = []
    for demand in demands:
        if demand.metric == SENDS and SENDS not in known:
            rounds = Selection(reader, metric, side=side)
            alpha, clustered = 2 * config.error, reader.meta.clustered
            found.append(sends_evidence(rounds, new, live, alpha, clustered=clustered))
        elif demand.metric in known:
            found.append(_evidence(reader, new, live, demand.metric, config, side, advance))
    asked = [demand for demand in demands if demand.metric in {one.metric for one in found} or demand.required]
    rows = sum(block.n for block in Selection(reader, metric, side=side, context=False))
    return Judged(gate(asked, found, error=config.error), rows)


def demands_of(metric: str, config: PromoteConfig) -> tuple[Demand, ...]:
    """What is asked: the primary metric, the sends, and every guardrail metric."""

    def margin(name: str, default: float) -> float:
        return config.margins.get(name, default)

    primary = Demand(
        metric, role="primary", rule=config.rule, margin=margin(metric, config.margin), relative=config.relative
    )
    limits = {SENDS: config.sends_margin}
    names = dict.fromkeys((SENDS, *config.guarded, *config.watched, *config.required))
    others = [
        Demand(
            name,
            rule="not_shown_worse" if name in config.watched else config.guardrail_rule,
            margin=margin(name, limits.get(name, config.guardrail_margin)),
            relative=config.relative,
            higher_is_better=False,
            required=name in config.required,
        )
        for name in names
        if name != metric
    ]
    return (primary, *others)


def _evidence(
    reader: LogReader,
    new: Target,
    live: Target,
    metric: str,
    config: PromoteConfig,
    side: After | None,
    advance: Advance | None,
) -> Evidence:
    # Each bound of a two-sided interval errs half as often as the interval.
    settings = msgspec.structs.replace(config.evaluation, alpha=2 * config.error, simultaneous=False, comparisons=1)
    factory = model_factory(reader, metric, config.model, settings)
    rounds = Selection(reader, metric, side=side)
    if not any(block.n for block in rounds):
        return Evidence(metric, None, None, None, settings.alpha, missing="no row of the log knows it")
    found = evaluate(
        rounds,
        [new],
        question_of(reader, metric, settings, rounds, estimators=(config.estimator,), baseline=live),
        settings,
        reward_model_factory=factory,
        weighted_model_factory=factory,
        progress=each_step(advance),
    )
    if not found.results:
        return Evidence(
            metric, None, None, None, settings.alpha, missing="; ".join(skipped.reason for skipped in found.skipped)
        )
    evidence = evidence_of(found.results[0], reasons=found.reasons[0])
    if metric in config.watched and evidence.reasons:
        # Too rare to be judged on a log of this size: that is said, and does not block.
        return replace(evidence, reasons=(), missing="; ".join(evidence.reasons))
    return evidence
