"""Take facts into the state store, free what dead processes held in it, settle what they left open, and rebuild it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from engine.audit.checks.credited import slips
from engine.contacts.columns import file_batches, text
from engine.errors import DataError, ParameterError
from engine.files.tables import ENDINGS
from engine.limits.quota import SqlQuota
from engine.log.file import ENDINGS as LOG_ENDINGS
from engine.log.parquet import LogReader
from engine.names import USUAL_CHANNELS, found, known_name
from engine.records import schema as records
from engine.records.outcomes import outcome_frame, read_outcomes
from engine.state.fact_file import fact_batches
from engine.state.rebuild import Rebuilt
from engine.state.sends.settlements import BY_HAND
from engine.state.sequence import in_folder
from engine.state.spellings import speaks_against
from engine.state.store import SqlState
from engine.state.tables import DISPATCHED, FAILED
from engine.state.writer import KnownOtherwiseError
from engine.storage.given import Given, files_of, given_paths, named
from engine.time.localtime import DAY_US, instant_of
from engine.types import MICROSECONDS_PER_S, ObjectArray
from experiments.outputs import CommandOutput, KeyOutput, Output
from experiments.serve.dispatch import footer_of

BLOCK_ROWS: Final = 8192
# Records of decisions are kept for so long, so that a run of such a day can be repeated.
KEPT_DAYS: Final = 30
_ENDS: Final = "dispatched: the message went out; failed: the provider did not take it"

# How many contacts, and how much of a pseudonym, are shown.
_CONTACTS_SHOWN: Final = 5
_PSEUDONYM_SHOWN: Final = 8

Advance = Callable[[float], None]
_FACTS: Final = (
    "Facts stand in no log: record again every file of facts since the copy was made (consents, opt-outs, events, "
    "profiles, sends of other systems) before the next decide or dispatch. Until then the store may let through what "
    "a contact has refused since."
)
_PROMISES: Final = "Promises of runs that died before their log was there are in no log; nothing of them was sent."


class StateRecordOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful state record --json`.

    Attributes:
        facts: the file.
        rows: its rows. A reply or a provider's code may be several facts, or none.
        new: facts that changed the store.
        known: facts that were there already, or older than what was.
        kinds: kind of fact -> rows.
        contact_key: the key under which the contacts are stored.
        replies: what raw replies were read as (stop, doubt, start, help, none) -> rows.
        provider_codes: what providers' codes mean (suppress, count, pause, doubt) -> rows.
        unknown_contacts: contacts of whom the store knows nothing but what speaks against sends (opt-outs, refusals,
            bounces ...), of those whom this file says it of.
        unknown_shown: the first of these, masked -> the beginning of the pseudonym of a known contact whose id differs
            in case, blanks or Unicode form alone, to whom it applies as well; null where there is none.
        spelt_otherwise: how many of them have such a known contact.
        unusual_channels: channel that is none of the usual ones -> facts that name it; where a catalog does not know it
            either, their refusals and stops close every channel.
    """

    facts: str
    rows: int
    new: int
    known: int
    kinds: dict[str, int]
    contact_key: KeyOutput | None = None
    replies: dict[str, int] = {}
    provider_codes: dict[str, int] = {}
    unusual_channels: dict[str, int] = {}
    unknown_contacts: int = 0
    unknown_shown: dict[str, str | None] = {}
    spelt_otherwise: int = 0


class StateExpireOutput(Output, frozen=True, kw_only=True):
    """`tactful state expire --json`.

    Attributes:
        released: reservations whose lease was over.
        quota_grants: grants of set-level limits whose lease was over.
        unsettled: decisions that were handed to the provider and never settled; they count until somebody settles them.
        forgotten: records of decisions that were taken more than 30 days before, removed.
    """

    released: int
    quota_grants: int
    unsettled: tuple[str, ...]
    now: str
    forgotten: int = 0


class UnsettledSend(Output, frozen=True, kw_only=True):
    """A send that some run took and nobody has settled: `contact_id` is a pseudonym, `taken_at` ISO 8601 in UTC."""

    decision_id: str
    contact_id: str
    channel: str
    taken_at: str


