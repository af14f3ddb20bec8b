"""Replay a decision log under another pack: what it would have blocked, and what each rule would have cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from engine.content.eligibility import refuse_modular
from engine.errors import DataError, MissingPropensityError, ParameterError
from engine.guardrails.conditions import Conditions, conditions_from, load_conditions
from engine.guardrails.layer import Guardrails
from engine.guardrails.lint.legal import LEGAL, legal_reference
from engine.guardrails.pack import RuleEntry, load_pack
from engine.guardrails.replay.log import (
    COLUMNS,
    DecidingPlan,
    Instead,
    LogRules,
    ReplayCounts,
    RuleTarget,
    deciding_plan,
)
from engine.log.parquet import LogReader
from engine.log.selection import Selection
from engine.log.several import APART
from engine.log.structure import require_sound
from engine.ope.estimate import Estimate
from engine.ope.evaluate import evaluate
from engine.ope.settings import EvaluationSettings
from engine.ope.setup import Question
from engine.storage.given import Given, named
from experiments.judge.specs import load_for
from experiments.outputs import Output
from experiments.serve.prices import policy_under_prices

Advance = Callable[[float], None]

ESTIMATORS: Final = ("snips", "ips")
NEVER_PRICED: Final = "not priced: legal"
# Whatever a pack calls them, nobody may weigh these against money.
_RIGHTS: Final = ("consent", "suppression")
HYPOTHETICAL: Final = (
    "HYPOTHETICAL: nobody applied these rules on this log; prices are estimates, each for one rule alone"
)


class Price(Output, frozen=True, kw_only=True):
    """What a rule would have cost, estimated from the log; hypothetical in any case.

    Attributes:
        hypothetical: always true: nobody applied the rule on this log.
        instead: what would have been done where the rule removes the logged choice: "hold" or "next".
        estimator: snips or ips.
        value: value of the logged policy minus value with the rule, per decision, in the metric's unit; null where
            the log does not support a figure.
        low / high: its interval at 1 - alpha.
        total: `value` times the decisions it was judged on.
        n / ess: decisions, and what they are worth for this question.
        verdict: the policy with the rule against the logged one: better | worse | no difference | insufficient.
        notes: reservations.
    """

    hypothetical: bool = True
    instead: str
    metric: str
    estimator: str
    value: float | None
    low: float | None
    high: float | None
    alpha: float
    total: float | None
    n: int
    ess: float | None
    verdict: str
    notes: tuple[str, ...] = ()


class ReplayRule(Output, frozen=True, kw_only=True):
    """What one rule would have done.

    Attributes:
        blocked: logged sends that it would have removed.
        alone: those of them that no other rule of the pack removes.
        lacking: decisions whose record lacks an input of the rule; there it removes everything in its scope.
        prices: estimates; empty where there are none, and then `not_priced` says why.
    """

    id: str
    rule: str
    kind: str
    blocked: int
    alone: int
    lacking: int
    prices: tuple[Price, ...] = ()
    not_priced: str = ""


class ReplayOutput(Output, frozen=True, kw_only=True):
    """`tactful guardrails replay --json`.

    Attributes:
        pack: version of the pack that is tried; `logged_pack` of the one that decided.
        decisions / sends: how many the log holds.
        blocked: logged sends that the pack as a whole would have removed.
        hypothetical: always true.
    """

    log: str
    pack: str
    logged_pack: str
    decisions: int
    sends: int
    blocked: int
    rules: tuple[ReplayRule, ...]
    hypothetical: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReplayRequest:
    """One replay: the log, the pack to try, and how its rules are priced.

    Attributes:
        log: a decision log.
        pack: name or path of the pack to try.
        metric: a metric of the log, or None: nothing is priced.
        instead: "hold" or "next".
        policy: folder of the policy that decided, where it is not in the folder that the log names.
        alpha: error rate of the intervals, in (0, 1).
        conditions: yaml file of the sender's side; None takes what the log keeps.
    """

    log: Given
    pack: str
    metric: str | None = None
    instead: str = "hold"
    policy: Path | None = None
    alpha: float = 0.05
    conditions: Path | None = None


def replay_pack(request: ReplayRequest, advance: Advance | None = None) -> ReplayOutput:
    """What a pack would have removed of the logged sends, per rule; with a metric, at what price.

    Raises:
        ConfigError: a pack or conditions that cannot be used.
        EligibilityError: a pack that must not start.
        DataError: no decision log of ours, one whose rows contradict each other, an unknown metric, or a policy that
            does not fit the log.
        MissingPropensityError: prices are asked of a log without propensities.
        ParameterError: a setting outside its range.
    """
    if request.instead not in get_args(Instead):
        raise ParameterError("instead", "replay", allowed="hold or next", got=request.instead)
    reader = LogReader(request.log)
    refuse_modular(reader.meta.catalog, "a replay of rules")
    guardrails = Guardrails(load_pack(request.pack), reader.meta.catalog)
    if reader.meta.pack is None:
        raise DataError(
            f"{named(request.log)} was not written by `tactful decide`, so no rules can be replayed",
            hint=APART if APART in reader.meta.notes else "logs of others do not say what our rules would have read",
        )
    rules = LogRules(guardrails, _conditions(request, reader))
    require_sound(reader)
    counts = ReplayCounts()
    for batch in reader.rounds(extra=COLUMNS, context=False):
        counts.add(batch, rules.verdicts(batch))
        if advance is not None:
            advance(batch.n)
    if not counts.decisions:
        raise DataError(f"{named(request.log)} holds no decisions")
    priced, reasons = _prices(request, reader, rules, counts, advance)
    return ReplayOutput(
        log=named(request.log),
        pack=guardrails.version,
        logged_pack=f"{reader.meta.pack['name']}/{reader.meta.pack['version']}",
        decisions=counts.decisions,
        sends=counts.sends,
        blocked=counts.blocked,
        rules=tuple(_rule(entry, counts, priced, reasons) for entry, _ in guardrails.rules),
        notes=(HYPOTHETICAL, *reader.meta.notes),
    )


def _conditions(request: ReplayRequest, reader: LogReader) -> Conditions:
    """The sender's side as given, or as the log keeps it."""
    if request.conditions is not None:
        return load_conditions(request.conditions)
    return conditions_from(reader.meta.conditions or {}, source=f"the footer of {named(request.log)}")


