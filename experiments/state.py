"""Take facts into the state store, and free what dead processes held in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from engine.disk.given import Given, named
from engine.limits.quota import SqlQuota
from engine.localtime import instant_of
from engine.names import USUAL_CHANNELS
from engine.state.fact_file import fact_blocks
from engine.state.store import SqlState
from experiments.outputs_state import StateExpireOutput, StateRecordOutput

BLOCK_ROWS: Final = 8192

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
        DataError: no store under the URL; a fact that cannot be read, with its row: the blocks before it are recorded.
        StorageError: the store refused.
    """
    counts: Counter[str] = Counter()
    read: dict[str, Counter[str]] = {"reply": Counter(), "provider_code": Counter()}
    unusual: Counter[str] = Counter()
    new = made = 0
    with SqlState(request.state) if request.create else SqlState.existing(request.state) as state:
        state.use_key(request.contact_key)
        for kinds, facts in fact_blocks(request.facts, request.contact_key, BLOCK_ROWS):
            new += state.record(facts)
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
        warnings=_to_settle(read["reply"]["doubt"], read["provider_code"]["pause"]),
    )


def _to_settle(doubts: int, pauses: int) -> tuple[str, ...]:
    """What somebody has to look at."""
    said = []
    if doubts:
        said.append(
            f"{doubts:,} replies are in doubt: their channel is closed until somebody has read them and lifted the "
            "suppression `reply_doubt`, see docs/state.md"
        )
    if pauses:
        said.append(
            f"{pauses:,} provider codes blame the sender, not the contact: nothing was recorded, pause the channel "
            "(`paused_channels` of the conditions), see docs/optout.md"
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
            now=now.isoformat(),
        )