class StateUnsettledOutput(Output, frozen=True, kw_only=True):
    """`tactful state unsettled --json`.

    Attributes:
        unsettled: sends of which nobody has said whether they went out; those of a run that is at work are among them.
    """

    unsettled: tuple[UnsettledSend, ...]


class StateSettleOutput(Output, frozen=True, kw_only=True):
    """`tactful state settle --json`.

    Attributes:
        settled: sends that changed; `known` had ended so already.
        dispatched / failed: how many were said to have ended so.
        unsettled: sends of the store that are still open.
    """

    settled: int
    known: int
    dispatched: int
    failed: int
    unsettled: int
    now: str


def record_file(
    state: str, facts: Given, contact_key: str, *, create: bool = False, advance: Advance | None = None
) -> StateRecordOutput:
    """Record every fact of a file, batch by batch; a file that fails half-way can be given again.

    Args:
        state: URL of the store.
        facts: files of facts, see docs/state.md.
        contact_key: key of the contacts' pseudonyms, as at the decision.
        create: whether a new store may be made where there is none.
        advance: called with the rows of each batch.

    Raises:
        ConfigError: the store is under another contact key.
        DataError: no store under the URL; a fact that cannot be read, or whose key is known with other content: nothing
            of its batch is recorded, the batches before it (of 8,192 rows) are.
        StorageError: the store refused.
    """
    counts: Counter[str] = Counter()
    read: dict[str, Counter[str]] = {"reply": Counter(), "provider_code": Counter()}
    unusual: Counter[str] = Counter()
    against: dict[str, str] = {}
    spelt: dict[str, str] = {}
    new = made = 0
    with SqlState(state) if create else SqlState.existing(state) as store:
        store.use_key(contact_key)

        def met(ids: ObjectArray, who: ObjectArray) -> None:
            store.note_ids(ids.tolist(), contact_key)
            spelt.clear()
            spelt.update(zip(who.tolist(), ids.tolist(), strict=True))

        for kinds, batch in fact_batches(facts, contact_key, BLOCK_ROWS, met):
            try:
                new += store.record(batch)
            except KnownOtherwiseError as error:
                # A reply may be several facts: then the position among facts says nothing of the row.
                at = f"row {counts.total() + error.position + 1}: " if len(batch) == len(kinds) else ""
                raise DataError(f"{named(facts)}: {at}{error.message}", hint=error.hint) from error
            made += len(batch)
            stops = {fact.contact_id for fact in batch if speaks_against(fact)}
            against |= {who: _masked(spelt[who]) for who in stops}
            channels = (getattr(fact, "channel", None) for fact in batch)
            unusual.update(channel for channel in channels if channel is not None and channel not in USUAL_CHANNELS)
            for kind, _, verdict in (kind.partition("/") for kind in kinds):
                counts[kind] += 1
                if verdict:
                    read[kind][verdict] += 1
            if advance is not None:
                advance(len(kinds))
        unknown = store.strangers(list(against))
    shown = {against[who]: near and near[:_PSEUDONYM_SHOWN] for who, near in _first(unknown, _CONTACTS_SHOWN)}
    alike = sum(near is not None for near in unknown.values())
    return StateRecordOutput(
        facts=named(facts),
        rows=counts.total(),
        new=new,
        known=made - new,
        kinds=dict(counts),
        unusual_channels=dict(sorted(unusual.items())),
        replies=dict(read["reply"]),
        provider_codes=dict(read["provider_code"]),
        unknown_contacts=len(unknown),
        unknown_shown=shown,
        spelt_otherwise=alike,
        warnings=(
            *_to_settle(read["reply"]["doubt"], read["provider_code"]),
            *_of_strangers(len(unknown), len(against), alike, shown),
        ),
    )


def _first(unknown: Mapping[str, str | None], most: int) -> list[tuple[str, str | None]]:
    """The first contacts, those first that have a known one of nearly their name."""
    return sorted(unknown.items(), key=lambda item: item[1] is None)[:most]


def _masked(name: str) -> str:
    """Enough of an id to find its row in the file, too little to know the person."""
    return f"{name[0]}***{name[-1]} ({len(name)} characters)"


