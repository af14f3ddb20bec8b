"""Take facts into the state store, and free what dead processes held in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

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
        facts: file of facts, see docs/state.md.
        contact_key: key of the contacts' pseudonyms, as at the decision.
    """

    state: str
    facts: Path
    contact_key: str


def record_file(request: RecordRequest, advance: Advance | None = None) -> StateRecordOutput:
    """Record every fact of a file, block by block; a file that fails half-way can be given again.

    Raises:
        DataError: a fact that cannot be read, with its row; the blocks before it are recorded.
        StorageError: the store refused.
    """
    counts: Counter[str] = Counter()
    unusual: Counter[str] = Counter()
    new = 0
    with SqlState(request.state) as state:
        for kinds, facts in fact_blocks(request.facts, request.contact_key, BLOCK_ROWS):
            new += state.record(facts)
            counts.update(kinds)
            channels = (getattr(fact, "channel", None) for fact in facts)
            unusual.update(channel for channel in channels if channel is not None and channel not in USUAL_CHANNELS)
            if advance is not None:
                advance(len(facts))
    return StateRecordOutput(
        facts=str(request.facts),
        rows=counts.total(),
        new=new,
        known=counts.total() - new,
        kinds=dict(counts),
        unusual_channels=dict(sorted(unusual.items())),
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
            now=now.isoformat(),
        )
