"""The promotion gate: may a new version take the place of the live one, given one interval per metric?

Every demand must be met, each at the same one-sided error. That is an intersection-union test (Berger 1982,
"Multiparameter hypothesis testing and acceptance sampling"): the probability of promoting a version that breaks at
least one of its demands is at most that error, however many demands there are and however they depend on each other,
so nothing is divided among them. It holds for the rules `better` and `not_worse`. `not_shown_worse` lets through
whatever the log is too small to speak against, and bounds no such error.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from engine.errors import ParameterError
from engine.ope.estimate import Estimate

Rule = Literal["better", "not_worse", "not_shown_worse"]
Role = Literal["primary", "guardrail"]
Verdict = Literal["pass", "fail", "undecided", "n/a"]

PASSED: Final = "pass"
FAILED: Final = "fail"
UNDECIDED: Final = "undecided"
NOT_KNOWN: Final = "n/a"
_SLACK: Final = 1e-12


@dataclass(frozen=True)
class Demand:
    """What is asked of one metric.

    With gain = new - live where higher is better, live - new where lower is:

    - `better`: the one-sided lower bound of the gain lies above the margin (the least gain that is worth a change);
    - `not_worse`: it lies at or above -margin (non-inferiority: the log must show it);
    - `not_shown_worse`: the upper bound of the gain lies at or above -margin (the log does not show the contrary).

    Attributes:
        metric: name of the metric.
        role: "primary" is what the change is made for, a "guardrail" must not suffer from it.
        rule: one of the three above.
        margin: at least 0, in the metric's unit, or a share of |live| where `relative`.
        relative: see margin. The live value is an estimate itself; its error is not in the bound.
        higher_is_better: false for unsubscribes, complaints, sends, costs.
        required: whether a metric that the log cannot judge (`n/a`) refuses; a primary metric always does.
        label / unit: of the metric for people; its name and "" where nobody says more.
    """

    metric: str
    role: Role = "guardrail"
    rule: Rule = "not_worse"
    margin: float = 0.0
    relative: bool = False
    higher_is_better: bool = True
    required: bool = False
    label: str = ""
    unit: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise ParameterError("margin", f"the demand on {self.metric!r}", allowed="at least 0", got=self.margin)
        if self.rule not in ("better", "not_worse", "not_shown_worse"):
            raise ParameterError(
                "rule", f"the demand on {self.metric!r}", allowed="better, not_worse or not_shown_worse", got=self.rule
            )


@dataclass(frozen=True)
class Evidence:
    """What a log says of one metric: new minus live, paired on the same rows.

    Attributes:
        metric: name of the metric.
        difference: new - live, in the metric's unit; None where the log cannot say.
        low / high: two-sided interval of the difference at level 1 - alpha; None where there is none.
        alpha: its error, in (0, 1): each bound alone errs with alpha / 2.
        live / new: the two values; None where unknown.
        reasons: why the support is too little; empty where it is enough.
        missing: why there is no figure at all; "" where there is one.
    """

    metric: str
    difference: float | None
    low: float | None
    high: float | None
    alpha: float
    live: float | None = None
    new: float | None = None
    reasons: tuple[str, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Check:
    """A demand and what became of it; `tactful backtest` and `tactful promote` print it.

    Attributes:
        metric / label / unit / role / rule / margin / relative: of the demand.
        baseline_value / value: of the live and of the new version; None where nobody measured the metric.
        gain: of the new version, positive is good; None where unknown.
        bound: the one-sided bound of the gain that decides.
        limit: what the bound is held against.
        verdict: pass, fail (the log shows the contrary), undecided (it shows neither), n/a (it cannot say).
        reason: one sentence with the figures.
        blocks: whether this refuses the promotion.
    """

    metric: str
    label: str
    unit: str
    role: Role
    rule: Rule
    margin: float
    relative: bool
    baseline_value: float | None
    value: float | None
    gain: float | None
    bound: float | None
    limit: float | None
    verdict: Verdict
    reason: str
    blocks: bool


@dataclass(frozen=True)
class Gate:
    """The answer; `tactful backtest` and `tactful promote` print it.

    Attributes:
        policy / baseline: names of who is let through, and in place of whom.
        passed: whether no demand refuses.
        reason: one sentence; of a refusal it names every metric that refuses.
        error: one-sided, of every demand.
        checks: One for each demand, in their order.
    """

    policy: str
    baseline: str
    passed: bool
    reason: str
    error: float
    checks: tuple[Check, ...]


def gate(
    demands: Sequence[Demand],
    evidence: Iterable[Evidence],
    *,
    error: float = 0.05,
    policy: str = "new",
    baseline: str = "live",
) -> Gate:
    """Hold the evidence of a log against demands.

    Args:
        demands: distinct metrics, at least one of them primary.
        evidence: at most one per metric, each with `alpha` at most 2 x error; metrics without a demand play no part.
        error: one-sided, in (0, 0.5).
        policy / baseline: names for people.

    Raises:
        ParameterError: an error outside its range, no primary demand, a metric twice, or an interval that errs more
            often than asked.
    """
    if not 0 < error < 0.5:
        raise ParameterError("error", "gate", allowed="in (0, 0.5)", got=error)
    names = [demand.metric for demand in demands]
    if len(set(names)) != len(names) or not any(demand.role == "primary" for demand in demands):
        raise ParameterError("demands", "gate", allowed="distinct by metric, at least one primary", got=names)
    found = _by_metric(evidence, error)
    checks = tuple(_check(demand, found.get(demand.metric)) for demand in demands)
    return Gate(policy, baseline, not any(check.blocks for check in checks), _reason(checks), error, checks)


def evidence_of(estimate: Estimate, live: float | None = None, reasons: tuple[str, ...] = ()) -> Evidence:
    """The evidence in an estimate of the new version whose baseline is the live one.

    Args:
        estimate: Its interval must have alpha = 2 x the error of the gate.
        live: The live version's own value; from the difference where None.
        reasons: Why the support of the estimate is too little (`Evaluation.reasons`).
    """
    difference, new = estimate.difference, estimate.value
    if difference is None or difference.value is None:
        return Evidence(estimate.metric, None, None, None, estimate.alpha, live, new, reasons, "not defined")
    base = live if live is not None or new is None else new - difference.value
    return Evidence(
        estimate.metric, difference.value, difference.low, difference.high, estimate.alpha, base, new, reasons
    )


def _by_metric(evidence: Iterable[Evidence], error: float) -> Mapping[str, Evidence]:
    found: dict[str, Evidence] = {}
    for one in evidence:
        if one.metric in found:
            raise ParameterError("evidence", "gate", allowed="at most one per metric", got=one.metric)
        if one.alpha > 2 * error + _SLACK:
            raise ParameterError(
                "alpha", f"the evidence on {one.metric!r}", allowed=f"at most 2 x error = {2 * error:g}", got=one.alpha
            )
        found[one.metric] = one
    return found


def _check(demand: Demand, evidence: Evidence | None) -> Check:
    if evidence is None or evidence.missing or evidence.difference is None:
        why = (evidence.missing if evidence else "") or "the log does not have it"
        return _silent(demand, evidence, NOT_KNOWN, why, blocks=demand.required or demand.role == "primary")
    if evidence.low is None or evidence.high is None:
        return _silent(demand, evidence, UNDECIDED, "there is no interval", blocks=True)
    if evidence.reasons:
        # A figure without support may err in both directions: not even "not shown worse" can be read from it.
        return _silent(demand, evidence, UNDECIDED, "; ".join(evidence.reasons), blocks=True)
    if demand.relative and evidence.live is None:
        return _silent(demand, evidence, UNDECIDED, "the live value is not known, the margin is a share of it", True)
    sign = 1.0 if demand.higher_is_better else -1.0
    low, high = sorted((sign * evidence.low, sign * evidence.high))
    margin = demand.margin * (abs(evidence.live or 0.0) if demand.relative else 1.0)
    limit = margin if demand.rule == "better" else -margin
    verdict = _verdict(demand.rule, low, high, limit)
    bound = high if demand.rule == "not_shown_worse" else low
    why = _sentence(demand, evidence, limit, verdict)
    return _answer(demand, evidence, sign * evidence.difference, verdict, why, verdict != PASSED, (bound, limit))


def _answer(
    demand: Demand,
    evidence: Evidence | None,
    gain: float | None,
    verdict: Verdict,
    reason: str,
    blocks: bool,
    held: tuple[float | None, float | None] = (None, None),
) -> Check:
    """The check of a demand; `held` is the bound that decides and its limit."""
    return Check(
        metric=demand.metric,
        label=demand.label or demand.metric,
        unit=demand.unit,
        role=demand.role,
        rule=demand.rule,
        margin=demand.margin,
        relative=demand.relative,
        baseline_value=evidence.live if evidence else None,
        value=evidence.new if evidence else None,
        gain=gain,
        bound=held[0],
        limit=held[1],
        verdict=verdict,
        reason=reason,
        blocks=blocks,
    )


def _verdict(rule: Rule, low: float, high: float, limit: float) -> Verdict:
    if rule == "better":
        return PASSED if low > limit else FAILED if high <= limit else UNDECIDED
    if rule == "not_worse":
        return PASSED if low >= limit else FAILED if high < limit else UNDECIDED
    return PASSED if high >= limit else FAILED


def _silent(demand: Demand, evidence: Evidence | None, verdict: Verdict, why: str, blocks: bool) -> Check:
    value = evidence.difference if evidence is not None else None
    gain = None if value is None else (value if demand.higher_is_better else -value)
    return _answer(demand, evidence, gain, verdict, f"{demand.metric}: {verdict}, {why}", blocks)


_SHOWN: Final[Mapping[tuple[str, str], str]] = {
    ("better", PASSED): "shown to be better",
    ("better", FAILED): "shown not to be better",
    ("better", UNDECIDED): "not shown to be better",
    ("not_worse", PASSED): "shown to be not worse",
    ("not_worse", FAILED): "shown to be worse",
    ("not_worse", UNDECIDED): "not shown to be not worse",
    ("not_shown_worse", PASSED): "not shown to be worse",
    ("not_shown_worse", FAILED): "shown to be worse",
}


def _sentence(demand: Demand, evidence: Evidence, limit: float, verdict: Verdict) -> str:
    by = f" by more than {abs(limit):.4g}" if limit else ""
    confidence = 100 * (1 - evidence.alpha / 2)
    return (
        f"{demand.metric}: {_SHOWN[demand.rule, verdict]}{by}; new - live is {evidence.difference:+.4g}, "
        f"one-sided {confidence:g} % bounds {evidence.low:+.4g} and {evidence.high:+.4g}"
    )


def _reason(checks: tuple[Check, ...]) -> str:
    refusing = [check.reason for check in checks if check.blocks]
    if refusing:
        return "; ".join(refusing)
    unknown = [check.metric for check in checks if check.verdict == NOT_KNOWN]
    tail = f" ({', '.join(unknown)}: n/a)" if unknown else ""
    return f"every demand is met{tail}: " + "; ".join(check.reason for check in checks if check.verdict == PASSED)