def _of_strangers(unknown: int, contacts: int, alike: int, shown: Mapping[str, str | None]) -> tuple[str, ...]:
    if not unknown:
        return ()
    named = ", ".join(name + (f" (spelt like the known {near})" if near else "") for name, near in shown.items())
    said = (
        f"the store knows nothing else of {unknown:,} of {contacts:,} contacts whose opt-outs, refusals or bounces are "
        f"recorded: {named}; an id with a slip stops nobody, see docs/state.md"
    )
    if not alike:
        return (said,)
    applies = (
        f"{alike:,} of them differ from a known contact in case, blanks or Unicode form alone: what is recorded closes "
        "that contact as well"
    )
    return said, applies


def _to_settle(doubts: int, codes: Counter[str]) -> tuple[str, ...]:
    """What somebody has to look at."""
    said = []
    if doubts:
        said.append(
            f"{doubts:,} replies are in doubt: their channel is closed until somebody has read them and lifted the "
            "suppression `reply_doubt`, see docs/state.md"
        )
    if codes["doubt"]:
        said.append(
            f"{codes['doubt']:,} provider codes are in doubt: nobody knows them and they read like a stop; their "
            "channel is closed until somebody has lifted the suppression `provider_doubt`, see docs/optout.md"
        )
    if codes["pause"]:
        said.append(
            f"{codes['pause']:,} provider codes blame the sender, not the contact: nothing was recorded, pause the "
            "channel (`paused_channels` of the conditions), see docs/optout.md"
        )
    return tuple(said)


def expire_at(state: str, now: datetime) -> StateExpireOutput:
    """Release the reservations and the quota whose leases are over; say which sends nobody has settled.

    Raises:
        ParameterError: a naive `now`.
        StorageError: the store refused.
    """
    now_at = instant_of(now, owner="expire")
    with SqlState.existing(state) as store, SqlQuota(state) as quota:
        return StateExpireOutput(
            released=store.expire(now_at=now_at),
            quota_grants=quota.expire(now_at=now_at),
            unsettled=store.unsettled(now_at=now_at),
            forgotten=store.forget(before=now_at - KEPT_DAYS * DAY_US),
            now=now.isoformat(),
        )


def unsettled_of(state: str) -> StateUnsettledOutput:
    """The sends that some run has taken and nobody has settled.

    Raises:
        StorageError: the store cannot be read.
    """
    with SqlState.existing(state) as store:
        return StateUnsettledOutput(
            unsettled=tuple(
                UnsettledSend(
                    decision_id=send.decision_id,
                    contact_id=send.contact_id,
                    channel=send.channel,
                    taken_at=datetime.fromtimestamp(send.taken_at / MICROSECONDS_PER_S, tz=UTC).isoformat(),
                )
                for send in store.taken()
            )
        )


def settle_sends(state: str, ends: Mapping[str, str], now: datetime) -> StateSettleOutput:
    """Say how sends ended that some run had taken: all or none of them.

    Args:
        state: URL of the store.
        ends: decision id -> dispatched or failed, in any spelling.
        now: aware instant of the settlement.

    Raises:
        DataError: no such send, or one that is not in `dispatching` and ended otherwise.
        ParameterError: another end, or a naive `now`.
        StorageError: the store refused; nothing is settled.
    """
    if not ends:
        raise ParameterError(
            "decision", "settle", allowed="at least one decision, or a file of them", got=None, hint="see --help"
        )
    ends = {name: known_name(end, BY_HAND, owner="settle", parameter="ended", hint=_ENDS) for name, end in ends.items()}
    with SqlState.existing(state) as store:
        now_at = instant_of(now, owner="settle")
        changed = store.settle_all(ends, now_at=now_at, reason="settled by hand", by_hand=True)
        left = len(store.taken())
    counted = Counter(ends.values())
    return StateSettleOutput(
        settled=changed,
        known=len(ends) - changed,
        dispatched=counted[DISPATCHED],
        failed=counted[FAILED],
        unsettled=left,
        now=now.isoformat(),
    )


