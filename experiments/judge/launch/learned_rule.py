"""The learned policy as a rule that people can read: a few groups, what each gets, what it got before, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.catalog import Catalog
from engine.features import ContextBatch, FeatureSchema
from engine.ope.target import LoggedTarget, PolicyTarget, Target
from engine.records.rounds import RoundBatch
from engine.types import HOLD, BoolArray, FloatArray, IntArray
from experiments.judge.contenders import without_exploring
from experiments.judge.launch.treatment import cell_names
from experiments.outputs import Output
from experiments.report.launch_details import readable
from experiments.report.words import percent
from policies.horizon.panel import stacked
from policies.parts.tables import PartTables
from policies.peers.rule import Rule, RulePolicy, in_words
from policies.peers.segmentation import Cut
from policies.peers.tree import Leaf, grow, rule_of
from policies.vw.scoring.compiled import CompiledPolicy
from policies.wrappers.safe import SafePolicy

LEARNED_RULE: Final = "learned_rule"
# Decisions with a choice that are looked at.
_ROWS: Final = 20_000
# The picture draws so many actions: those that most contacts get.
_DRAWN: Final = 4


class RuleRow(Output, frozen=True, kw_only=True):
    """One group of contacts.

    Attributes:
        who: the group, by what is known of it.
        share: of the decisions that have a choice.
        gets: what the rule gives to most of it.
        gets_share: of the group, for whom the policy itself, without exploring, does the same.
        today: what the baseline does for most of it; "" where that is not known.
        gain: in the metric's unit a decision over that, by the model that was learnt: an opinion, not an estimate from
            the log.
        why: the worth of what it gets, by its parts.
    """

    who: str
    share: float
    gets: str
    gets_share: float
    today: str
    gain: float | None
    why: str


class Response(Output, frozen=True, kw_only=True):
    """What the model expects of an action for the bins of one feature; null where it may be sent to nobody of a bin.

    Attributes:
        feature: that the rule asks for.
        bins: in words.
        actions: those that most contacts get.
        values: by action and bin, in the metric's unit.
    """

    feature: str
    bins: tuple[str, ...]
    actions: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]


class LearnedRule(Output, frozen=True, kw_only=True):
    """A shallow tree of the learned policy's choices.

    Attributes:
        rows: the groups in the order in which the rule asks for them: the first that a contact meets decides.
        fidelity: share of decisions on the side that judges for which the rule does what the policy does without
            exploring.
        responses: what the model expects by the features that the rule asks for.
    """

    rows: tuple[RuleRow, ...]
    fidelity: float
    responses: tuple[Response, ...] = ()


@dataclass(frozen=True)
class Grown:
    """The tree, and what it was grown from.

    Attributes:
        leaves: the groups.
        rule: the same as a file of rules has it.
        policy: that decides by it.
    """

    leaves: Sequence[Leaf]
    rule: Rule
    policy: RulePolicy


@dataclass(frozen=True)
class _Seen:
    """Decisions with a choice.

    Attributes:
        context: n contacts.
        eligible: (n, k).
        scores: (n, k) by the model.
        shown: the same with what the log never showed behind all else, by which the policy chooses.
        best: (n,) what the policy does without exploring.
        today: (n,) what the baseline does most likely, or did; None where that is not known.
    """

    context: ContextBatch
    eligible: BoolArray
    scores: FloatArray
    shown: FloatArray
    best: IntArray
    today: IntArray | None

    @property
    def worth(self) -> FloatArray:
        """(n, k) scores to choose by; of what may not be sent that of hold, which a contact gets instead."""
        return np.where(self.eligible, self.shown, self.shown[:, [HOLD]])


def grown(
    policy: object, rounds: Iterable[RoundBatch], cuts: Sequence[Cut], catalog: Catalog, schema: FeatureSchema
) -> Grown | None:
    """A tree of a policy's choices; None of a policy without scores, or where nobody has a choice.

    Args:
        policy: as it was learnt.
        rounds: of the side that trains; no outcome of them is read.
        cuts: the features in bins.
        catalog / schema: of the log.
    """
    seen = _seen(policy, rounds, None)
    if seen is None:
        return None
    worth = seen.worth
    if isinstance(policy, SafePolicy):
        # What it does is no argmax of its scores: its own choices are all that counts.
        worth = np.eye(catalog.k)[seen.best]
    elif isinstance(policy, CompiledPolicy) and policy.never_held:
        worth[:, HOLD] = worth.min(axis=1)
    leaves = grow(seen.context, worth, cuts, seen.eligible)
    rule = rule_of(leaves, catalog, schema, "the learned policy as a rule")
    return Grown(leaves, rule, RulePolicy(rule, catalog, schema))


def learned_rule(
    tree: Grown | None, policy: object, rounds: Iterable[RoundBatch], baseline: Target, cuts: Sequence[Cut]
) -> LearnedRule | None:
    """The rule as it is for the contacts of the side that judges.

    Args:
        tree: grown on the other side.
        policy: as it was learnt.
        rounds: of the side that judges; no outcome of them is read.
        baseline: what would be replaced.
        cuts: the features in bins.
    """
    seen = _seen(policy, rounds, baseline)
    if tree is None or seen is None or not isinstance(policy, CompiledPolicy):
        return None
    group = tree.policy.matched(seen.context)
    does = tree.policy.distribution(seen.context, seen.eligible).argmax(axis=1)
    rows = [
        _row(leaf, np.flatnonzero(group == place), does, seen, policy)
        for place, leaf in enumerate(tree.leaves)
        if (group == place).any()
    ]
    asked = {feature for leaf in tree.leaves for feature in leaf.path}
    most = np.bincount(does, minlength=policy.catalog.k).argsort(kind="stable")[::-1]
    drawn = [int(action) for action in most[:_DRAWN] if (does == action).any()]
    return LearnedRule(
        rows=tuple(rows),
        fidelity=float((does == seen.best).mean()),
        responses=tuple(_response(cut, seen, drawn, policy.catalog) for cut in cuts if cut.feature in asked),
    )


def _seen(policy: object, rounds: Iterable[RoundBatch], baseline: Target | None) -> _Seen | None:
    """The first decisions that have a choice."""
    if not isinstance(policy, CompiledPolicy):
        return None
    greedy: PolicyTarget = without_exploring(policy)
    contexts, may, scores, shown = list[ContextBatch](), list[BoolArray](), list[FloatArray](), list[FloatArray]()
    best, today = list[IntArray](), list[IntArray]()
    left = _ROWS
    for whole in rounds:
        eligible: BoolArray = whole.eligible_dense()
        some = np.flatnonzero(eligible[:, HOLD + 1 :].any(axis=1))[:left]
        if not len(some):
            continue
        batch, allowed = whole.take(some), eligible[some]
        contexts.append(batch.context)
        may.append(allowed)
        scores.append(policy.scores(batch.context))
        shown.append(policy.known_first(scores[-1], batch.context, allowed))
        best.append(greedy.policy.distribution(batch.context, allowed).argmax(axis=1))
        full = None if baseline is None else baseline.probabilities(batch).full
        today.append(batch.action.astype(np.int64) if full is None else full.argmax(axis=1))
        left -= len(some)
        if not left:
            break
    if not contexts:
        return None
    known = baseline is not None and (baseline.knows_all or isinstance(baseline, LoggedTarget))
    return _Seen(
        stacked(contexts),
        np.concatenate(may),
        np.concatenate(scores),
        np.concatenate(shown),
        np.concatenate(best),
        np.concatenate(today) if known else None,
    )


def _row(leaf: Leaf, rows: IntArray, does: IntArray, seen: _Seen, policy: CompiledPolicy) -> RuleRow:
    catalog = policy.catalog
    gain, today, mostly = None, "", _most(does[rows])
    if seen.today is not None:
        own = seen.scores[rows, does[rows]] - seen.scores[rows, seen.today[rows]]
        gain, today = float(own.mean()), action_in_words(catalog, _most(seen.today[rows]))
    return RuleRow(
        who=readable(in_words(leaf.path)),
        share=len(rows) / len(does),
        gets=action_in_words(catalog, mostly),
        gets_share=float((seen.best[rows] == does[rows]).mean()),
        today=today,
        gain=gain,
        why=_why(policy, seen.context.take(rows[does[rows] == mostly]), mostly),
    )


def _most(actions: IntArray) -> int:
    return int(np.bincount(actions).argmax())


def action_in_words(catalog: Catalog, action: int) -> str:
    """An action without the marks of its name."""
    return "no message" if action == HOLD else readable(catalog.action_names[action].replace("|", " "))


def _why(policy: CompiledPolicy, context: ContextBatch, action: int) -> str:
    """The mean of each part over the group; the product of two means is no mean, so no sum is claimed."""
    if action == HOLD:
        return "no message is worth more than none"
    if not isinstance(policy.tables, PartTables) or not context.n:
        return ""
    parts = policy.tables.parts(policy.encoder.encode(context), action)
    mean = {name: float(value.mean()) for name, value in parts.items()}
    said = []
    if "chance" in mean:
        said.append(f"{percent(mean.pop('chance'))} {policy.tables.stage}, worth {mean.pop('worth'):.2f} USD each")
    said += [f"{name} {value:+.3f} USD" for name, value in mean.items() if abs(value) >= 5e-4]
    return "; ".join(said)


def _response(cut: Cut, seen: _Seen, actions: Sequence[int], catalog: Catalog) -> Response:
    """Mean scores by bin, of those who may get the action; bins that nobody is in are left out."""
    cell = cut.cell_of(seen.context)
    shown = [place for place in range(cut.cells) if (cell == place).any()]
    values = []
    for action in actions:
        may = seen.eligible[:, action]
        line = []
        for place in shown:
            rows = may & (cell == place)
            line.append(float(seen.scores[rows, action].mean()) if rows.any() else None)
        values.append(tuple(line))
    names = cell_names(cut)
    return Response(
        feature=readable(cut.feature),
        bins=tuple(readable(names[place]) for place in shown),
        actions=tuple(action_in_words(catalog, action) for action in actions),
        values=tuple(values),
    )
