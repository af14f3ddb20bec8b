"""Control and the uniform slice: the declared shares of contacts and decisions, and no contact in both worlds."""

from __future__ import annotations

import numpy as np

from engine.audit.batch import AuditBatch
from engine.audit.evidence import count_p, smallest
from engine.audit.findings import FAIL, Finding, not_applicable, tested
from engine.audit.rule import AuditRule
from engine.audit.windows import DaySums
from engine.decide.groups import slice_probability
from engine.identity import keyed_hash
from engine.records.schema import CONTROL, UNIFORM_SLICE
from engine.types import HOLD, BoolArray, KeyArray

SHARES, CROSSED = "group_ratio", "control_kept"
# Contacts that are followed: those of the smallest hashes, so that memory stays flat and parts can be merged.
FOLLOWED = 65_536


class ContactGroups:
    """Notes in which groups contacts were seen, and counts decisions by group and day."""

    def __init__(self) -> None:
        self._keys: KeyArray = np.zeros(0, dtype=np.uint64)
        self._seen: BoolArray = np.zeros((0, 2), dtype=np.bool_)
        self._counts = DaySums()
        self._sent_to_control = 0

    def add(self, batch: AuditBatch) -> None:
        control = batch.group == CONTROL
        self._sent_to_control += int((control & (batch.rounds.action != HOLD)).sum())
        keys = keyed_hash(batch.rounds.extra["contact_id"], "audit/contacts")
        self._follow(keys, np.column_stack([control, ~control]))
        table = np.column_stack([control, batch.group == UNIFORM_SLICE, np.ones(batch.n)]).astype(np.float64)
        self._counts.add(batch.day, lambda rows: table[rows].sum(axis=0))

    def merge(self, other: ContactGroups) -> None:
        self._sent_to_control += other._sent_to_control
        self._counts.merge(other._counts)
        self._follow(other._keys, other._seen)

    def shares(self, rule: AuditRule) -> Finding:
        """Control by contact, the uniform slice by decision and day."""
        p_values, said = [], []
        if rule.control_share is not None:
            held = self._seen[:, 0]
            n, count = len(held), int(held.sum())
            p_values.append(count_p(np.array([count]), np.array([n]), np.array([rule.control_share * n])))
            said.append(f"{count} of {n} contacts are in control, {rule.control_share:.1%} declared")
        if rule.uniform_share is not None:
            share = slice_probability(rule.control_share or 0.0, rule.uniform_share)
            table = np.stack([sums for _, sums in self._counts.windows()])
            drawn = table[:, 2] - table[:, 0]
            p_values.append(count_p(table[:, 1], drawn, share * drawn))
            said.append(f"{table[0, 1]:.0f} of {drawn[0]:.0f} decisions are of the uniform slice, {share:.1%} declared")
        if not p_values:
            return not_applicable(SHARES, "nobody declared the shares: set audit.control_share, audit.uniform_share")
        advice = (
            "the split of contacts or decisions is not the one declared: look for lost rows, or mend the declaration"
        )
        return tested(SHARES, smallest(np.concatenate(p_values)), rule, "; ".join(said), advice)

    def kept(self) -> Finding:
        """Nobody in control was sent to, or is in treatment as well."""
        crossed = int(self._seen.all(axis=1).sum())
        if not self._seen[:, 0].any():
            return not_applicable(CROSSED, "nobody is in control")
        bad = crossed + self._sent_to_control
        what = f"{crossed} of {len(self._seen)} followed contacts are in control and in treatment, "
        what += f"{self._sent_to_control} sends went to control"
        advice = "control must be the same contacts for good and must get nothing: it compares to nothing as it is"
        return Finding(CROSSED, FAIL if bad else "pass", float(bad), None, 0.0, what, advice if bad else "")

    def _follow(self, keys: KeyArray, seen: BoolArray) -> None:
        if len(self._keys) == FOLLOWED:
            near = keys <= self._keys[-1]
            keys, seen = keys[near], seen[near]
        both = np.concatenate([self._keys, keys])
        unique, place = np.unique(both, return_inverse=True)
        flags = np.zeros((len(unique), 2), dtype=np.bool_)
        np.logical_or.at(flags, place.ravel(), np.concatenate([self._seen, seen]))
        self._keys, self._seen = unique[:FOLLOWED], flags[:FOLLOWED]
