"""Explain one logged decision: replay the rules on what they read, and the policy on the logged context."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.contacts.contacts import ContactBatch
from engine.content.eligibility import refuse_modular
from engine.decide.asking import distribution_of
from engine.errors import DataError
from engine.features import ContextBatch
from engine.guardrails.conditions import conditions_from
from engine.guardrails.layer import Guardrails, Removal
from engine.guardrails.pack import pack_from
from engine.guardrails.replay.inputs import contacts_from_rule_inputs
from engine.limits.limit_set import limits_from
from engine.limits.reasons import limits_of, removed_by_limits
from engine.log.parquet import LogReader, context_of, instants
from engine.protocols import Policy
from engine.records.schema import SUPPRESSED
from engine.storage.given import Given
from engine.storage.versions import served_folder
from engine.time.localtime import datetime_of
from engine.types import HOLD, NOT_AN_INSTANT, BoolArray, FloatArray
from experiments.outputs import CommandOutput, Output
from experiments.serve.prices import PricesOutput, charged
from policies.explain import EVERYBODY, Comparison, Part, compare, in_words
from policies.prices.priced import GroupedPolicy
from policies.trained import TrainedFolder
from policies.vw.responses import ResponseModel, Role
from policies.vw.scoring.compiled import CompiledPolicy, EnsemblePolicy
from policies.wrappers.holdback import Holdback, holdback
from policies.wrappers.safe import SafePolicy

Key = Callable[[Part], str]


class RemovalRow(Output, frozen=True, kw_only=True):
    """Why one action was removed."""

    rule: str
    reason: str
    observed: Any = None
    limit: Any = None
    next_allowed_at: str | None = None


class ActionRow(Output, frozen=True, kw_only=True):
    """One action of one decision; p_respond and p_unsub are null where the policy has no model of them.

    `price` is what budgets charged the send, in the metric's unit.
    """

    action: str
    eligible: bool
    score: float | None
    probability: float
    removed_by: tuple[RemovalRow, ...] = ()
    p_respond: float | None = None
    p_unsub: float | None = None
    price: float = 0.0


class ExplainOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful explain --json`.

    Attributes:
        group: treatment, control or uniform.
        metric: what the policy maximises; scores and expected values are in its unit.
        expected_value / p_respond / p_unsub: figures of the chosen action; null where there is no model.
        comparisons: the chosen action against hold and against the runner-up.
        notes: what else to know.
        prices: prices of the budgets that the decision was made under; null where there were none.
        in_parts: action -> its score as one sum of parts: of the chosen action and of those that it is compared with;
            empty where the policy did not learn parts.
    """

    decision_id: str
    decided_at: str
    action: str
    propensity: float
    actions: tuple[ActionRow, ...]
    group: str
    metric: str
    expected_value: float | None
    p_respond: float | None
    p_unsub: float | None
    holdback: HoldbackRow | None
    comparisons: tuple[ComparisonRow, ...] = ()
    notes: tuple[str, ...] = ()
    prices: PricesOutput | None = None
    in_parts: dict[str, str] = {}


def explain_decision(log: Given, decision_id: str, policy_folder: Path | None = None) -> ExplainOutput:
    """Every action of a decision with its score, its probability and the rules that removed it.

    Args:
        log: a decision log that `decide` wrote.
        decision_id: one of its ids.
        policy_folder: the policy, where it is no longer in the folder that the log names.

    Raises:
        DataError: no such decision, or a log without guardrail pack or policy.
        ArtefactError: a damaged policy folder.
    """
    # Of several files the one that holds it: its footer says under which pack, catalog and conditions.
    reader = _holding(LogReader(log), decision_id)
    refuse_modular(reader.meta.catalog, "explain")
    batch = _row(reader, decision_id)
    if reader.meta.pack is None or batch.column("rule_inputs").null_count:
        raise DataError(
            f"{reader.path} was not written by `tactful decide`, so no rules can be replayed",
            hint="explain works on decision logs; for logs of others there were no guardrails of ours",
        )
    catalog = reader.meta.catalog
    who = [batch.column("contact_id")[0].as_py()]
    contacts = contacts_from_rule_inputs([batch.column("rule_inputs")[0].as_py()], who, catalog)
    guardrails = Guardrails(pack_from(reader.meta.pack, source=f"the footer of {reader.path}"), catalog)
    now_at = int(instants(batch.column("decided_at"))[0])
    conditions = conditions_from(reader.meta.conditions or {}, source=f"the footer of {reader.path}")
    explained = guardrails.explain(contacts, 0, datetime_of(now_at), conditions)
    limited = False
    for action, removal in _by_limits(reader, batch, contacts, guardrails, now_at):
        if not explained[action][1]:
            explained[action][1].append(removal)
            limited = True
    return _explained(reader, batch, explained, _folder(reader, policy_folder), limited=limited)


