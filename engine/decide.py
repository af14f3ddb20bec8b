"""One block of contacts to one block of decisions: guardrails, distribution, sampling, record. No files, no clock.

Contacts may be assigned to a control group (always held) or a uniform slice (a uniform eligible action) by a keyed
hash, the same group for the same contact every time. The logged propensity is the probability over this assignment
too: control_share [a = hold] + uniform_share / |eligible| + rest * policy(a). So every row of the log stays usable for
evaluation, with decisions of one contact as one cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol, runtime_checkable

import msgspec
import numpy as np
import pyarrow as pa

from engine import records
from engine.catalog import Catalog
from engine.contacts import ContactBatch
from engine.eligibility import Eligibility
from engine.errors import ParameterError
from engine.features import ContextBlock
from engine.guardrails.conditions import NOTHING_SAID, Conditions
from engine.guardrails.counts import RemovalCounts
from engine.guardrails.layer import Guardrails
from engine.guardrails.replay import rule_inputs
from engine.identity import keyed_hash, pseudonyms, uniforms, unit_of
from engine.localtime import instant_of
from engine.log.parquet import context_arrays, labels
from engine.protocols import Policy
from engine.records import LogMeta
from engine.sampling import check_distribution, sample
from engine.types import HOLD, NOT_AN_INSTANT, CodeArray, FloatArray, IntArray, ObjectArray

# Rows whose (rows, k) float64 distribution is built at once where a policy has no fused path: 32 MiB.
_PLAIN_BYTES = 32 << 20


@runtime_checkable
class FusedPolicy(Policy, Protocol):
    """A policy that also draws, from factored eligibility and given uniforms, equal to the plain path."""

    def choose(
        self, context: ContextBlock, eligibility: Eligibility, draws: FloatArray
    ) -> tuple[CodeArray, FloatArray]: ...


@dataclass(frozen=True)
class Plan:
    """Everything that a block of decisions depends on besides the contacts and the instant.

    Attributes:
        guardrails: the layer, with its catalog.
        policy: gives the distribution.
        policy_version: written into each record.
        seed: of the sampling.
        use_case: written into each record; part of the decision id.
        contact_key: key of the contacts' pseudonyms.
        control_share / uniform_share: shares of contacts in the two groups, in [0, 1], sum at most 1.
        conditions: the sender's side; its use case is the plan's.
    """

    guardrails: Guardrails
    policy: Policy
    policy_version: str
    seed: int = 0
    use_case: str = "default"
    contact_key: str = "tactful"
    control_share: float = 0.0
    uniform_share: float = 0.0
    conditions: Conditions = NOTHING_SAID

    def __post_init__(self) -> None:
        for name in ("control_share", "uniform_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ParameterError(name, "Plan", allowed="in [0, 1]", got=getattr(self, name))
        if self.control_share + self.uniform_share > 1.0:
            raise ParameterError("uniform_share", "Plan", allowed="at most 1 - control_share", got=self.uniform_share)

    @property
    def catalog(self) -> Catalog:
        return self.guardrails.catalog

    @property
    def sender(self) -> Conditions:
        """What the rules read of the sender."""
        return msgspec.structs.replace(self.conditions, use_case=self.use_case, dispatching=False)


@dataclass(frozen=True)
class Decided:
    """A block of decisions.

    Attributes:
        table: rows in the log's schema.
        action: (n,) chosen actions.
        removed: what the guardrails removed.
    """

    table: pa.Table
    action: CodeArray
    removed: RemovalCounts


@dataclass
class Summary:
    """Sums over blocks of decisions.

    Attributes:
        by_action: action index -> times chosen.
        removed: sums of the blocks' removals.
    """

    by_action: dict[int, int] = field(default_factory=dict)
    removed: RemovalCounts = field(default_factory=RemovalCounts)

    def add(self, decided: Decided) -> None:
        for action, times in zip(*np.unique(decided.action, return_counts=True), strict=True):
            self.by_action[int(action)] = self.by_action.get(int(action), 0) + int(times)
        self.removed = self.removed + decided.removed

    def sends(self, catalog: Catalog) -> Mapping[str, int]:
        """Action name -> times sent."""
        return {catalog.action_names[a]: times for a, times in sorted(self.by_action.items()) if a != HOLD}


def decide_block(plan: Plan, contacts: ContactBatch, now: datetime) -> Decided:
    """Decide for n contacts.

    The same contact, instant, use case and seed give the same decision in any block.

    Args:
        plan: see `Plan`.
        contacts: n contacts, aged to `now`.
        now: aware.

    Raises:
        ParameterError: a naive `now`, or a policy whose answer is no distribution over the eligible set.
        EligibilityError: an empty eligible set.
    """
    now_at = instant_of(now, owner="decide_block")
    key = f"decision/{plan.contact_key}/{plan.use_case}/{now_at}"
    ids = pseudonyms(contacts.contact_id, key)
    who = contact_pseudonyms(contacts.contact_id, plan.contact_key)
    # Rules see the pseudonyms that the log keeps, so that what they hash can be repeated from the log alone.
    eligibility, removed = plan.guardrails.eligibility(replace(contacts, contact_id=who), now, plan.sender)
    cluster = keyed_hash(who, "cluster")
    group = group_of(cluster, plan)
    action, propensity = _choose(plan, contacts.context, eligibility, ids, group)
    slots = plan.guardrails.scene(contacts, now).slots
    table = _table(plan, contacts, now_at, slots, ids, who, cluster, group, action, propensity, eligibility)
    return Decided(table, action, removed)


def contact_pseudonyms(contact_ids: ObjectArray, contact_key: str) -> ObjectArray:
    """(n,) what the log keeps as `contact_id`."""
    return pseudonyms(contact_ids, f"contact/{contact_key}")


def group_of(cluster: np.ndarray[tuple[int], np.dtype[np.uint64]], plan: Plan) -> CodeArray:
    """(n,) positions in `records.GROUPS`, fixed by contact, use case and seed."""
    draw = unit_of(cluster, f"group/{plan.use_case}/{plan.seed}")
    group = np.zeros(len(cluster), dtype=np.int32)
    group[draw < plan.control_share + plan.uniform_share] = records.GROUPS.index(records.UNIFORM_SLICE)
    group[draw < plan.control_share] = records.GROUPS.index(records.CONTROL)
    return group


def _choose(
    plan: Plan, context: ContextBlock, eligibility: Eligibility, ids: ObjectArray, group: CodeArray
) -> tuple[CodeArray, FloatArray]:
    """Draw within the row's group; the propensity is the marginal over groups."""
    control, uniform = plan.control_share, plan.uniform_share
    if control == uniform == 0.0:
        return _by_policy(plan, context, eligibility, ids)
    action = np.zeros(len(ids), dtype=np.int32)
    own = np.zeros(len(ids))
    share = np.zeros(len(ids))
    treated = np.flatnonzero(group == 0)
    if len(treated):
        part = eligibility.take(treated)
        action[treated], own[treated] = _by_policy(plan, context.take(treated), part, ids[treated])
        share[treated] = 1.0 / _eligible_counts(part)
    for rows in _plain_blocks(np.flatnonzero(group != 0), eligibility.k):
        part = eligibility.take(rows)
        eligible = part.dense()
        flat = eligible / eligible.sum(axis=1, keepdims=True)
        held = group[rows] == records.GROUPS.index(records.CONTROL)
        drawn, _ = sample(flat, ids[rows], plan.seed)
        action[rows] = np.where(held, HOLD, drawn)
        policy = _distribution(plan.policy, context.take(rows), eligible)
        own[rows] = policy[np.arange(len(rows)), action[rows]]
        share[rows] = 1.0 / eligible.sum(axis=1)
    return action, control * (action == HOLD) + uniform * share + (1.0 - control - uniform) * own