def _rule(
    entry: RuleEntry, counts: ReplayCounts, priced: dict[str, tuple[Price, ...]], reasons: dict[str, str]
) -> ReplayRule:
    return ReplayRule(
        id=entry.id,
        rule=entry.rule,
        kind=entry.kind,
        blocked=counts.by_rule[entry.id],
        alone=counts.alone[entry.id],
        lacking=counts.lacking[entry.id],
        prices=priced.get(entry.id, ()),
        not_priced=reasons.get(entry.id, ""),
    )


def _prices(
    request: ReplayRequest, reader: LogReader, rules: LogRules, counts: ReplayCounts, advance: Advance | None
) -> tuple[dict[str, tuple[Price, ...]], dict[str, str]]:
    """Estimates by rule, and for the others why there is none."""
    entries = [entry for entry, _ in rules.guardrails.rules]
    legal = _legal(entries)
    reasons = dict.fromkeys(legal, NEVER_PRICED)
    others = [entry.id for entry in entries if entry.id not in legal]
    if request.metric is None:
        return {}, reasons | dict.fromkeys(others, "not priced: no --metric")
    if reader.meta.propensity != "logged":
        raise MissingPropensityError(
            f"{named(request.log)} has no propensities, so no price can be estimated",
            hint="leave --metric out to count only",
        )
    reader.require_metric(request.metric, hint="; `tactful join` adds outcomes to decisions")
    plan = _plan(request, reader)
    chosen = []
    for name in others:
        reason = _obstacle(name, counts, plan, request.instead)
        if reason:
            reasons[name] = f"not priced: {reason}"
        else:
            chosen.append(name)
    return _estimated(request, reader, rules, plan, chosen, counts, advance), reasons