def _explained(
    reader: LogReader,
    batch: pa.RecordBatch,
    explained: Sequence[tuple[int, list[Removal]]],
    folder: Path,
    *,
    limited: bool,
) -> ExplainOutput:
    trained = TrainedFolder(folder)
    policy, responses = trained.scored(), trained.responses()
    names, context = reader.meta.catalog.action_names, context_of(batch, reader.meta)
    eligible = np.array([not reasons for _, reasons in explained])
    dear = charged(reader, str(batch.column("policy_version")[0].as_py()), policy, context)
    probability = distribution_of(dear.policy, context, eligible[None, :])[0]
    seen = outlook(policy, responses, context)
    action, group = int(batch.column("action")[0].as_py()), str(batch.column("group")[0].as_py())
    rows = tuple(
        ActionRow(
            action=names[index],
            eligible=not reasons,
            score=None if seen.scores is None else float(seen.scores[index]),
            probability=float(probability[index]),
            removed_by=tuple(map(removal_row, reasons)),
            p_respond=seen.response("respond", index),
            p_unsub=seen.response("unsub", index),
            price=float(dear.price[index]),
        )
        for index, reasons in explained
    )
    held = None
    if seen.scores is not None:
        suppressed = batch.column("state")[0].as_py() == SUPPRESSED
        held = holdback(
            seen.scores,
            eligible,
            action,
            group=group,
            suppressed=suppressed,
            limited=limited,
            practice=_practice_holds(dear.policy, context, eligible[None, :]),
            price=dear.price,
        )
    compared = comparisons(policy, context, seen.scores, eligible, action)
    return ExplainOutput(
        decision_id=batch.column("decision_id")[0].as_py(),
        decided_at=datetime_of(int(instants(batch.column("decided_at"))[0])).isoformat(),
        action=names[action],
        propensity=batch.column("propensity")[0].as_py(),
        actions=rows,
        group=group,
        metric=trained.manifest.metric,
        expected_value=None if seen.scores is None else float(seen.scores[action]),
        p_respond=seen.response("respond", action),
        p_unsub=seen.response("unsub", action),
        holdback=None if held is None else holdback_row(held, names),
        comparisons=compared,
        notes=(*policy_notes(policy, responses), *dear.notes),
        prices=dear.prices,
        in_parts=_in_parts(policy, context, dict.fromkeys((names[action], *(row.against for row in compared)))),
    )


def _in_parts(policy: Policy, context: ContextBatch, actions: Iterable[str]) -> dict[str, str]:
    if not isinstance(policy, CompiledPolicy):
        return {}
    said = {name: in_words(policy, context, policy.catalog.action_names.index(name)) for name in actions}
    return {name: words for name, words in said.items() if words is not None}


def _practice_holds(policy: Policy, context: ContextBatch, eligible: BoolArray) -> bool:
    """Whether a safe policy stays with a practice that sends nothing."""
    if isinstance(policy, GroupedPolicy):
        policy = policy.members[int(policy.cut.cell_of(context)[0])]
    return isinstance(policy, SafePolicy) and policy.holds(context, eligible)


def _by_limits(
    reader: LogReader, batch: pa.RecordBatch, contacts: ContactBatch, guardrails: Guardrails, now_at: int
) -> list[tuple[int, Removal]]:
    """What set-level limits took from the contact of one decision."""
    if not isinstance(reader.meta.limits, dict):
        return []
    found = limits_of(batch.column("rule_inputs")[0].as_py())
    limits = limits_from(reader.meta.limits, source=f"the footer of {reader.path}")
    planned = guardrails.scene(contacts, datetime_of(now_at)).slots[contacts.zone_code[0]]
    planned = np.where(planned == NOT_AN_INSTANT, now_at, planned)
    return removed_by_limits(limits.limits, found, guardrails.catalog, planned, limits.zone)


def _holding(reader: LogReader, decision_id: str) -> LogReader:
    if len(reader.paths) == 1:
        return reader
    for path in reader.paths:
        one = LogReader(path)
        if any(pc.index(batch.column(0), decision_id).as_py() >= 0 for batch in one.batches(["decision_id"])):
            return one
    raise DataError(f"{reader.path} have no decision {decision_id!r}", hint="decision ids stand in column decision_id")


def _row(reader: LogReader, decision_id: str) -> pa.RecordBatch:
    for batch in reader.batches():
        found = pc.index(batch.column("decision_id"), decision_id).as_py()
        if found >= 0:
            return batch.slice(found, 1)
    raise DataError(f"{reader.path} has no decision {decision_id!r}", hint="decision ids stand in column decision_id")


def _folder(reader: LogReader, folder: Path | None) -> Path:
    named = folder or (Path(reader.meta.policy) if reader.meta.policy else None)
    if named is None or not named.is_dir():
        raise DataError(f"the policy of {reader.path} is not at {str(named)!r}", hint="give its folder with --policy")
    return served_folder(named)


