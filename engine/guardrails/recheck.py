"""The second phase: every rule again at dispatch, for the one action of a logged decision, on the contact as it is now.

Between decision and dispatch consent may be withdrawn, a number suppressed, another message sent, a channel paused, and
the queue may have moved the send into the quiet hours. So the chosen arm and channel are judged as a send that leaves
now (the slot "now" with the latency margin), by all rules of the pack. What is refused is `suppressed`: it is never
sent later, and learning and evaluation leave it out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import msgspec
import numpy as np

from engine.catalog import NOW, Catalog
from engine.contacts.contacts import ContactBatch
from engine.errors import ParameterError
from engine.guardrails.conditions import NOTHING_SAID, Conditions
from engine.guardrails.judging import further_inputs, judge, lacking_rows
from engine.guardrails.layer import Guardrails, Removal
from engine.guardrails.rule import Cell, Finding, Rule, Scene, Verdict
from engine.records import schema as records
from engine.time.localtime import instant_of
from engine.types import HOLD, MICROSECONDS_PER_S, NOT_AN_INSTANT, BoolArray, CodeArray, IntArray, ObjectArray

LATE: Final = "late"
EARLY: Final = "early"
# A send may wait for so long after its planned instant: what was said of 09:00 is not true of the next day.
MAX_DELAY_S: Final = 6 * 3600


@dataclass(frozen=True)
class Chosen:
    """What n logged decisions chose.

    Attributes:
        action: (n,) actions of the catalog.
        send_at: (n,) planned instants, `NOT_AN_INSTANT` where there is none.
        reserved: (n,) whether the contact's history holds this very send already, as a reservation at `send_at`: it is
            taken out, or a cap of one would refuse what it reserved.
    """

    action: CodeArray
    send_at: IntArray
    reserved: BoolArray

    def take(self, rows: IntArray) -> Chosen:
        return Chosen(self.action[rows], self.send_at[rows], self.reserved[rows])


@dataclass(frozen=True)
class Dispatch:
    """Whether one decision may be sent now.

    Attributes:
        allowed: false: do not send.
        state: the decision's next state: dispatched, suppressed, or decided where it is not due yet.
        reasons: every rule that refuses it.
    """

    allowed: bool
    state: str
    reasons: tuple[Removal, ...] = ()


@dataclass(frozen=True)
class Dispatches:
    """n answers; `one(row)` gives a `Dispatch`.

    Attributes:
        allowed: (n,) bool.
        state: (n,) states.
        reasons: row -> why it is refused; rows that are allowed have no entry.
    """

    allowed: BoolArray
    state: ObjectArray
    reasons: dict[int, tuple[Removal, ...]] = field(default_factory=dict)

    def one(self, row: int) -> Dispatch:
        return Dispatch(bool(self.allowed[row]), str(self.state[row]), self.reasons.get(row, ()))


def recheck(
    guardrails: Guardrails,
    chosen: Chosen,
    contact: ContactBatch,
    now: datetime,
    conditions: Conditions = NOTHING_SAID,
    max_delay_s: float = MAX_DELAY_S,
) -> Dispatch:
    """`recheck_batch` for one decision and its contact.

    Raises:
        ParameterError: as `recheck_batch`, or not exactly one decision.
    """
    if len(chosen.action) != 1:
        raise ParameterError("chosen", "recheck", allowed="one decision", got=len(chosen.action))
    return recheck_batch(guardrails, chosen, contact, now, conditions, max_delay_s).one(0)


def recheck_batch(
    guardrails: Guardrails,
    chosen: Chosen,
    contacts: ContactBatch,
    now: datetime,
    conditions: Conditions = NOTHING_SAID,
    max_delay_s: float = MAX_DELAY_S,
) -> Dispatches:
    """Judge n logged decisions again, at the instant of their dispatch.

    Each row is judged by itself: two decisions for one contact do not see each other, so dispatch one, record it, and
    then ask for the other.

    Args:
        guardrails: the pack in force now, with the catalog of the decisions.
        chosen: what n decisions chose.
        contacts: n contacts as they are known now, row by row those of the decisions.
        now: the instant at which the sends leave; aware.
        conditions: the sender's side now.
        max_delay_s: a send later than this after its planned instant is refused.

    Raises:
        ParameterError: a naive `now`, row counts that differ, an action that the catalog does not have, or contacts of
            another catalog.
    """
    catalog = guardrails.catalog
    _check(chosen, contacts, catalog, max_delay_s)
    now_at = instant_of(now, owner="recheck")
    n, send = contacts.n, chosen.action != HOLD
    allowed = np.ones(n, dtype=np.bool_)
    found: dict[int, list[Removal]] = {}
    seen = _without_own(contacts, chosen, catalog)
    scene = replace(guardrails.scene(seen, now, _at_dispatch(conditions)), catalog=sent_now(catalog))
    for entry, rule in guardrails.rules:
        refused = send & _refused(judge(rule, scene), chosen.action, catalog)
        allowed &= ~refused
        for row in np.flatnonzero(refused).tolist():
            finding = _finding(rule, scene, row, _cell(catalog, int(chosen.action[row])))
            found.setdefault(row, []).append(
                Removal(entry.rule, entry.id, finding.observed, finding.limit, finding.next_allowed_at, finding.reason)
            )
    early = _timing(chosen, send, now_at, max_delay_s, allowed, found)
    state = np.where(allowed, records.DISPATCHED, records.SUPPRESSED).astype(object)
    state[early] = records.DECIDED
    return Dispatches(allowed, state, {row: tuple(reasons) for row, reasons in found.items()})


def sent_now(catalog: Catalog) -> Catalog:
    """The same channels and arms with the one slot "now"."""
    return Catalog(
        name=catalog.name,
        channels=catalog.channels,
        hours=(NOW,),
        arms=catalog.arms,
        hold_name=catalog.hold_name,
    )


def _at_dispatch(conditions: Conditions) -> Conditions:
    return msgspec.structs.replace(conditions, dispatching=True)


def _check(chosen: Chosen, contacts: ContactBatch, catalog: Catalog, max_delay_s: float) -> None:
    lengths = {len(chosen.action), len(chosen.send_at), len(chosen.reserved), contacts.n}
    if len(lengths) != 1:
        raise ParameterError("chosen", "recheck", allowed="as many decisions as contacts", got=sorted(lengths))
    if len(chosen.action) and not (chosen.action.min() >= HOLD and chosen.action.max() < catalog.k):
        raise ParameterError("action", "recheck", allowed=f"in 0..{catalog.k - 1}", got=chosen.action.tolist()[:5])
    if not max_delay_s >= 0:
        raise ParameterError("max_delay_s", "recheck", allowed="0 or more", got=max_delay_s)


def _refused(verdict: Verdict, action: CodeArray, catalog: Catalog) -> BoolArray:
    """(n,) whether a verdict on the slot "now" removes each row's own channel and arm."""
    n = len(action)
    channels, _, arms = catalog.shape
    channel, _, arm = catalog.split(np.maximum(action, HOLD + 1))
    out = np.zeros(n, dtype=np.bool_)
    rows = np.arange(n)
    if verdict.channel_arm is not None:
        out |= np.broadcast_to(verdict.channel_arm, (n, channels, arms))[rows, channel, arm]
    if verdict.channel_hour is not None:
        full = np.broadcast_to(verdict.channel_hour, (n, verdict.channel_hour.shape[1], channels, 1))
        purpose = catalog.purpose_codes[arm] if full.shape[1] > 1 else np.zeros(n, dtype=np.int64)
        out |= full[rows, purpose, channel, 0]
    return out


