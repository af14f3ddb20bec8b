"""What a recent log says of a new version beside the live one: one piece of evidence for every metric of the gate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

import msgspec
import numpy as np
from scipy.special import stdtrit

from engine.audit.rule import AuditRule
from engine.errors import DataError, ParameterError
from engine.log.parquet import LogReader
from engine.log.selection import Selection
from engine.ope.evaluate import evaluate
from engine.ope.metrics.gate import Demand, Evidence, Gate, Rule, evidence_of, gate
from engine.ope.settings import EvaluationSettings
from engine.ope.sums.ratios import standard_error
from engine.ope.target import LoggedTarget, Target
from engine.records.rounds import RoundBatch
from engine.types import HOLD, BoolArray, FloatArray
from experiments.judge.evaluate import each_step, model_factory, question_of
from policies.vw.arguments import VwConfig

SENDS: Final = "sends"
# Metrics of which more is worse, judged wherever a log has them.
LOST: Final = ("unsubscribe", "unsubscribes", "unsubscribed")
# The same, but too rare for most logs: a log that cannot judge them says so and does not block.
RARE: Final = ("complaint", "complaints", "complained", "bounce", "bounces", "bounced")
NEW, LIVE, LOGGED = "new", "live", "logged"
Advance = Callable[[float], None]


class PromoteConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tactful promote`.

    Attributes:
        estimator: the estimator that the gate rests on, fixed before any result is seen.
        error: one-sided error of each demand, in (0, 0.5).
        rule: what is asked of the primary metric: better, not_worse or not_shown_worse.
        margin: margin of the primary metric.
        guardrail_rule / guardrail_margin: rule and margin of the guardrail metrics.
        sends_margin: margin of the sends per decision.
        margins: other margins by metric.
        relative: whether margins are shares of the live version's value; else they are in the metric's unit.
        guarded: metrics of which more is worse, judged where the log has them.
        watched: the same, but they refuse only where the log shows them to be worse.
        required: guardrail metrics that the log must have.
        learnt_rows: drop rows that the new version learnt from, or keep them, which flatters it.
        audit: what the log must fulfil before anything is judged on it.
    """

    evaluation: EvaluationSettings
    model: VwConfig
    estimator: str = "dr"
    error: float = 0.05
    rule: Rule = "not_worse"
    margin: float = 0.05
    guardrail_rule: Rule = "not_worse"
    guardrail_margin: float = 0.2
    sends_margin: float = 0.05
    margins: dict[str, float] = {}
    relative: bool = True
    guarded: tuple[str, ...] = LOST
    watched: tuple[str, ...] = RARE
    required: tuple[str, ...] = ()
    learnt_rows: Literal["drop", "keep"] = "drop"
    audit: AuditRule = AuditRule()

    def __post_init__(self) -> None:
        if not 0 < self.error < 0.5:
            raise ParameterError("error", "promote", allowed="in (0, 0.5)", got=self.error)
        for name in ("margin", "guardrail_margin", "sends_margin"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ParameterError(name, "promote", allowed="at least 0", got=getattr(self, name))


@dataclass(frozen=True)
class After:
    """The rows decided later than `at` (microseconds UTC); a row without an instant is not."""

    at: int

    def keep(self, batch: RoundBatch) -> BoolArray:
        """(n,) bool."""
        later: BoolArray = batch.decided_at > self.at
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
    baseline: str = LIVE,
) -> Judged:
    """Hold a new version against the live one on a log.

    Args:
        new / live: what to compare; `live` may be what the log did.
        metric: primary, more is better.
        side: the rows to judge on; None is all.
        baseline: what `live` is called in the answer.

    Raises:
        DataError: no such metric, or no rows.
        ParameterError: a setting outside its range.
    """
    reader.require_metric(metric)
    known = reader.meta.rewards
    demands = demands_of(metric, config)
    found = []
    for demand in demands:
        if demand.metric == SENDS and SENDS not in known:
            rounds = Selection(reader, metric, side=side)
            alpha, clustered = 2 * config.error, reader.clustered
            found.append(sends_evidence(rounds, new, live, alpha, clustered=clustered))
        elif demand.metric in known:
            found.append(_evidence(reader, new, live, demand.metric, config, side, advance))
    asked = [demand for demand in demands if demand.metric in {one.metric for one in found} or demand.required]
    rows = sum(batch.n for batch in Selection(reader, metric, side=side, context=False))
    return Judged(gate(asked, found, error=config.error, policy=NEW, baseline=baseline), rows)


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
    if not any(batch.n for batch in rounds):
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
        why = "; ".join(skipped.reason for skipped in found.skipped)
        return Evidence(metric, None, None, None, settings.alpha, missing=why)
    evidence = evidence_of(found.results[0], reasons=found.reasons[0])
    if metric in config.watched and evidence.reasons:
        # Too rare to be judged on a log of this size: that is said, and does not block.
        return replace(evidence, reasons=(), missing="; ".join(evidence.reasons))
    return evidence


def sends_evidence(
    rounds: Iterable[RoundBatch], new: Target, live: Target, alpha: float, *, clustered: bool
) -> Evidence:
    """Sends per decision, from the policies' own probabilities: no outcome is in them, only who the contacts are.

    Args:
        alpha: error of the two-sided interval of the difference.
        clustered: whether rows of one `cluster` depend on each other; memory grows with the clusters.

    Raises:
        DataError: no rows.
    """
    for target in (new, live):
        if _silent(target):
            why = f"{target.name} gives the probability of the logged action alone"
            return Evidence(SENDS, None, None, None, alpha, missing=why)
    units, gaps, sums = [], [], np.zeros(2)
    for batch in rounds:
        both = np.column_stack([_sends(new, batch), _sends(live, batch)])
        sums += both.sum(axis=0)
        gaps.append(both[:, 0] - both[:, 1])
        units.append(batch.cluster)
    gap: FloatArray = np.concatenate([np.zeros(0), *gaps])
    n = len(gap)
    if n == 0:
        raise DataError(
            "no decision of the log is left to judge on: the new version learnt from all of them, or none was sent",
            hint="give a log of later decisions",
        )
    mean_new, mean_live = sums / n
    difference = float(mean_new - mean_live)
    own: FloatArray = gap - difference
    if clustered:
        _, place = np.unique(np.concatenate(units), return_inverse=True)
        own = np.bincount(place, weights=own).astype(np.float64)
    reach = _reach(own, n, alpha)
    low, high = (None, None) if math.isnan(reach) else (difference - reach, difference + reach)
    return Evidence(SENDS, difference, low, high, alpha, live=float(mean_live), new=float(mean_new))


def _reach(own: FloatArray, n: int, alpha: float) -> float:
    """Half the width of the interval, from the influences of the units."""
    if len(own) < 2:
        return math.nan
    error = standard_error(float((own * own).sum()), len(own), n)
    return float(stdtrit(len(own) - 1, 1 - alpha / 2)) * error


def _sends(target: Target, batch: RoundBatch) -> FloatArray:
    """(n,) probability of a send; of a log its own choice."""
    full = target.probabilities(batch).full
    # A target that is asked for the logged actions alone gives None; `sends_evidence` has turned it away.
    sent: FloatArray = (batch.action != HOLD).astype(np.float64) if full is None else 1.0 - full[:, HOLD]
    return sent


def _silent(target: Target) -> bool:
    """Whether nobody can say how often it sends."""
    return not target.knows_all and not isinstance(target, LoggedTarget)
