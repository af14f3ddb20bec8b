"""Take facts into the state store, free what dead processes held in it, and settle what they left open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from engine.contact_columns import text
from engine.contact_source import row_blocks
from engine.errors import DataError, ParameterError
from engine.limits.quota import SqlQuota
from engine.localtime import DAY_US, instant_of
from engine.state.fact_file import fact_blocks
from engine.state.settlements import BY_HAND
from engine.state.store import SqlState
from engine.state.tables import DISPATCHED, FAILED
from engine.state.writer import KnownOtherwiseError
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

Advance = Callable[[float], None]


@dataclass(frozen=True)
class RecordRequest:
    """What is asked.

    Attributes:
        state: URL of the store.
        facts: file of facts, see docs/state.md.
        contact_key: key of the contacts' pseudonyms, as at the decision.
    """

    state: str
    facts: Path
    contact_key: str


def record_file(request: RecordRequest, advance: Advance | None = None) -> StateRecordOutput:
    """Record every fact of a file, block by block; a file that fails half-way can be given again.

    Raises:
        DataError: a fact that cannot be read, or whose key is known with other content, with its row; nothing of its
            block is recorded, the blocks before it (of 8,192 rows) are.
        StorageError: the store refused.
    """
    counts: Counter[str] = Counter()
    new = 0
    with SqlState(request.state) as state:
        for kinds, facts in fact_blocks(request.facts, request.contact_key, BLOCK_ROWS):
            try:
                new += state.record(facts)
            except KnownOtherwiseError as error:
                row = counts.total() + error.position + 1
                raise DataError(f"{request.facts}: row {row}: {error.message}", hint=error.hint) from error
            counts.update(kinds)
            if advance is not None:
                advance(len(facts))
    return StateRecordOutput(
        facts=str(request.facts), rows=counts.total(), new=new, known=counts.total() - new, kinds=dict(counts)
    )


def expire_at(state: str, now: datetime) -> StateExpireOutput:
    """Release the reservations and the quota whose leases are over; say which sends nobody has settled.

    Raises:
        ParameterError: a naive `now`.
        StorageError: the store refused.
    """
    now_at = instant_of(now, owner="expire")
    with SqlState(state) as store, SqlQuota(state) as quota:
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
    with SqlState(state) as store:
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
        ends: decision id -> dispatched or failed.
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
    with SqlState(state) as store:
        now_at = instant_of(now, owner="settle")
        changed = store.settle_all(ends, now_at=now_at, reason="settled by hand", by_hand=True)
        left = len(store.taken())
    named = Counter(ends.values())
    return StateSettleOutput(
        settled=changed,
        known=len(ends) - changed,
        dispatched=named[DISPATCHED],
        failed=named[FAILED],
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
            if not name or state not in BY_HAND:
                raise DataError(
                    f"{path}: row {row}: state must be one of {', '.join(BY_HAND)}, got {state!r} for {name!r}",
                    hint="dispatched: the message went out; failed: the provider did not take it",
                )
            if ends.setdefault(name, state) != state:
                raise DataError(f"{path}: row {row}: decision {name!r} ends in two ways", hint="say how it ended once")
    return ends