def _by_policy(
    plan: Plan, context: ContextBlock, eligibility: Eligibility, ids: ObjectArray
) -> tuple[CodeArray, FloatArray]:
    policy = plan.policy
    if isinstance(policy, FusedPolicy):
        return policy.choose(context, eligibility, uniforms(ids, plan.seed))
    action, propensity = np.zeros(len(ids), dtype=np.int32), np.zeros(len(ids))
    for rows in _plain_blocks(np.arange(len(ids)), eligibility.k):
        eligible = eligibility.take(rows).dense()
        probabilities = _distribution(policy, context.take(rows), eligible)
        action[rows], propensity[rows] = sample(probabilities, ids[rows], plan.seed)
    return action, propensity


def _distribution(
    policy: Policy, context: ContextBlock, eligible: np.ndarray[tuple[int, int], np.dtype[np.bool_]]
) -> FloatArray:
    probabilities = policy.distribution(context, eligible)
    check_distribution(probabilities, eligible, policy.name)
    return probabilities


def _plain_blocks(rows: IntArray, k: int) -> list[IntArray]:
    size = max(1, _PLAIN_BYTES // (8 * k))
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _eligible_counts(eligibility: Eligibility) -> IntArray:
    """(n,) number of eligible actions, hold included, from the factors."""
    purposes = eligibility.channel_hour.shape[1]
    hours = eligibility.channel_hour.sum(axis=3, dtype=np.int64)
    count = np.ones(eligibility.n, dtype=np.int64)
    for purpose in range(purposes):
        arms = eligibility.channel_arm[:, :, eligibility.purpose_codes == purpose].sum(axis=2, dtype=np.int64)
        count += (arms * hours[:, purpose]).sum(axis=1)
    return count


def _table(  # noqa: PLR0913 - the columns of one block, gathered once
    plan: Plan,
    contacts: ContactBatch,
    now_at: int,
    slots: IntArray,
    ids: ObjectArray,
    who: ObjectArray,
    cluster: np.ndarray[tuple[int], np.dtype[np.uint64]],
    group: CodeArray,
    action: CodeArray,
    propensity: FloatArray,
    eligibility: Eligibility,
) -> pa.Table:
    n, catalog = contacts.n, plan.catalog
    channel, hour, arm = catalog.split(action)
    planned = slots[contacts.zone_code, np.maximum(hour, 0)]
    # A hold has nothing to dispatch, so it is over with the decision; a send waits for its dispatch.
    state = np.where(action == HOLD, records.STATES.index(records.DISPATCHED), records.STATES.index(records.DECIDED))
    same = np.zeros(n, dtype=np.int32)
    width = (catalog.k + 7) // 8
    packed = pa.Array.from_buffers(pa.binary(width), n, [None, pa.py_buffer(eligibility.packed().tobytes())])
    instants = pa.array(np.full(n, now_at), pa.int64()).cast(records.INSTANT)
    send_at = pa.array(planned, pa.int64(), mask=(action == HOLD) | (planned == NOT_AN_INSTANT)).cast(records.INSTANT)
    return pa.table(
        {
            "decision_id": pa.array(ids, pa.string()),
            "contact_id": pa.array(who, pa.string()),
            "cluster": pa.array(cluster, pa.uint64()),
            "decided_at": instants,
            "use_case": labels(same, [plan.use_case]),
            "group": labels(group, records.GROUPS),
            "channel": labels(channel, catalog.channels),
            "send_hour": labels(hour, [str(slot) for slot in catalog.hours]),
            "arm": labels(arm, catalog.arm_ids),
            "action_name": labels(action, catalog.action_names),
            "action": pa.array(action, pa.int32()),
            "propensity": pa.array(propensity, pa.float64()),
            "eligible": packed.cast(pa.binary()),
            "available": pa.array(np.ones(n, dtype=np.bool_)),
            "state": labels(state, records.STATES),
            "send_at": send_at,
            "policy_version": labels(same, [plan.policy_version]),
            "catalog_version": labels(same, [catalog.version]),
            "pack_version": labels(same, [plan.guardrails.version]),
            "schema_version": labels(same, [contacts.context.schema.version]),
            "seed": pa.array(np.full(n, plan.seed), pa.int64()),
            "rule_inputs": pa.array(rule_inputs(contacts), pa.binary()),
            **context_arrays(contacts.context),
        }
    )


def decision_meta(plan: Plan, contacts: ContactBatch, *, source: str, policy_folder: str) -> LogMeta:
    """The footer of a file of these decisions."""
    return LogMeta(
        catalog=plan.catalog,
        features=contacts.context.schema,
        propensity="logged",
        clustered=True,
        source=source,
        policy=policy_folder,
        pack=plan.guardrails.pack.to_builtins(),
        conditions=plan.sender.to_builtins(),
    )
