"""Dispatch a decision log: every due send judged again on the contacts as they are now; outcomes out.

Of several due sends of one contact one is dispatched per run, the one planned first: the next run reads a contact file
that knows of it, so that no cap is exceeded. Memory grows with the due sends, not with the contact file.

With a state store the outcome file says in its footer which run wrote it. The same run again, after it was killed,
finds its own file and settles what the file says, or, where there is none, does what nobody has taken
(`experiments.serve.reserved_sends`).
"""

from __future__ import annotations

import hashlib
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa

from engine.catalog import Catalog
from engine.contacts.contacts import ContactBatch, plain_contacts
from engine.contacts.file import contact_batches
from engine.contacts.key import require_same
from engine.errors import DataError, LogFormatError, ParameterError, StorageError, reason_of
from engine.features import FeatureSchema
from engine.files.parquet import open_parquet
from engine.files.tables import ENDINGS, kind_of
from engine.guardrails.conditions import NOTHING_SAID, Conditions, load_conditions
from engine.guardrails.counts import Unknowns
from engine.guardrails.known_names import known_conditions
from engine.guardrails.layer import Guardrails
from engine.guardrails.lint.protections import warnings_of
from engine.guardrails.pack import load_pack, pack_from, require_people
from engine.guardrails.recheck import Chosen, recheck_batch
from engine.identity import contact_pseudonyms
from engine.log.parquet import LogReader, instants
from engine.log.several import APART
from engine.log.whole_file import ParquetFile
from engine.records import schema as records
from engine.records.outcomes import outcome_frame, read_outcomes
from engine.state.sends.settlements import Owed
from engine.state.sequence import Mark, in_folder
from engine.state.store import SqlState
from engine.storage.given import Given, files_of, given_paths, named
from engine.storage.parts import alone_with
from engine.storage.replaceable import require_free, require_replaceable
from engine.time.localtime import instant_of
from engine.types import HOLD, NOT_AN_INSTANT, IntArray, ObjectArray
from experiments.outputs import CommandOutput, KeyOutput
from experiments.serve.reserved_sends import OVER, STATE_RULE, UNSETTLED, ReservedSends

UNKNOWN_CONTACT = "unknown_contact"
FOOTER = b"tactful_dispatch"
BLOCK_ROWS = 8192
REASONS = pa.schema([(name, pa.string()) for name in ("decision_id", "id", "rule", "reason")])
_READ = ("decision_id", "contact_id", "use_case", "action", "state", "send_at", "available")

Advance = Callable[[float], None]


class DispatchOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful dispatch --json`.

    Attributes:
        outcomes: the file of events `dispatched` and `suppressed`.
        decisions: rows of the decision log; of them `holds` have nothing to send, `done` have a state already.
        not_due: sends planned for later; they stay decided.
        deferred: second sends of a contact who got one in this run; they stay decided.
        dispatched / suppressed: events written.
        unknown_contacts: suppressed decisions whose contact is not in the contact file.
        reasons: rule -> suppressed sends that it refuses; a send may have several.
        contact_key: the key of the contacts' pseudonyms; null with a store where none was given.
        rules: code of a rule that refused a send -> its name and what it does.
        unsettled / unsettled_ids: sends that another run has taken and nobody has settled; nothing is written of them,
            and the command leaves with exit code 9.
        settled_since: outcomes written of sends that an earlier run took and somebody settled by hand.
        finished: the outcome file of this very run was there already; what it says is settled, nothing else was done.
    """

    outcomes: str
    decisions: int
    holds: int
    done: int
    not_due: int
    deferred: int
    dispatched: int
    suppressed: int
    unknown_contacts: int
    reasons: dict[str, int]
    pack: str
    now: str
    unsettled: int = 0
    contact_key: KeyOutput | None = None
    rules: dict[str, str] = {}
    unsettled_ids: tuple[str, ...] = ()
    settled_since: int = 0
    finished: bool = False


@dataclass(frozen=True)
class DispatchRequest:
    """One run of sends: the decisions, the contacts or the store, the instant, and what holds now.

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
        replace: overwrite files that are there; those of the same run with a store are gone on with in any case.
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
    replace: bool = True

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
        StorageError: the outcomes cannot be written, the store is an older copy, or another dispatch of these decisions
            is at work.
    """
    for path in (request.out, request.reasons):
        if path is not None:
            require_replaceable(path, inputs=[request.decisions, request.contacts, request.conditions])
    if request.state is None:
        _require_free(request, None)
    reader = LogReader(request.decisions)
    # Two runs at once would take the sends in turns, each name those of the other as unsettled, and one of them write
    # over the outcome file of the other.
    with alone_with(reader.paths, "dispatch"):
        return _dispatch_alone(request, reader, advance)


def _dispatch_alone(request: DispatchRequest, reader: LogReader, advance: Advance | None) -> DispatchOutput:
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
    if request.state is None and reader.mark is not None:
        raise DataError(
            f"{named(request.decisions)} was decided over a state store, which holds its sends and knows what has left",
            hint="give that store with --state in place of --contacts",
        )
    sends = _sends(reader, request)
    with ExitStack() as stack:
        if request.state is None:
            _require_free(request, None)
            return _dispatch(_Job(guardrails, request, conditions, sends), advance)
        store = stack.enter_context(SqlState.existing(request.state))
        if request.contact_key:
            store.use_key(request.contact_key)
        promised = ReservedSends(store, guardrails, request.now)
        _require_current(promised, reader, request)
        job = _Job(guardrails, request, conditions, sends, promised, run_of(promised.mark(), request.now, sends.digest))
        _require_free(request, job.run)
        output = _finish(job) if _is_of(request.out, job.run) else _dispatch(job, advance)
        in_folder(request.out.parent, promised.mark().store_id).note(promised.mark())
    return output


def run_of(mark: Mark, now: datetime, digest: str) -> str:
    """Names a run over a store: the same log at the same instant is the same run."""
    text = f"{mark.store_id}/{instant_of(now, owner='dispatch')}/{digest}"
    return hashlib.sha256(text.encode()).hexdigest()


class Footer(msgspec.Struct, frozen=True):
    """What an outcome file of a run with a store says of itself: which run, and the store after its last take."""

    run: str
    mark: Mark


def footer_of(path: Path) -> Footer | None:
    """The footer of an outcome file; None where it has none, or is no Parquet file.

    Raises:
        DataError: a file or a footer that cannot be read.
    """
    if kind_of(path) != "parquet":
        return None
    with open_parquet(path) as file:
        text = (file.schema_arrow.metadata or {}).get(FOOTER)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=Footer)
    except msgspec.MsgspecError as error:
        why = reason_of(error)
        raise DataError(f"{path} has a footer that cannot be read: {why}", hint="the file is damaged") from error


@dataclass(frozen=True)
class _Sends:
    """The sends of a log: those that are due, all ids, counts of the others, a digest of all decisions."""

    due: pd.DataFrame
    names: list[str]
    said: set[tuple[str, str]]
    counts: dict[str, Any]
    digest: str


@dataclass(frozen=True)
class _Job:
    guardrails: Guardrails
    request: DispatchRequest
    conditions: Conditions
    sends: _Sends
    promised: ReservedSends | None = None
    run: str = ""


def _require_current(promised: ReservedSends, reader: LogReader, request: DispatchRequest) -> None:
    mark = promised.mark()
    in_folder(request.out.parent, mark.store_id).check(mark, same=False)
    promised.require_current(reader.mark, reader.path)
    for path in _done_files(request):
        footer = footer_of(path)
        promised.require_current(None if footer is None else footer.mark, str(path))


def _require_free(request: DispatchRequest, run: str | None) -> None:
    """Refuse to overwrite what is there, unless the very same run wrote it; what has left is never overwritten."""
    for path in (request.out, request.reasons):
        if path is None or not path.exists() or _is_of(path, run):
            continue
        if _says_what_left(path):
            after = "the store knows what left" if request.state is not None else f"say --done {shlex.quote(str(path))}"
            raise ParameterError(
                "out",
                "dispatch",
                allowed="a name that is free",
                got=str(path),
                hint=f"it says which messages left, so it is never overwritten: name another file; {after}",
            )
        require_free(path, replace=request.replace, inputs=[request.done])


def _says_what_left(path: Path) -> bool:
    """Whether a file is the outcome file of a dispatch in which something left: without it, that would leave again."""
    if not path.is_file():
        return False
    with suppress(DataError, LogFormatError, StorageError):
        return records.DISPATCHED in read_outcomes(path)[0]["event"].to_pylist()
    return False


def _is_of(path: Path, run: str | None) -> bool:
    """Whether a file is the outcome file of this very run over a store."""
    footer = footer_of(path) if run is not None and path.exists() else None
    return footer is not None and footer.run == run


def _finish(job: _Job) -> DispatchOutput:
    """Settle what the outcome file of this very run says: it was killed after the file was there."""
    if job.promised is None:
        raise DataError("only a run with a store can be finished", hint="give --state")
    events = outcome_frame(read_outcomes(job.request.out)[0])
    became = dict(zip(events["decision_id"], events["event"], strict=True))
    due = job.sends.due["decision_id"].to_numpy(dtype=object)
    job.promised.require(due.tolist(), job.sends.due["contact_id"].tolist())
    standing = job.promised.sort(due)
    unsettled = tuple(name for name in standing.unsettled if name not in became)
    job.promised.settle(became)
    counted = Counter(became.values())
    return DispatchOutput(
        outcomes=str(job.request.out),
        **job.sends.counts,
        deferred=int((standing.open & np.array([name not in became for name in due], dtype=np.bool_)).sum()),
        unsettled=len(unsettled),
        unsettled_ids=unsettled,
        dispatched=counted[records.DISPATCHED],
        suppressed=counted[records.SUPPRESSED],
        unknown_contacts=0,
        reasons={},
        pack=job.guardrails.version,
        now=job.request.now.isoformat(),
        finished=True,
    )


def _dispatch(job: _Job, advance: Advance | None) -> DispatchOutput:
    request, promised, counts = job.request, job.promised, dict(job.sends.counts)
    due = job.sends.due
    unsettled: tuple[str, ...] = ()
    owed: dict[str, Owed] = {}
    if promised is not None:
        promised.require(due["decision_id"].tolist(), due["contact_id"].tolist())
        standing = promised.sort(due["decision_id"].to_numpy(dtype=object))
        owed = {
            name: row for name, row in promised.owed(job.sends.names).items() if (name, row.event) not in job.sends.said
        }
        due, unsettled = due[standing.open].reset_index(drop=True), standing.unsettled
        counts["done"] += standing.done
    run = _Run(job.guardrails, request, job.conditions, due, promised)
    for block in _blocks(job.guardrails, request, run):
        run.block(block)
        if advance is not None:
            advance(block.n)
    unknown = run.suppress_unknown()
    names, state = due["decision_id"].to_numpy(dtype=object), run.state
    events = _events(request, names, state, owed)
    # A run on other decisions may have written there meanwhile; better a send that somebody settles than one lost.
    _require_free(request, job.run or None)
    footer = None if promised is None else Footer(job.run, promised.mark())
    _write(request, events, run.reasons, footer)
    if promised is not None:
        promised.settle(dict(zip(events["decision_id"], events["event"], strict=True)))
    unsettled = (*unsettled, *(str(name) for name in names[state == UNSETTLED]))
    counts["done"] += int((state == OVER).sum())
    words = job.guardrails.words
    return DispatchOutput(
        warnings=(*warnings_of(job.guardrails), *_hardly_meant(request, job.guardrails, run, unknown)),
        rules={code: words[code] for code in sorted({code for _, code, _, _ in run.reasons}) if code in words},
        outcomes=str(request.out),
        **counts,
        deferred=int((state == records.DECIDED).sum()),
        unsettled=len(unsettled),
        unsettled_ids=unsettled,
        settled_since=len(owed),
        dispatched=int((state == records.DISPATCHED).sum()),
        suppressed=int((state == records.SUPPRESSED).sum()),
        unknown_contacts=unknown,
        reasons=dict(sorted(Counter(f"{name} {rule}" for _, name, rule, _ in run.reasons).items())),
        pack=job.guardrails.version,
        now=request.now.isoformat(),
        finished=False,
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
        yield from contact_batches(
            request.contacts, schema, guardrails.catalog, request.now, BLOCK_ROWS, guardrails.extra_inputs
        )
        return
    who = run.contacts.to_numpy(dtype=object)
    for start in range(0, len(who), BLOCK_ROWS):
        # Only who they are: `_Run` reads each turn afresh, so that a contact's second send sees the first.
        yield plain_contacts(who[start : start + BLOCK_ROWS], guardrails.catalog)


def _sends(reader: LogReader, request: DispatchRequest) -> _Sends:
    """Sends that are decided and due, by contact and planned instant, and counts of all the others."""
    now_at = instant_of(request.now, owner="dispatch")
    said = _states_in(request.done) if given_paths(request.done) else set()
    over = {name for name, _ in said}
    parts, names, digest = [], [], hashlib.sha256()
    counts: dict[str, Any] = {"decisions": 0, "holds": 0, "done": 0, "not_due": 0}
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
        names += frame["decision_id"][~hold].tolist()
        digest.update("\n".join(frame["decision_id"]).encode())
    due = pd.concat(parts, ignore_index=True).sort_values(["contact_id", "send_at", "decision_id"], ignore_index=True)
    again = due["decision_id"].duplicated()
    if again.any():
        raise DataError(
            f"the log holds decision {due['decision_id'][again].iloc[0]!r} twice", hint="a decision is sent once"
        )
    return _Sends(due, names, said, counts, digest.hexdigest())


def _done_files(request: DispatchRequest) -> tuple[Path, ...]:
    return files_of(request.done, what="outcome", endings=ENDINGS) if given_paths(request.done) else ()


def _states_in(done: Given) -> set[tuple[str, str]]:
    """(decision id, state) that outcome files say."""
    frame = outcome_frame(read_outcomes(done)[0])
    said = frame[frame["event"].isin(records.STATES)]
    return set(zip(said["decision_id"], said["event"], strict=True))


class _Run:
    """States of the due sends while the contact blocks pass by."""

    def __init__(
        self,
        guardrails: Guardrails,
        request: DispatchRequest,
        conditions: Conditions,
        due: pd.DataFrame,
        sends: ReservedSends | None = None,
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


def _events(request: DispatchRequest, names: ObjectArray, state: ObjectArray, owed: Mapping[str, Owed]) -> pd.DataFrame:
    """Rows of the outcome file: what this run did, then what was settled by hand since an earlier one."""
    over = (state == records.DISPATCHED) | (state == records.SUPPRESSED)
    now_at = instant_of(request.now, owner="dispatch")
    own = pd.DataFrame({"decision_id": names[over], "event": state[over], "at": np.full(int(over.sum()), now_at)})
    rest = pd.DataFrame(
        {
            "decision_id": np.array(list(owed), dtype=object),
            "event": np.array([row.event for row in owed.values()], dtype=object),
            "at": np.array([row.at for row in owed.values()], dtype=np.int64),
        }
    )
    return pd.concat([own, rest], ignore_index=True) if len(rest) else own


def _write(
    request: DispatchRequest, events: pd.DataFrame, reasons: list[tuple[str, str, str, str]], footer: Footer | None
) -> None:
    """The reasons first: once the outcomes are there, the run is not judged again."""
    said = {} if footer is None else {FOOTER: msgspec.json.encode(footer)}
    if request.reasons is not None:
        columns = list(zip(*reasons, strict=True)) or [(), (), (), ()]
        schema = REASONS.with_metadata(said)
        with ParquetFile(request.reasons, schema) as file:
            file.append(pa.Table.from_arrays([pa.array(column, pa.string()) for column in columns], schema=schema))
    schema = records.outcome_schema().with_metadata(said)
    table = pa.Table.from_arrays(
        [
            pa.array(events["decision_id"], pa.string()),
            pa.array(events["event"], pa.string()).cast(records.LABEL),
            pa.array(events["at"].to_numpy(np.int64), pa.int64()).cast(records.INSTANT),
            pa.nulls(len(events), pa.float64()),
        ],
        schema=schema,
    )
    with ParquetFile(request.out, schema) as file:
        file.append(table)
