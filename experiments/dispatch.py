"""Dispatch a decision log: every due send judged again on the contacts as they are now; outcomes out.

Of several due sends of one contact one is dispatched per run, the one planned first: the next run reads a contact file
that knows of it, so that no cap is exceeded. Memory grows with the due sends, not with the contact file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa

from engine import records
from engine.catalog import Catalog
from engine.contact_file import contact_blocks
from engine.contact_key import require_same
from engine.contacts import ContactBatch, plain_contacts
from engine.decide import contact_pseudonyms
from engine.disk.given import Given, given_paths, named
from engine.errors import DataError, ParameterError
from engine.features import FeatureSchema
from engine.guardrails.conditions import NOTHING_SAID, Conditions, load_conditions
from engine.guardrails.known import known_conditions
from engine.guardrails.lacking import warnings_of
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack, pack_from, require_people
from engine.guardrails.recheck import Chosen, recheck_batch
from engine.guardrails.unknowns import Unknowns
from engine.localtime import instant_of
from engine.log.parquet import LogReader, instants
from engine.log.several import APART
from engine.log.whole_file import ParquetFile
from engine.outcomes import outcome_frame, read_outcomes
from engine.state.store import SqlState
from engine.types import HOLD, NOT_AN_INSTANT, IntArray
from experiments.outputs import DispatchOutput
from experiments.promised import STATE_RULE, UNSETTLED, PromisedSends

UNKNOWN_CONTACT = "unknown_contact"
BLOCK_ROWS = 8192
REASONS = pa.schema([(name, pa.string()) for name in ("decision_id", "id", "rule", "reason")])
_READ = ("decision_id", "contact_id", "use_case", "action", "state", "send_at", "available")

Advance = Callable[[float], None]


@dataclass(frozen=True)
class DispatchRequest:
    """What is asked.

    Attributes:
        decisions: decision log.
        contacts: contact file, see docs/contacts.md; a contact who is not in it gets nothing. None with `state`.
        now: aware instant at which the sends leave.
        out: the outcome file to write.
        contact_key: key of the contacts' pseudonyms, as at the decision; empty with `state`, which needs none.
        pack: the pack in force now, by name or path; None is the pack of the log.
        conditions: file of the sender's side now.
        done: outcome files of earlier runs; a decision with a state in them is over.
        reasons: file to write the reasons of the suppressed sends to, or None.
        reserved: whether the contacts' sends hold these sends already, as reservations at their planned instants.
        state: URL of the store in which the sends were reserved; contacts are read from it as well.
    """

    decisions: Given
    contacts: Given | None
    now: datetime
    out: Path
    contact_key: str
    pack: str | None = None
    conditions: Path | None = None
    done: Given = ()
    reasons: Path | None = None
    reserved: bool = False
    state: str | None = None

    def __post_init__(self) -> None:
        if (self.contacts is None) == (self.state is None):
            raise ParameterError("contacts", "dispatch", allowed="exactly one of --contacts and --state", got=None)
        if self.contacts is not None and not self.contact_key:
            raise ParameterError("contact_key", "dispatch", allowed="given with --contacts", got="")
        if self.state is not None and self.reserved:
            raise ParameterError("reserved", "dispatch", allowed="without --state, which knows it by itself", got=True)


def dispatch_file(request: DispatchRequest, advance: Advance | None = None) -> DispatchOutput:
    """Recheck every due send; write `dispatched` and `suppressed` events, and nothing for what is left as it was.

    Raises:
        ConfigError: a pack or conditions that cannot be used, or a log or store that is under another contact key.
        DataError: contacts or outcomes that cannot be read, no store under the URL, or a log without a guardrail pack.
        EligibilityError: a pack that must not start.
        LogFormatError: no decision log.
        StorageError: the outcomes cannot be written.
    """
    reader = LogReader(request.decisions)
    if request.contact_key:
        require_same(reader.meta.contact_key, request.contact_key, where=str(request.decisions))
    if request.pack is None and reader.meta.pack is None:
        raise DataError(
            f"{named(request.decisions)} has no guardrail pack of its own",
            hint=f"{APART}; give one with --pack" if APART in reader.meta.notes else "give one with --pack",
        )
    pack = pack_from(reader.meta.pack, source="the log") if request.pack is None else load_pack(request.pack)
    require_people(pack)
    guardrails = Guardrails(pack, reader.meta.catalog)
    said = NOTHING_SAID if request.conditions is None else load_conditions(request.conditions)
    conditions = known_conditions(said, reader.meta.catalog)
    due, counts = _due(reader, request)
    with ExitStack() as stack:
        sends = None
        if request.state is not None:
            store = stack.enter_context(SqlState.existing(request.state))
            if request.contact_key:
                store.use_key(request.contact_key)
            sends = PromisedSends(store, guardrails, request.now)
            sends.require(due["decision_id"].tolist(), due["contact_id"].tolist())
        run = _Run(guardrails, request, conditions, due, sends)
        for block in _blocks(guardrails, request, run):
            run.block(block)
            if advance is not None:
                advance(block.n)
        unknown = run.suppress_unknown()
        _write(request, due["decision_id"].to_numpy(dtype=object), run)
        if sends is not None:
            sends.settle(run.state, due["decision_id"].to_numpy(dtype=object))
    state = run.state
    words = guardrails.words
    return DispatchOutput(
        warnings=(*warnings_of(guardrails), *_hardly_meant(request, guardrails, run, unknown)),
        rules={code: words[code] for code in sorted({code for _, code, _, _ in run.reasons}) if code in words},
        outcomes=str(request.out),
        **counts,
        deferred=int((state == records.DECIDED).sum()),
        unsettled=int((state == UNSETTLED).sum()),
        dispatched=int((state == records.DISPATCHED).sum()),
        suppressed=int((state == records.SUPPRESSED).sum()),
        unknown_contacts=unknown,
        reasons=dict(sorted(Counter(f"{name} {rule}" for _, name, rule, _ in run.reasons).items())),
        pack=guardrails.version,
        now=request.now.isoformat(),
    )


def _hardly_meant(request: DispatchRequest, guardrails: Guardrails, run: _Run, unknown: int) -> tuple[str, ...]:
    """What made most sends disappear without an error."""
    said = run.unknowns.sentences(guardrails.inputs, stored=request.state is not None)
    if unknown > len(run.state) / 2:
        why = f"{unknown:,} of {len(run.state):,} due sends belong to contacts who are not in {request.contacts}"
        said = (*said, f"{why}: they are suppressed for good")
    return said


def _blocks(guardrails: Guardrails, request: DispatchRequest, run: _Run) -> Iterator[ContactBatch]:
    """Contacts as they are now: from the file, or those of the due sends from the store."""
    if request.contacts is not None:
        schema = FeatureSchema(features=())
        yield from contact_blocks(
            request.contacts, schema, guardrails.catalog, request.now, BLOCK_ROWS, guardrails.extra_inputs
        )
        return
    who = run.contacts.to_numpy(dtype=object)
    for start in range(0, len(who), BLOCK_ROWS):
        # Only who they are: `_Run` reads each turn afresh, so that a contact's second send sees the first.
        yield plain_contacts(who[start : start + BLOCK_ROWS], guardrails.catalog)


def _due(reader: LogReader, request: DispatchRequest) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Sends that are decided and due, by contact and planned instant, and counts of all the others."""
    now_at = instant_of(request.now, owner="dispatch")
    over = _states_in(request.done) if given_paths(request.done) else set()
    parts = []
    counts = {"decisions": 0, "holds": 0, "done": 0, "not_due": 0}
    for batch in reader.batches(list(_READ)):
        frame = pd.DataFrame(
            {
                "decision_id": batch.column("decision_id").to_numpy(zero_copy_only=False).astype(object),
                "contact_id": batch.column("contact_id").to_numpy(zero_copy_only=False).astype(object),
                "use_case": batch.column("use_case").cast(pa.string()).to_numpy(zero_copy_only=False).astype(object),
                "action": batch.column("action").to_numpy(),
                "send_at": instants(batch.column("send_at")),
            }
        )
        hold = frame["action"].to_numpy() == HOLD
        decided = batch.column("state").cast(pa.string()).to_numpy(zero_copy_only=False) == records.DECIDED
        decided = decided & batch.column("available").to_numpy(zero_copy_only=False).astype(bool)
        done = ~hold & (~decided | frame["decision_id"].isin(over).to_numpy())
        planned = frame["send_at"].to_numpy()
        later = ~hold & ~done & (planned != NOT_AN_INSTANT) & (planned > now_at)
        counts["decisions"] += len(frame)
        for name, rows in (("holds", hold), ("done", done), ("not_due", later)):
            counts[name] += int(rows.sum())
        parts.append(frame[~hold & ~done & ~later])
    due = pd.concat(parts, ignore_index=True).sort_values(["contact_id", "send_at", "decision_id"], ignore_index=True)
    again = due["decision_id"].duplicated()
    if again.any():
        raise DataError(
            f"the log holds decision {due['decision_id'][again].iloc[0]!r} twice", hint="a decision is sent once"
        )
    return due, counts


