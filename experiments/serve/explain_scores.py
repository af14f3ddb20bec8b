"""The part of an explanation that the policy gives: what moved the score, who would answer, why nothing was sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.features import ContextBlock
from engine.protocols import Policy
from engine.types import HOLD, BoolArray, FloatArray
from experiments.outputs_explain import ComparisonRow, HoldbackRow, PartRow
from policies.explain import EVERYBODY, Comparison, Part, compare
from policies.vw.compiled import CompiledPolicy, EnsemblePolicy
from policies.vw.responses import ResponseModel, Role
from policies.wrappers.holdback import Holdback

Key = Callable[[Part], str]


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


def outlook(policy: Policy, responses: dict[Role, ResponseModel], context: ContextBlock) -> Outlook:
    """Expected values and response probabilities of every action, for one row of context.

    Raises:
        DataError: the context has another schema.
    """
    scores = policy.scores(context)[0] if isinstance(policy, CompiledPolicy) else None
    return Outlook(scores, {role: model.predict(context)[0] for role, model in responses.items()})


def comparisons(
    policy: Policy, context: ContextBlock, scores: FloatArray | None, eligible: BoolArray, action: int
) -> tuple[ComparisonRow, ...]:
    """The chosen action against hold, and against the runner-up: the best eligible one but for itself and hold."""
    if scores is None or not isinstance(policy, CompiledPolicy):
        return ()
    names = policy.catalog.action_names
    rivals = [int(other) for other in np.flatnonzero(eligible) if other not in (HOLD, action)]
    others = [("hold", HOLD)] if action != HOLD else []
    if rivals:
        others.append(("runner_up", max(rivals, key=lambda other: (scores[other], -other))))
    return tuple(_row(compare(policy, context, action, other), names[other], role) for role, other in others)


def policy_notes(policy: Policy, responses: dict[Role, ResponseModel]) -> tuple[str, ...]:
    """What a reader must know of the figures."""
    notes = []
    if not isinstance(policy, CompiledPolicy):
        notes.append(f"{policy.name} is not compiled from a linear model, so its scores cannot be taken apart")
    if isinstance(policy, EnsemblePolicy) and policy.exploration.votes:
        notes.append("several models vote; scores and their parts are of the models' mean")
    missing = [f"p_{role}" for role in ("respond", "unsub") if role not in responses]
    if missing:
        notes.append(f"{' and '.join(missing)}: n/a, the policy was trained without a model (tactful train --also)")
    return tuple(notes)


def holdback_row(found: Holdback, names: tuple[str, ...]) -> HoldbackRow:
    """As it is printed."""
    return HoldbackRow(
        held=found.held,
        reason=found.reason,
        sentence=found.sentence,
        best=None if found.best is None else names[found.best],
        best_expected_value=found.expected_value,
        hold_expected_value=found.hold_value,
    )


def _row(found: Comparison, against: str, role: str) -> ComparisonRow:
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
