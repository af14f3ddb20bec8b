"""A shallow tree of a policy's choices: few groups of contacts, one action each, that people can read and discuss.

Splits are chosen by what the policy's own scores would lose, not by how often its choice is met: where two actions are
worth nearly the same, either is right (cost-sensitive trees: Elkan 2001, "The foundations of cost-sensitive learning";
policy trees: Athey & Wager 2021, "Policy learning with observational data", section 2). Grown greedily, best split
first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.features import ContextBatch, FeatureSchema
from engine.types import HOLD, BoolArray, FloatArray, IntArray
from policies.peers.rule import Clause, Rule
from policies.peers.segmentation import Cut

DEPTH: Final = 3
LEAVES: Final = 8
# A smaller group is an anecdote.
LEAST_SHARE: Final = 0.02
# A split has to keep this share more of what the best single action loses against the policy.
LEAST_GAIN: Final = 0.01


@dataclass(frozen=True)
class Leaf:
    """A group of contacts.

    Attributes:
        rows: of the sample that the tree was grown on.
        when: conditions that its contacts meet and those of earlier groups do not: a clause of a rule.
        path: all conditions on the way to it, for words: those that are not met stand as their contrary.
        actions: the best first, by the mean worth to those who may get them; hold where nothing is better.
        depth: number of splits above it.
    """

    rows: IntArray
    when: Mapping[str, Any]
    path: Mapping[str, Any]
    actions: tuple[int, ...]
    depth: int = 0

    @property
    def action(self) -> int:
        """What most of its contacts get."""
        return self.actions[0]


@dataclass(frozen=True)
class _Split:
    """A condition on one feature, and the cells that meet it."""

    cut: Cut
    inside: BoolArray
    gain: float


def grow(
    context: ContextBatch,
    worth: FloatArray,
    cuts: Sequence[Cut],
    eligible: BoolArray | None = None,
    *,
    depth: int = DEPTH,
    leaves: int = LEAVES,
    least_share: float = LEAST_SHARE,
) -> list[Leaf]:
    """The groups, in the order in which a rule asks for them.

    Args:
        context: n contacts.
        worth: (n, k) what each action is worth for each; of one that may not be sent what the contact gets instead.
        cuts: the features, each cut into bins.
        eligible: (n, k) what may be sent; everything where it is not given.
        depth: most splits above a group.
        leaves: most groups.
        least_share: smallest share of the contacts in a group.
    """
    cells = {cut.feature: cut.cell_of(context) for cut in cuts}
    may = np.ones(worth.shape, dtype=np.bool_) if eligible is None else eligible
    found = [Leaf(np.arange(context.n), {}, {}, _ranked(worth, may))]
    most = float(worth.max(axis=1).sum())
    lost = most - float(worth.sum(axis=0).max()) if context.n else 0.0
    while len(found) < leaves and lost > 0.0:
        tried = [
            (split.gain, place, split)
            for place, leaf in enumerate(found)
            if leaf.depth < depth
            for split in _splits(leaf, cells, worth, cuts, least_share * context.n)
        ]
        if not tried:
            break
        gain, place, split = max(tried, key=lambda one: (one[0], -one[1]))
        if gain < LEAST_GAIN * lost:
            break
        found[place : place + 1] = _halves(found[place], split, cells, worth, may)
    return found


def rule_of(leaves: Sequence[Leaf], catalog: Catalog, schema: FeatureSchema, name: str) -> Rule:
    """The groups as a rule (`policies.peers.rule`): the first that a contact meets decides."""
    thens = [tuple(catalog.action_names[action] for action in leaf.actions) for leaf in leaves]
    known = {"catalog": catalog.to_builtins(), "features": msgspec.to_builtins(schema)}
    clauses = [Clause(when=dict(leaf.when), then=then) for leaf, then in zip(leaves[:-1], thens, strict=False)]
    return Rule(rules=tuple(clauses), otherwise=thens[-1], name=name, **known)


def _ranked(worth: FloatArray, eligible: BoolArray) -> tuple[int, ...]:
    """The actions of a group that are worth more than hold to those who may get them, the best first.

    A contact that may not get the first gets the next, so each is held against hold among its own contacts alone; an
    action that hardly anybody of the group may get stands last. Ties go to the lower index.
    """
    rows = np.maximum(eligible.sum(axis=0), 1)
    over = np.where(eligible, worth - worth[:, [HOLD]], 0.0).sum(axis=0) / rows
    rare = eligible.sum(axis=0) < LEAST_SHARE * len(worth)
    order = np.lexsort((-over, rare))
    return tuple(int(action) for action in order if over[action] > 0.0) or (HOLD,)


def _splits(
    leaf: Leaf, cells: Mapping[str, IntArray], worth: FloatArray, cuts: Sequence[Cut], least: float
) -> Iterator[_Split]:
    """The best split of a group by each feature."""
    own = worth[leaf.rows]
    whole = own.sum(axis=0)
    for cut in cuts:
        cell = cells[cut.feature][leaf.rows]
        counts = np.bincount(cell, minlength=cut.cells)
        sums: FloatArray = np.stack(
            [np.bincount(cell, column, cut.cells) for column in own.T], axis=1, dtype=np.float64
        )
        best: _Split | None = None
        for inside in _sides(cut, sums, whole):
            rows = counts[inside].sum()
            if not least <= rows <= len(leaf.rows) - least:
                continue
            part = sums[inside].sum(axis=0)
            gain = float(part.max() + (whole - part).max() - whole.max())
            if best is None or gain > best.gain:
                best = _Split(cut, inside, gain)
        if best is not None and best.gain > 0.0:
            yield best


def _sides(cut: Cut, sums: FloatArray, whole: FloatArray) -> Iterator[BoolArray]:
    """Sets of cells that one condition can name: below an edge, some levels, or values that are not known."""
    place = np.arange(cut.cells)
    yield place == cut.cells - 2
    if cut.numeric:
        for edge in range(1, len(cut.edges) + 1):
            yield place < edge
        return
    first, second = np.argsort(-whole, kind="stable")[:2] if len(whole) > 1 else (0, 0)
    named = np.arange(len(cut.levels))
    for level in named:
        yield place == level
    # For two actions the best set of levels is a prefix in this order (Breiman et al. 1984, section 4.2.2).
    order = named[np.argsort((sums[named, second] - sums[named, first]), kind="stable")]
    for size in range(2, len(order)):
        yield np.isin(place, order[:size])


def _halves(leaf: Leaf, split: _Split, cells: Mapping[str, IntArray], worth: FloatArray, may: BoolArray) -> list[Leaf]:
    """Those who meet the condition, then the others."""
    feature = split.cut.feature
    met = split.inside[cells[feature][leaf.rows]]
    inside, outside = leaf.rows[met], leaf.rows[~met]
    asked, contrary = _condition(split), _contrary(split)
    yes = replace(
        leaf,
        rows=inside,
        when=_both(leaf.when, feature, asked),
        path=_both(leaf.path, feature, asked),
        actions=_ranked(worth[inside], may[inside]),
        depth=leaf.depth + 1,
    )
    no = replace(
        leaf,
        rows=outside,
        path=_both(leaf.path, feature, contrary),
        actions=_ranked(worth[outside], may[outside]),
        depth=leaf.depth + 1,
    )
    return [yes, no]


def _condition(split: _Split) -> Any:
    """The condition as a rule says it."""
    cut, inside = split.cut, np.flatnonzero(split.inside)
    if inside[0] >= cut.cells - 2:
        return "missing"
    if cut.numeric:
        return {"below": cut.edges[len(inside) - 1]}
    return {"is": [cut.levels[level] for level in inside]}


def _contrary(split: _Split) -> Any:
    """What those have in common who do not meet the condition."""
    cut, inside = split.cut, np.flatnonzero(split.inside)
    if inside[0] >= cut.cells - 2:
        return {} if cut.numeric else {"not": []}
    if cut.numeric:
        return {"from": cut.edges[len(inside) - 1]}
    gone = [cut.levels[level] for level in inside]
    left = [level for level in cut.levels if level not in gone]
    return {"is": left} if len(left) <= len(gone) else {"not": gone}


def _both(conditions: Mapping[str, Any], feature: str, asked: Any) -> dict[str, Any]:
    """Conditions with one more, which narrows what stands there of the same feature."""
    known = conditions.get(feature)
    if known is None or not isinstance(known, dict) or not isinstance(asked, dict):
        return {**conditions, feature: asked}
    joint = {**known, **asked}
    if "from" in known and "from" in asked:
        joint["from"] = max(known["from"], asked["from"])
    if "below" in known and "below" in asked:
        joint["below"] = min(known["below"], asked["below"])
    if "is" in joint:
        gone = {*joint.pop("not", ())}
        named = [level for level in joint["is"] if level not in gone and level in known.get("is", joint["is"])]
        joint["is"] = named
    elif "not" in joint:
        joint["not"] = [
            *known.get("not", ()),
            *(one for one in asked.get("not", ()) if one not in known.get("not", ())),
        ]
    return {**conditions, feature: joint}