def ends_in(path: Path) -> dict[str, str]:
    """Decision id -> how its send ended, from a file with the columns decision_id and state.

    Raises:
        DataError: a file that cannot be read, another column, an empty cell, another state, or a decision twice.
    """
    ends: dict[str, str] = {}
    for batch in file_batches(path, BLOCK_ROWS):
        if sorted(batch.columns) != ["decision_id", "state"]:
            raise DataError(
                f"{path} must have the columns decision_id and state, has {', '.join(batch.columns)}",
                hint="one row a send; state is dispatched or failed",
            )
        texts = [text(batch.columns[name]).to_pylist() for name in ("decision_id", "state")]
        for row, (name, state) in enumerate(zip(*texts, strict=True), start=batch.first_row):
            end = found(state or "", BY_HAND)
            if not name or end is None:
                raise DataError(
                    f"{path}: row {row}: state must be one of {', '.join(BY_HAND)}, got {state!r} for {name!r}",
                    hint=_ENDS,
                )
            if ends.setdefault(name, end) != end:
                raise DataError(f"{path}: row {row}: decision {name!r} ends in two ways", hint="say how it ended once")
    return ends


class StateRebuildOutput(Output, frozen=True, kw_only=True):
    """`tactful state rebuild --json`.

    Attributes:
        decisions: records of decisions that the store did not have.
        sends: state -> sends that were added or changed: reserved, dispatching (due, and no outcome says whether they
            left: settle them), dispatched, failed, released.
        limits: set-level limits whose use was put back.
        unsettled: sends of the store that are open now.
        sequence: number of the store's last change.
        said: what cannot be rebuilt, and events of the outcomes that look like slips of a state, in sentences.
    """

    decisions: int
    sends: dict[str, int]
    limits: tuple[str, ...]
    unsettled: int
    sequence: int
    said: tuple[str, ...]


def rebuild_store(
    state: str, logs: Given, outcomes: Given, now: datetime, *, create: bool = False
) -> StateRebuildOutput:
    """Put back what the logs and outcomes of a store say; what the store knows already stays.

    Args:
        state: URL of an older copy of the store, or of an empty one.
        logs: decision logs: files, folders or globs.
        outcomes: outcome files, likewise; none where empty.
        now: aware; due sends of which no outcome says anything count as taken.
        create: make a new store where there is none.

    Raises:
        DataError: a file that cannot be read, a joined log, or logs of another store.
        StorageError: the store refused; nothing was written.
    """
    log_files = files_of(logs, what="log", endings=LOG_ENDINGS)
    outcome_files = files_of(outcomes, what="outcome", endings=ENDINGS) if given_paths(outcomes) else ()
    readers = [LogReader(path) for path in log_files]
    table = read_outcomes(outcome_files)[0] if outcome_files else records.outcome_schema().empty_table()
    together = outcome_frame(table)
    footers = [footer for footer in map(footer_of, outcome_files) if footer is not None]
    if not create:
        SqlState.require(state)
    with SqlState(state, behind=True) as store:
        seen = [footer.mark for footer in footers]
        ids = {mark.store_id for mark in (store.mark(), *seen, *(reader.mark for reader in readers)) if mark}
        for folder in {path.parent for path in (*log_files, *outcome_files)}:
            seen += [mark for store_id in ids for mark in in_folder(folder, store_id).marks()]
        done = store.rebuild(readers, together, seen, now_at=instant_of(now, owner="rebuild"))
        mark, unsettled = store.mark(), len(store.taken())
    for folder in {path.parent for path in (*log_files, *outcome_files)}:
        in_folder(folder, mark.store_id).note(mark)
    return StateRebuildOutput(
        decisions=done.decisions,
        sends=dict(sorted(done.sends.items())),
        limits=tuple(sorted(done.limits)),
        unsettled=unsettled,
        sequence=mark.sequence,
        said=(*_sentences(done, unsettled), *slips(Counter(map(str, together["event"])))),
    )


def _sentences(done: Rebuilt, unsettled: int) -> tuple[str, ...]:
    said = [_FACTS, _PROMISES]
    if unsettled:
        said.append(
            f"{unsettled} sends are not settled: no outcome says whether they left, so they count and are not sent "
            "again. See `tactful state unsettled`, and settle them."
        )
    if done.unreadable:
        said.append(
            f"{done.unreadable} decisions come from logs that do not keep the settings of their run: a run of that "
            "instant is refused or decided anew, not read."
        )
    return tuple(said)
