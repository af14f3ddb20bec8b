"""Take facts into the state store, free what dead processes held in it, and settle what they left open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from engine.contacts.columns import text
from engine.contacts.source import row_blocks
from engine.errors import DataError, ParameterError
from engine.limits.quota import SqlQuota
from engine.names import USUAL_CHANNELS, found, known_name
from engine.state.fact_file import fact_blocks
from engine.state.sends.settlements import BY_HAND
from engine.state.store import SqlState
from engine.state.tables import DISPATCHED, FAILED
from engine.state.writer import KnownOtherwiseError
from engine.storage.given import Given, named
from engine.time.localtime import DAY_US, instant_of
from engine.types import MICROSECONDS_PER_S
from experiments.outputs_state import (
    StateExpireOutput,
    StateRecordOutput,
    StateSettleOutput,
    StateUnsettledOutput,
    UnsettledSend,
)

BLOCK_ROWS: Final = 8192
# Records of decisions are kept for so long, so that a run of such a day can be repeated.
KEPT_DAYS: Final = 30
_ENDS: Final = "dispatched: the message went out; failed: the provider did not take it"

Advance = Callable[[float], None]


@dataclass(frozen=True)
class RecordRequest:
    """What is asked.

    Attributes:
        state: URL of the store.
        facts: files of facts, see docs/state.md.
        contact_key: key of the contacts' pseudonyms, as at the decision.
        create: whether a new store may be made where there is none.
    """

    state: str
    facts: Given
    contact_key: str
    create: bool = False


def record_file(request: RecordRequest, advance: Advance | None = None) -> StateRecordOutput:
    """Record every fact of a file, block by block; a file that fails half-way can be given again.

    Raises:
        ConfigError: the store is under another contact key.
        DataError: no store under the URL; a fact that cannot be read, or whose key is known with other content: nothing
            of its block is recorded, the blocks before it (of 8,192 rows) are.
        StorageError: the store refused.
    """
    counts: Counter[str] = Counter()
    read: dict[str, Counter[str]] = {"reply": Counter(), "provider_code": Counter()}
    unusual: Counter[str] = Counter()
    new = made = 0
    with SqlState(request.state) if request.create else SqlState.existing(request.state) as state:
        state.use_key(request.contact_key)
        for kinds, facts in fact_blocks(request.facts, request.contact_key, BLOCK_ROWS):
            try:
                new += state.record(facts)
            except KnownOtherwiseError as error:
                # A reply may be several facts: then the position among facts says nothing of the row.
                at = f"row {counts.total() + error.position + 1}: " if len(facts) == len(kinds) else ""
                raise DataError(f"{named(request.facts)}: {at}{error.message}", hint=error.hint) from error
            made += len(facts)
            channels = (getattr(fact, "channel", None) for fact in facts)
            unusual.update(channel for channel in channels if channel is not None and channel not in USUAL_CHANNELS)
            for kind, _, verdict in (kind.partition("/") for kind in kinds):
                counts[kind] += 1
                if verdict:
                    read[kind][verdict] += 1
            if advance is not None:
                advance(len(kinds))
    return StateRecordOutput(
        facts=named(request.facts),
        rows=counts.total(),
        new=new,
        known=made - new,
        kinds=dict(counts),
        unusual_channels=dict(sorted(unusual.items())),
        replies=dict(read["reply"]),
        provider_codes=dict(read["provider_code"]),
        warnings=_to_settle(read["reply"]["doubt"], read["provider_code"]),
    )


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
    for block in row_blocks(path, BLOCK_ROWS):
        if sorted(block.columns) != ["decision_id", "state"]:
            raise DataError(
                f"{path} must have the columns decision_id and state, has {', '.join(block.columns)}",
                hint="one row a send; state is dispatched or failed",
            )
        texts = [text(block.columns[name]).to_pylist() for name in ("decision_id", "state")]
        for row, (name, state) in enumerate(zip(*texts, strict=True), start=block.first_row):
            end = found(state or "", BY_HAND)
            if not name or end is None:
                raise DataError(
                    f"{path}: row {row}: state must be one of {', '.join(BY_HAND)}, got {state!r} for {name!r}",
                    hint=_ENDS,
                )
            if ends.setdefault(name, end) != end:
                raise DataError(f"{path}: row {row}: decision {name!r} ends in two ways", hint="say how it ended once")
    return ends
