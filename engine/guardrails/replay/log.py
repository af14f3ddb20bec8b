"""A pack tried on a decision log: which sends it would have removed, and policies that obey one of its rules.

The record of each decision keeps what the rules read (`rule_inputs`), so rules that did not exist then can be asked
what they would have said. What such a rule would have cost is a question of off-policy evaluation: `RuleTarget` is the
policy that decided, except that the rule holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from engine.decide.asking import distribution_of
from engine.eligibility import unpack
from engine.errors import DataError
from engine.guardrails.conditions import NOTHING_SAID, Conditions
from engine.guardrails.judging import judge, lacking_rows, removed
from engine.guardrails.layer import Guardrails
from engine.guardrails.replay.inputs import contacts_from_rule_inputs
from engine.guardrails.rule import Scene
from engine.numeric.matmul import matmul
from engine.ope.target import TargetBatch
from engine.protocols import Policy
from engine.records.rounds import RoundBatch
from engine.types import HOLD, NOT_AN_INSTANT, BoolArray, ByteArray, FloatArray

COLUMNS: Final = ("rule_inputs", "contact_id")
_TOLERANCE: Final = 1e-6

Instead = Literal["hold", "next"]


@dataclass(frozen=True)
class BlockVerdicts:
    """What each rule would have removed in n rounds.

    Attributes:
        removed: rule id -> (n, ceil(k / 8)) packed bits; a 1 is an action that the rule removes.
        lacking: rule id -> (n,) whether the record lacks an input of the rule, so that it removes all in its scope.
        k: actions.
    """

    removed: dict[str, ByteArray]
    lacking: dict[str, BoolArray]
    k: int

    def of(self, rule: str) -> BoolArray:
        """(n, k) actions that one rule removes."""
        return unpack(self.removed[rule], self.k)


class LogRules:
    """The rules of a pack, asked about rounds of a log; keeps the answer for the last block.

    Args:
        guardrails: the pack to try, bound to the log's catalog.
        conditions: the sender's side, where known.
    """

    def __init__(self, guardrails: Guardrails, conditions: Conditions = NOTHING_SAID) -> None:
        self.guardrails, self._conditions = guardrails, conditions
        self._key: tuple[int, int, str] | None = None
        self._found = BlockVerdicts({}, {}, guardrails.catalog.k)

    def verdicts(self, rounds: RoundBatch) -> BlockVerdicts:
        """What each rule would have said; rounds must carry the columns `COLUMNS`.

        Raises:
            DataError: decisions without rule inputs or without an instant.
        """
        key = (rounds.chunk, rounds.n, str(rounds.decision_id[0]) if rounds.n else "")
        if key != self._key:
            self._found, self._key = self._judged(rounds), key
        return self._found

    def _judged(self, rounds: RoundBatch) -> BlockVerdicts:
        inputs, who = rounds.extra["rule_inputs"], rounds.extra["contact_id"]
        catalog, n = self.guardrails.catalog, rounds.n
        absent = np.array([entry is None for entry in inputs], dtype=np.bool_) | (rounds.decided_at == NOT_AN_INSTANT)
        if absent.any():
            raise DataError(
                f"decision {rounds.decision_id[int(np.flatnonzero(absent)[0])]!r} does not say what the rules read",
                hint="only logs that `tactful decide` wrote can be replayed",
            )
        width = (catalog.k + 7) // 8
        rules = self.guardrails.rules
        found = {entry.id: np.zeros((n, width), dtype=np.uint8) for entry, _ in rules}
        lacking = {entry.id: np.zeros(n, dtype=np.bool_) for entry, _ in rules}
        for instant in np.unique(rounds.decided_at):
            rows = np.flatnonzero(rounds.decided_at == instant)
            contacts = contacts_from_rule_inputs(list(inputs[rows]), list(who[rows]), catalog)
            margin_s = self.guardrails.pack.latency_margin_s
            scene = Scene(catalog, contacts, int(instant), margin_s, self._conditions)
            for entry, rule in rules:
                gone = ~removed(judge(rule, scene), contacts.n, catalog).dense()
                found[entry.id][rows] = np.packbits(gone, axis=1, bitorder="little")
                lacking[entry.id][rows] = lacking_rows(rule, contacts)
        return BlockVerdicts(found, lacking, catalog.k)


@dataclass
class ReplayCounts:
    """Sums over a log.

    Attributes:
        decisions / sends: rows that took a decision, and those that sent.
        blocked: sends that some rule removes.
        by_rule / alone: rule -> sends that it removes, and of these, those that no other rule removes.
        lacking: rule -> decisions whose record lacks an input of it.
        reached: rule -> decisions of which it removes an action that was eligible.
        mixed_holds: rule -> logged holds where it removes some eligible sends and leaves others.
    """

    decisions: int = 0
    sends: int = 0
    blocked: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    alone: Counter[str] = field(default_factory=Counter)
    lacking: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    mixed_holds: Counter[str] = field(default_factory=Counter)

    def add(self, rounds: RoundBatch, verdicts: BlockVerdicts) -> None:
        """Add a block of rounds."""
        rows, sent = np.arange(rounds.n), rounds.action != HOLD
        eligible = rounds.eligible_dense()
        reasons = np.zeros(rounds.n, dtype=np.int64)
        gone: dict[str, BoolArray] = {}
        for rule in verdicts.removed:
            removes = verdicts.of(rule) & eligible
            gone[rule] = removes[rows, rounds.action] & sent
            reasons += gone[rule]
            touched = removes.any(axis=1)
            left = (eligible[:, 1:] & ~removes[:, 1:]).any(axis=1)
            self.reached[rule] += int(np.count_nonzero(touched))
            self.mixed_holds[rule] += int(np.count_nonzero(touched & left & ~sent))
            self.lacking[rule] += int(np.count_nonzero(verdicts.lacking[rule]))
        for rule, hit in gone.items():
            self.by_rule[rule] += int(np.count_nonzero(hit))
            self.alone[rule] += int(np.count_nonzero(hit & (reasons == 1)))
        self.decisions += rounds.n
        self.sends += int(np.count_nonzero(sent))
        self.blocked += int(np.count_nonzero(reasons))


@dataclass(frozen=True)
class DecidingPlan:
    """What decided, as far as the log shows: the share of a uniform slice, and a policy for the rest.

    Attributes:
        policy: None where the uniform slice is all there is.
        uniform: probability of the slice in a decision, fitted to the logged propensities.
    """

    policy: Policy | None
    uniform: float

    def distribution(self, rounds: RoundBatch, eligible: BoolArray) -> FloatArray:
        """(n, k) probabilities over an eligible set."""
        full: FloatArray = self.uniform * eligible / eligible.sum(axis=1, keepdims=True)
        if self.policy is not None:
            full += (1.0 - self.uniform) * distribution_of(self.policy, rounds.context, eligible)
        return full


def deciding_plan(rounds: Iterable[RoundBatch], policy: Policy | None) -> DecidingPlan | None:
    """Find the plan whose propensities are the logged ones, or None where there is none.

    A logged propensity is uniform / |eligible| + (1 - uniform) * policy, linear in the share: it is fitted by least
    squares and then held against every row.

    Args:
        rounds: re-iterable, with context where there is a policy; without rows of control, where nothing was drawn.
        policy: that is said to have decided; None tries a log of the uniform slice alone.
    """
    squares, products = 0.0, 0.0
    for batch in rounds:
        slope, target = _propensity_terms(batch, policy)
        squares += float(matmul(slope, slope))
        products += float(matmul(slope, target))
    if not np.isfinite(products):
        return None
    uniform = float(np.clip(products / squares, 0.0, 1.0)) if squares > 0.0 else 0.0
    if policy is None:
        uniform = 1.0
    for batch in rounds:
        slope, target = _propensity_terms(batch, policy)
        if np.abs(slope * uniform - target).max(initial=0.0) > _TOLERANCE:
            return None
    return DecidingPlan(policy, uniform)


def _propensity_terms(batch: RoundBatch, policy: Policy | None) -> tuple[FloatArray, FloatArray]:
    """Propensity = own + uniform * slope: (n,) slopes and (n,) propensities less own."""
    eligible = batch.eligible_dense()
    own = np.zeros(batch.n)
    if policy is not None:
        own = distribution_of(policy, batch.context, eligible)[np.arange(batch.n), batch.action]
    return 1.0 / eligible.sum(axis=1) - own, batch.propensity - own


@dataclass(frozen=True)
class RuleTarget:
    """The policy that decided, obeying one more rule.

    "hold": where the rule removes what would have been done, nothing is sent. "next": the same plan decides over what
    the rule leaves.

    Attributes:
        rule: id of the rule.
        rules: answers what it removes.
        plan: what decided; needed for "next", and for "hold" where the rule leaves some sends of a logged hold.
    """

    rule: str
    rules: LogRules
    plan: DecidingPlan | None
    instead: Instead = "hold"
    knows_all: bool = False

    @property
    def name(self) -> str:
        return self.rule

    def probabilities(self, rounds: RoundBatch) -> TargetBatch:
        """Probability of the logged action under the obeying policy."""
        eligible = rounds.eligible_dense()
        gone = self.rules.verdicts(rounds).of(self.rule) & eligible
        touched = gone.any(axis=1)
        logged, unsupported = rounds.propensity.copy(), np.zeros(rounds.n)
        rows = np.flatnonzero(touched)
        if len(rows):
            part = self._obeying(rounds.take(rows), eligible[rows], gone[rows])
            logged[rows], unsupported[rows] = part
        return TargetBatch(np.clip(logged, 0.0, 1.0), None, unsupported)

    def _obeying(self, rounds: RoundBatch, eligible: BoolArray, gone: BoolArray) -> tuple[FloatArray, FloatArray]:
        at = np.arange(rounds.n)
        hit, held = gone[at, rounds.action], rounds.action == HOLD
        if self.plan is None:
            # Where nothing but hold is left, all that was not hold moves there.
            moved = np.where(held, 1.0 - rounds.propensity, 0.0)
            return np.where(hit, 0.0, rounds.propensity + moved), np.full(rounds.n, np.nan)
        before = self.plan.distribution(rounds, eligible)
        if self.instead == "next":
            after = self.plan.distribution(rounds, eligible & ~gone)
            unsupported: FloatArray = np.where(before > 0, 0.0, after).sum(axis=1)
            return after[at, rounds.action], unsupported
        moved = (before * gone).sum(axis=1)
        logged = np.where(hit, 0.0, rounds.propensity + np.where(held, moved, 0.0))
        return logged, np.where(before[:, HOLD] > 0, 0.0, moved)