def removal_row(removal: Removal) -> RemovalRow:
    """A removal as it is printed: values as JSON can hold them, the instant as ISO 8601."""
    later = removal.next_allowed_at
    return RemovalRow(
        rule=f"{removal.id} {removal.rule}",
        reason=removal.reason,
        observed=_plain(removal.observed),
        limit=_plain(removal.limit),
        next_allowed_at=None if later is None or later == NOT_AN_INSTANT else datetime_of(later).isoformat(),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)]
    return value.item() if hasattr(value, "item") else value


class PartRow(Output, frozen=True, kw_only=True):
    """A share of a difference of scores; `of` breaks it down: groups and features by factor, factors by group."""

    name: str
    value: float
    of: dict[str, float] = {}


class ComparisonRow(Output, frozen=True, kw_only=True):
    """The chosen action against another one.

    Attributes:
        against: name of the other action.
        role: "hold" or "runner_up".
        difference: score of the chosen action - score of the other, in the metric's unit.
        groups / features / factors: three views of the same terms, each adds up to the difference.
    """

    against: str
    role: str
    difference: float
    groups: tuple[PartRow, ...]
    features: tuple[PartRow, ...]
    factors: tuple[PartRow, ...]


class HoldbackRow(Output, frozen=True, kw_only=True):
    """`held` is whether the best expected value is at most that of hold (R23); `reason` is why nothing was sent."""

    held: bool
    reason: str | None
    sentence: str
    best: str | None
    best_expected_value: float | None
    hold_expected_value: float


@dataclass(frozen=True)
class Outlook:
    """What a policy and its response models say of every action in one context.

    Attributes:
        scores: (k,) expected value of each action; None where the policy has no scores.
        responses: role -> (k,) probabilities; without an entry where there is no model.
    """

    scores: FloatArray | None
    responses: dict[Role, FloatArray]

    def response(self, role: Role, action: int) -> float | None:
        """A probability, or None where there is no model."""
        return float(self.responses[role][action]) if role in self.responses else None


def outlook(policy: Policy, responses: dict[Role, ResponseModel], context: ContextBatch) -> Outlook:
    """Expected values and response probabilities of every action, for one row of context.

    Raises:
        DataError: the context has another schema.
    """
    scores = policy.scores(context)[0] if isinstance(policy, CompiledPolicy) else None
    return Outlook(scores, {role: model.predict(context)[0] for role, model in responses.items()})


def comparisons(
    policy: Policy, context: ContextBatch, scores: FloatArray | None, eligible: BoolArray, action: int
) -> tuple[ComparisonRow, ...]:
    """The chosen action against hold, and against the runner-up: the best eligible one but for itself and hold."""
    if scores is None or not isinstance(policy, CompiledPolicy):
        return ()
    names = policy.catalog.action_names
    rivals = [int(other) for other in np.flatnonzero(eligible) if other not in (HOLD, action)]
    others = [("hold", HOLD)] if action != HOLD else []
    if rivals:
        others.append(("runner_up", max(rivals, key=lambda other: (scores[other], -other))))
    return tuple(_comparison_row(compare(policy, context, action, other), names[other], role) for role, other in others)


def policy_notes(policy: Policy, responses: dict[Role, ResponseModel]) -> tuple[str, ...]:
    """What a reader must know of the figures."""
    notes = []
    if not isinstance(policy, CompiledPolicy):
        notes.append(f"{policy.name} is not compiled from a linear model, so its scores cannot be taken apart")
    if isinstance(policy, EnsemblePolicy) and policy.exploration.votes:
        notes.append("several models vote; scores and their parts are of the models' mean")
    if isinstance(policy, SafePolicy):
        notes.append(
            f"today's practice stays unless another action is better with {100 * policy.confidence:g} % confidence; "
            "scores and their parts are of the fit to all rows"
        )
    missing = [f"p_{role}" for role in ("respond", "unsub") if role not in responses]
    if missing:
        notes.append(f"{' and '.join(missing)}: n/a, the policy was trained without a model (tactful train --also)")
    return tuple(notes)


def holdback_row(found: Holdback, names: tuple[str, ...]) -> HoldbackRow:
    """The holdback as it is printed: with the action by its name."""
    return HoldbackRow(
        held=found.held,
        reason=found.reason,
        sentence=found.sentence,
        best=None if found.best is None else names[found.best],
        best_expected_value=found.expected_value,
        hold_expected_value=found.hold_value,
    )


def _comparison_row(found: Comparison, against: str, role: str) -> ComparisonRow:
    def group(part: Part) -> str:
        return part.signal_group

    def feature(part: Part) -> str:
        return part.feature or EVERYBODY

    def factor(part: Part) -> str:
        return part.factor

    return ComparisonRow(
        against=against,
        role=role,
        difference=found.difference,
        groups=_view(found, group, factor),
        features=_view(found, feature, factor),
        factors=_view(found, factor, group),
    )


def _view(found: Comparison, key: Key, of: Key) -> tuple[PartRow, ...]:
    rows = []
    for name, value in found.by(key).items():
        own = Comparison(found.action, found.other, value, tuple(part for part in found.parts if key(part) == name))
        rows.append(PartRow(name=name, value=value, of=own.by(of)))
    return tuple(rows)