def _states_in(done: Given) -> set[str]:
    frame = outcome_frame(read_outcomes(done)[0])
    return set(frame["decision_id"][frame["event"].isin(records.STATES)])


class _Run:
    """States of the due sends while the contact blocks pass by."""

    def __init__(
        self,
        guardrails: Guardrails,
        request: DispatchRequest,
        conditions: Conditions,
        due: pd.DataFrame,
        sends: PromisedSends | None = None,
    ) -> None:
        self._guardrails, self._request, self._conditions, self._sends = guardrails, request, conditions, sends
        contact = due["contact_id"].to_numpy(dtype=object)
        self.contacts = pd.Index(contact).unique()
        self._first: IntArray = np.searchsorted(self.contacts.get_indexer(contact), np.arange(len(self.contacts) + 1))
        self._met = np.zeros(len(self.contacts), dtype=np.bool_)
        self._id, self._use_case = due["decision_id"].to_numpy(object), due["use_case"].to_numpy(object)
        self._action, self._send_at = due["action"].to_numpy(np.int32), due["send_at"].to_numpy(np.int64)
        self.state = np.full(len(due), records.DECIDED, dtype=object)
        self.unknowns = Unknowns()
        self.reasons: list[tuple[str, str, str, str]] = []

    def block(self, contacts: ContactBatch) -> None:
        """Recheck the sends of these contacts: the first due one, and the next where the one before was refused."""
        named = self._sends is None
        who = contact_pseudonyms(contacts.contact_id, self._request.contact_key) if named else contacts.contact_id
        known = self.contacts.get_indexer(who)
        position = np.flatnonzero(known >= 0)
        group = known[position]
        self._met[group] = True
        turn = self._first[group]
        while len(position):
            for use_case in pd.unique(self._use_case[turn]):
                rows = self._use_case[turn] == use_case
                self._recheck(contacts.take(position[rows]), turn[rows], str(use_case))
            more = (self.state[turn] == records.SUPPRESSED) & (turn + 1 < self._first[group + 1])
            position, group, turn = position[more], group[more], turn[more] + 1

    def _recheck(self, contacts: ContactBatch, rows: IntArray, use_case: str) -> None:
        chosen = Chosen(self._action[rows], self._send_at[rows], np.full(len(rows), self._request.reserved))
        if self._sends is not None:
            contacts = self._sends.contacts(contacts.contact_id, self._id[rows])
        self.unknowns = self.unknowns + Unknowns.of(contacts)
        conditions = msgspec.structs.replace(self._conditions, use_case=use_case)
        found = recheck_batch(self._guardrails, chosen, contacts, self._request.now, conditions)
        state = found.state
        for row, reasons in found.reasons.items():
            name = str(self._id[rows[row]])
            self.reasons += [(name, reason.id, reason.rule, reason.reason) for reason in reasons]
        if self._sends is not None:
            state, refused = self._sends.take(contacts, self._id[rows], state)
            self.reasons += [(name, reason, STATE_RULE, f"the state store: {reason}") for name, reason in refused]
        self.state[rows] = state
        left = state == records.DISPATCHED
        self._conditions = _counted(self._conditions, self._guardrails.catalog, chosen.action[left])

    def suppress_unknown(self) -> int:
        """Suppress the sends of contacts whom the file does not have: nobody knows whether they still may.

        Raises:
            DataError: the file has none of them, so it is another file or another key, and suppressed is for good.
        """
        if len(self._met) and not self._met.any():
            raise DataError(
                f"no due decision belongs to a contact of {named(self._request.contacts or ())}",
                hint="give the contacts of these decisions, under the contact key with which they were decided",
            )
        group = np.repeat(np.arange(len(self.contacts)), np.diff(self._first))
        rows = np.flatnonzero(~self._met[group])
        self.state[rows] = records.SUPPRESSED
        why = "the contact is not in the contact file"
        self.reasons += [(str(name), UNKNOWN_CONTACT, "dispatch", why) for name in self._id[rows]]
        return len(rows)