def _legal(entries: Sequence[RuleEntry]) -> list[str]:
    """Entries that are legal by their kind, or the same as one that is: another label does not make a law a choice."""
    laws = [entry for entry in (*entries, *legal_reference()) if entry.kind == LEGAL]
    return [
        entry.id
        for entry in entries
        if entry.rule in _RIGHTS or any((entry.rule, entry.params) == (law.rule, law.params) for law in laws)
    ]


def _obstacle(name: str, counts: ReplayCounts, plan: DecidingPlan | None, instead: str) -> str:
    if counts.lacking[name] == counts.decisions:
        return "the log does not hold what the rule reads"
    if not counts.reached[name]:
        return "it removes nothing that this log could send"
    if plan is None and (instead == "next" or counts.mixed_holds[name]):
        return "the policy that decided cannot be rebuilt; give its folder with --policy"
    return ""


def _plan(request: ReplayRequest, reader: LogReader) -> DecidingPlan | None:
    """What decided, where the logged propensities confirm it."""
    folder = request.policy or (Path(reader.meta.policy) if reader.meta.policy else None)
    rounds = Selection(reader, str(request.metric))
    if folder is not None and folder.is_dir():
        decided = policy_under_prices(reader, load_for(folder, reader))
        return None if decided is None else deciding_plan(rounds, decided)
    if request.policy is not None:
        raise DataError(f"there is no policy in {str(request.policy)!r}", hint="give the folder of a trained policy")
    return deciding_plan(rounds, None)


def _estimated(
    request: ReplayRequest,
    reader: LogReader,
    rules: LogRules,
    plan: DecidingPlan | None,
    chosen: Sequence[str],
    counts: ReplayCounts,
    advance: Advance | None,
) -> dict[str, tuple[Price, ...]]:
    if not chosen:
        return {}
    metric = str(request.metric)
    instead: Instead = "next" if request.instead == "next" else "hold"
    spec = reader.meta.rewards[metric]
    found = evaluate(
        Selection(reader, metric, extra=COLUMNS),
        [RuleTarget(name, rules, plan, instead) for name in chosen],
        Question(
            metric=metric,
            reward_range=(spec.low, spec.high),
            estimators=ESTIMATORS,
            clustered=reader.clustered,
        ),
        EvaluationSettings(alpha=request.alpha),
        progress=None if advance is None else (lambda _stage, _done: advance(1.0)),
    )
    prices: dict[str, tuple[Price, ...]] = {}
    for estimate in found.results:
        lacking = counts.lacking[estimate.policy]
        note = (f"{lacking} decisions lack an input of the rule, which removes everything there",) if lacking else ()
        prices[estimate.policy] = (*prices.get(estimate.policy, ()), _price(estimate, instead, note))
    return prices


def _price(estimate: Estimate, instead: str, notes: tuple[str, ...]) -> Price:
    """The loss: the difference with its sign turned, and the ends of its interval with it."""
    difference = estimate.difference
    known = difference is not None and estimate.trustworthy
    value, low, high = None, None, None
    if known and difference is not None:
        value, low, high = (
            None if figure is None else -figure for figure in (difference.value, difference.high, difference.low)
        )
    return Price(
        instead=instead,
        metric=estimate.metric,
        estimator=estimate.estimator,
        value=value,
        low=low,
        high=high,
        alpha=estimate.alpha,
        total=None if value is None else value * estimate.n,
        n=estimate.n,
        ess=estimate.ess,
        verdict=estimate.verdict,
        notes=(*notes, *estimate.notes),
    )
