"""One batch of contacts to one batch of decisions: guardrails, policy, draw, record. No files, no clock.

The steps stand in their order in `_decide`. The policy is handed copies that it cannot write to, and its answer is held
against what the rules said (`engine.decide.asking`), which is what the record holds.

With set-level limits the eligible set is what they leave at the contact's turn, and the draw and its propensity are
over that set (docs/limits.md). With a state store contacts are read from it, and every send is promised and every
decision recorded there in one transaction; a send that another promise leaves no room for is recorded as suppressed.
Decisions that the store has are read, not taken again (docs/state.md).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from engine.contacts.contacts import ContactBatch
from engine.content.drawing import AssemblyDrawer, BlockChooser
from engine.content.eligibility import BlockEligibility
from engine.decide.asking import EligibleSets
from engine.decide.decided import Decided, joined, read_back
from engine.decide.drawing import DistributionDrawer, Drawer, FusedDrawer, LimitedDrawer, draw_in_groups
from engine.decide.groups import groups_of
from engine.decide.plan import Plan, decision_ids
from engine.decide.table import DecisionRows, Draws, decision_table
from engine.eligibility import DenseEligibility, Eligibility, pack
from engine.errors import DataError, StorageError, TactfulError
from engine.guardrails.counts import Unknowns
from engine.identity import contact_pseudonyms, keyed_hash, uniforms
from engine.limits.batch import Settlement
from engine.protocols import FusedPolicy, Policy
from engine.state.reading.stricter import Beside, unread_of
from engine.state.sends.promises import Committed, Promises
from engine.time.localtime import instant_of
from engine.types import CodeArray, IntArray, ObjectArray

_TRIES = 100  # each time another run has recorded decisions of the same batch


def decide_batch(plan: Plan, contacts: ContactBatch, now: datetime) -> Decided:
    """Decide for n contacts.

    The same contact, instant, use case and seed give the same decision in any batch.

    Args:
        plan: see `Plan`.
        contacts: n contacts, aged to `now`.
        now: aware.

    Raises:
        DataError: quota under the batch's name that was closed otherwise, a contact twice, or decisions that were taken
            before under other settings (only with a store).
        StorageError: a store refused, and nothing of the batch may be sent.
        ParameterError: a naive `now`, or a policy whose answer is no distribution over the eligible set, whose action
            is a removed one, or that writes to what it is given.
        EligibilityError: an empty eligible set.
    """
    now_at = instant_of(now, owner="decide_batch")
    ids = decision_ids(contacts.contact_id, plan, now_at)
    if plan.promises is None:
        decided = _decide(plan, contacts, now, now_at, ids)
    else:
        decided = _decide_or_read(plan, plan.promises, contacts, now, now_at, ids)
    if decided is None:
        raise StorageError(
            "other runs decide for the same contacts at the same instant all the time", hint="run one at a time"
        )
    return decided


def _decide(plan: Plan, contacts: ContactBatch, now: datetime, now_at: int, ids: ObjectArray) -> Decided | None:
    """Decide for contacts of whom the store knows no decision; None where another run has decided some meanwhile."""
    who = contact_pseudonyms(contacts.contact_id, plan.contact_key)
    beside = Beside()
    if plan.promises is not None:
        # A dispatch has no ids: what it reads under other spellings is found by what is noted here.
        plan.promises.store.note_ids(contacts.contact_id.tolist(), plan.contact_key)
        contacts, beside = plan.promises.contacts(contacts, who, ids.tolist(), plan.catalog, now_at)
    # Rules see the pseudonyms that the log keeps, so that what they hash can be repeated from the log alone.
    seen = replace(contacts, contact_id=who)
    eligibility, removed = plan.guardrails.judged(seen, now, plan.sender)
    cluster = keyed_hash(who, "cluster")
    group = groups_of(cluster, ids, plan)
    slots = plan.guardrails.scene(contacts, now).slots
    draws, settlement = _draw_batch(plan, contacts, eligibility, slots, ids, group, now_at)
    rows = DecisionRows(plan, contacts, now_at, slots, ids, who, cluster, group, draws)
    committed = _commit(plan, seen, rows, settlement)
    if committed is None:
        return None
    suppressed = np.zeros(contacts.n, dtype=np.bool_)
    suppressed[[row for row, reasons in enumerate(committed.refused) if reasons]] = True
    return Decided(
        committed.table,
        draws.action,
        removed,
        suppressed,
        Counter(reason for reasons in committed.refused for reason in reasons),
        Counter(name for one in draws.shortages or () for name in {shortage.limit for shortage in one}),
        Unknowns.of(seen),
        beside,
        sequence=committed.sequence,
    )


def _draw_batch(
    plan: Plan,
    contacts: ContactBatch,
    eligibility: Eligibility | BlockEligibility,
    slots: IntArray,
    ids: ObjectArray,
    group: CodeArray,
    now_at: int,
) -> tuple[Draws, Settlement | None]:
    """Draw from the eligible sets, which limits make smaller as the batch goes on."""
    context, uniform, share = contacts.context, uniforms(ids, plan.seed), plan.slice_probability
    if plan.limits is None:
        drawer, sets = _drawer(plan.policy, eligibility)
        drawn = draw_in_groups(drawer, context, sets, uniform, group, share)
        return Draws(*drawn, eligibility.packed()), None
    limited = LimitedDrawer(plan.policy)
    admission, shortages, settlement = plan.limits.admit(
        _quota_name(plan, ids),
        plan.catalog,
        slots[contacts.zone_code],
        eligibility.dense(),
        ids,
        lambda rows, left: draw_in_groups(
            limited, context.take(rows), DenseEligibility(left), uniform[rows], group[rows], share
        ),
        seed=plan.seed,
        now_at=now_at,
    )
    return Draws(admission.action, admission.propensity, pack(admission.eligible), shortages), settlement


def _drawer(policy: Policy, eligibility: Eligibility | BlockEligibility) -> tuple[Drawer[Any], EligibleSets]:
    """Whoever draws for a policy, and the eligible sets in the form from which it draws."""
    if isinstance(eligibility, BlockEligibility):
        if isinstance(policy, BlockChooser):
            return AssemblyDrawer(policy), eligibility
        eligibility = eligibility.plain()
    return (FusedDrawer(policy) if isinstance(policy, FusedPolicy) else DistributionDrawer(policy)), eligibility


def _quota_name(plan: Plan, ids: ObjectArray) -> str:
    """Names a batch by its decisions and the run's settings, never by what is known of the contacts at the moment:

    whoever takes these decisions again finds the quota that was granted for them.
    """
    settings = {name: value for name, value in plan.settings.items() if name != "conditions"}
    digest = hashlib.sha256(msgspec.json.encode(settings))
    digest.update("\n".join(sorted(ids.tolist())).encode())
    return f"decide/{digest.hexdigest()}"


def _commit(plan: Plan, seen: ContactBatch, rows: DecisionRows, settlement: Settlement | None) -> Committed | None:
    """Settle the quota, promise the sends and make the table; None where another run has decided some meanwhile."""
    if plan.promises is None:
        if settlement is not None and plan.limits is not None:
            settlement.settle(plan.limits.store)
        return Committed(decision_table(rows), [], 0)

    def table(refused: Sequence[tuple[str, ...]]) -> pa.Table:
        return decision_table(replace(rows, refused=refused))

    action = rows.draws.action
    send_at = rows.slots[seen.zone_code, np.maximum(plan.catalog.split(action)[1], 0)]
    settings = msgspec.json.encode(plan.settings)
    with _given_back(plan, settlement):
        committed = plan.promises.commit(
            plan.guardrails, seen, rows.ids, action, send_at, rows.now_at, settings, table, settlement
        )
        if committed is None and plan.limits is not None and settlement is not None:
            plan.limits.store.abandon(settlement.grant_id)
    return committed


@contextlib.contextmanager
def _given_back(plan: Plan, settlement: Settlement | None) -> Iterator[None]:
    """Give the quota of a batch back whose decisions could not be recorded."""
    try:
        yield
    except BaseException:
        if settlement is not None and plan.limits is not None:
            # Not a must: the lease gives the quota back as well, only later.
            with contextlib.suppress(TactfulError):
                plan.limits.store.abandon(settlement.grant_id)
        raise


def _decide_or_read(
    plan: Plan, promises: Promises, contacts: ContactBatch, now: datetime, now_at: int, ids: ObjectArray
) -> Decided | None:
    """Read what was decided, decide the rest, and look again where another run was quicker with a part of it."""
    _require_distinct(ids)
    for _ in range(_TRIES):
        found = promises.store.decided(ids.tolist(), now_at=now_at)
        if found is None:
            decided = _decide(plan, contacts, now, now_at, ids)
            if decided is not None:
                return decided
            continue
        _require_settings(plan, found.settings)
        known = found.position >= 0
        before = read_back(plan.catalog, found.table.take(pa.array(found.position[known])), found.sequence)
        # What the file lacks is said again, so that a run that is repeated writes the very same file.
        part = contacts.take(known)
        before = replace(before, unknowns=Unknowns.of_features(part), beside=Beside(unread=unread_of(part)))
        if known.all():
            return before
        rest = np.flatnonzero(~known)
        decided = _decide(plan, contacts.take(rest), now, now_at, ids[rest])
        if decided is not None:
            return joined(before, np.flatnonzero(known), decided, rest)
    return None


def _require_distinct(ids: ObjectArray) -> None:
    if len(set(ids.tolist())) != len(ids):
        raise DataError(
            "the contacts of a batch hold a contact twice", hint="decide for each contact once at the same instant"
        )


def _require_settings(plan: Plan, found: Sequence[bytes]) -> None:
    """Refuse to mix decisions of one instant that were taken under different settings."""
    mine = msgspec.json.decode(msgspec.json.encode(plan.settings))
    for one in found:
        theirs = msgspec.json.decode(one)
        other = sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))
        if other:
            raise DataError(
                f"this use case and instant was decided before under another {', another '.join(other)}: a day that "
                "has been decided is read, not decided again",
                hint="run it as it was run the first time, or decide for another instant",
            )