def _counted(conditions: Conditions, catalog: Catalog, sent: np.ndarray[tuple[int], np.dtype[np.int32]]) -> Conditions:
    """The conditions with what this run has sent, so that the next block sees it."""
    channel, _, arm = catalog.split(sent)
    promotional = (channel >= 0) & (catalog.purpose_codes[np.maximum(arm, 0)] == 0)
    times = np.bincount(channel[promotional], minlength=len(catalog.channels))
    added = dict(zip(catalog.channels, times.tolist(), strict=True))
    changes = {}
    for name in ("sent_today", "sent_7d"):
        counts = getattr(conditions, name)
        if counts is not None:
            changes[name] = {key: count + added.get(key, 0) for key, count in counts.items()}
    return msgspec.structs.replace(conditions, **changes)


def _write(request: DispatchRequest, decision_id: np.ndarray[tuple[int], np.dtype[np.object_]], run: _Run) -> None:
    over = (run.state == records.DISPATCHED) | (run.state == records.SUPPRESSED)
    now_at = instant_of(request.now, owner="dispatch")
    table = pa.Table.from_arrays(
        [
            pa.array(decision_id[over], pa.string()),
            pa.array(run.state[over], pa.string()).cast(records.LABEL),
            pa.array(np.full(int(over.sum()), now_at), pa.int64()).cast(records.INSTANT),
            pa.nulls(int(over.sum()), pa.float64()),
        ],
        schema=records.outcome_schema(),
    )
    with ParquetFile(request.out, table.schema) as file:
        file.append(table)
    if request.reasons is not None:
        columns = list(zip(*run.reasons, strict=True)) or [(), (), (), ()]
        with ParquetFile(request.reasons, REASONS) as file:
            file.append(pa.Table.from_arrays([pa.array(column, pa.string()) for column in columns], schema=REASONS))