def _cell(catalog: Catalog, action: int) -> Cell:
    channel, _, arm = (int(part[0]) for part in catalog.split(np.array([action])))
    return Cell(channel, 0, arm, int(catalog.purpose_codes[arm]))


def _finding(rule: Rule, scene: Scene, row: int, cell: Cell) -> Finding:
    alone = replace(scene, contacts=scene.contacts.alone(row))
    if lacking_rows(rule, alone.contacts)[0]:
        names = ", ".join(further_inputs(rule))
        return Finding("missing", f"a value for {names}", f"the contact lacks an input of this rule: {names}")
    return rule.explain(alone, 0, cell)


def _without_own(contacts: ContactBatch, chosen: Chosen, catalog: Catalog) -> ContactBatch:
    """The contacts without one reservation each: the send itself, known by instant, channel and purpose."""
    if not chosen.reserved.any() or not len(contacts.sent_at):
        return contacts
    channel, _, arm = catalog.split(np.maximum(chosen.action, HOLD + 1))
    owner = np.repeat(np.arange(contacts.n), np.diff(contacts.sent_offsets))
    own = chosen.reserved[owner] & (contacts.sent_at == chosen.send_at[owner])
    own &= contacts.sent_channel == channel[owner]
    own &= contacts.sent_purpose == catalog.purpose_codes[arm[owner]]
    matches = np.flatnonzero(own)
    _, first = np.unique(owner[matches], return_index=True)
    keep = np.ones(len(contacts.sent_at), dtype=np.bool_)
    keep[matches[first]] = False
    counts = np.bincount(owner[keep], minlength=contacts.n)
    return replace(
        contacts,
        sent_offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        sent_at=contacts.sent_at[keep],
        sent_channel=contacts.sent_channel[keep],
        sent_purpose=contacts.sent_purpose[keep],
        sent_details={name: column[keep] for name, column in contacts.sent_details.items()},
    )


def _timing(
    chosen: Chosen,
    send: BoolArray,
    now_at: int,
    max_delay_s: float,
    allowed: BoolArray,
    found: dict[int, list[Removal]],
) -> BoolArray:
    """Refuse what is late or not due yet, in place; (n,) rows that are only early."""
    planned = send & (chosen.send_at != NOT_AN_INSTANT)
    due = np.where(planned, chosen.send_at, now_at)
    late = planned & (now_at - due > round(max_delay_s * MICROSECONDS_PER_S))
    early: BoolArray = planned & (due > now_at)
    for row in np.flatnonzero(late | early).tolist():
        by_s = (now_at - int(due[row])) / MICROSECONDS_PER_S
        is_late = bool(late[row])
        reason = f"{by_s:g} s after its planned instant" if is_late else f"planned for {-by_s:g} s later"
        name = LATE if is_late else EARLY
        following = None if is_late else int(due[row])
        found.setdefault(row, []).append(Removal("dispatch", name, by_s, max_delay_s, following, reason))
    allowed &= ~(late | early)
    return early
