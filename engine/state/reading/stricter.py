"""A contact file beside a store of contact state: of consent and suppression, whichever of the two is stricter counts.

The store is what decides. A file may know of an opt-out that nobody has recorded, so what it says against a send
closes, and what it says for one opens nothing. Which of two zones or histories is the stricter cannot be told: these
are the store's alone, and that the file has them too is said.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from engine.contacts.attributes import CONSENT_TOLD, SUPPRESSED_TOLD
from engine.contacts.contacts import NO, UNKNOWN, YES, ContactBatch
from engine.guardrails.history.stops import stopped
from engine.types import NOT_AN_INSTANT, BoolArray

# Columns of a file that are not looked at beside a store, of those that most files have.
_UNREAD: Final = ("lists", "line_type", "due_at", "motive_price")


@dataclass(frozen=True)
class Beside:
    """What a contact file said beside the store, as counts of contacts; add those of blocks.

    Attributes:
        contacts: n.
        closed: to whom the file alone closes something that the store leaves open.
        unread: what the file says and is read from the store -> contacts of whom it says it.
    """

    contacts: int = 0
    closed: int = 0
    unread: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Beside) -> Beside:
        return Beside(self.contacts + other.contacts, self.closed + other.closed, self.unread + other.unread)

    def sentences(self) -> tuple[str, ...]:
        """What somebody has to know of the file."""
        said = []
        if self.closed:
            said.append(
                f"the contact file closes a channel to {self.closed:,} of {self.contacts:,} contacts to whom the state "
                "store leaves it open: of both the stricter counts; record it in the store, see docs/state.md"
            )
        if self.unread:
            listed = ", ".join(f"{name} ({times:,} contacts)" for name, times in sorted(self.unread.items()))
            said.append(
                f"the contact file says {listed}, which with a state store is read from the store alone: record it "
                "there, see docs/state.md"
            )
        return tuple(said)


def stricter(store: ContactBatch, file: ContactBatch, now_at: int) -> tuple[ContactBatch, Beside]:
    """Contacts of the store, closed wherever the file closes them.

    A consent stands where the store has it and the file, as far as it has such a column, has it too: an empty cell, a
    refusal, a grant without source or instant and one that has ended close it, and it ends with the earlier of two
    ends. A channel is closed where either says so, where the file has such a column and an empty cell, and by an event
    of the file that closes its channel. An objection to profiling in either counts.

    Args:
        store: (n,) contacts as the store knows them.
        file: the same contacts as the file has them, aged to now.
        now_at: instant of the decisions.
    """
    consent, extra = store.consent.copy(), dict(store.extra)
    told: BoolArray = file.extra.get(CONSENT_TOLD, np.zeros(consent.shape, dtype=np.bool_))
    ends = file.extra.get("consent_expires_at", np.full(consent.shape, NOT_AN_INSTANT, dtype=np.int64))
    dated = ends != NOT_AN_INSTANT
    lacks = told & ((file.consent == UNKNOWN) | ((file.consent == YES) & dated & (ends <= now_at)))
    consent[lacks & (consent == YES)] = UNKNOWN
    refused = told & (file.consent == NO)
    consent[refused] = NO
    if "consent_at" in extra and "consent_at" in file.extra:
        # Not dated where the file does not date it: what a refusal closes elsewhere then stays closed.
        extra["consent_at"] = np.where(refused, file.extra["consent_at"], extra["consent_at"])
    if "consent_expires_at" in extra:
        mine = extra["consent_expires_at"]
        earlier = dated & (consent == YES) & ((mine == NOT_AN_INSTANT) | (ends < mine))
        extra["consent_expires_at"] = np.where(earlier, ends, mine)
    if "profiling_objection" in extra and "profiling_objection" in file.extra:
        objects = file.extra["profiling_objection"] == YES
        extra["profiling_objection"] = np.where(objects, YES, extra["profiling_objection"]).astype(np.int32)
    suppressed = store.suppressed.copy()
    blank = file.extra.get(SUPPRESSED_TOLD, np.zeros(suppressed.shape, dtype=np.bool_)) & (file.suppressed == UNKNOWN)
    suppressed[blank & (suppressed == NO)] = UNKNOWN
    suppressed[file.suppressed == YES] = YES
    stops = stopped(file)
    if stops is not None:
        suppressed[stops] = YES
    both = replace(store, consent=consent, suppressed=suppressed, extra=extra)
    return both, _beside(store, both, file)


def _beside(store: ContactBatch, both: ContactBatch, file: ContactBatch) -> Beside:
    closed = ((store.consent == YES) & (both.consent != YES)).any(axis=(1, 2))
    closed |= ((store.suppressed == NO) & (both.suppressed != NO)).any(axis=1)
    return Beside(store.n, int(closed.sum()), unread_of(file))


def unread_of(file: ContactBatch) -> Counter[str]:
    """What a file says that is read from the store alone -> contacts of whom it says it."""
    said = {
        "a time zone": file.zone_code >= 0,
        "a locale": file.locale_code >= 0,
        "sends": np.diff(file.sent_offsets) > 0,
    }
    for name in _UNREAD:
        column = file.extra.get(name)
        if column is not None:
            blank = np.isnan(column) if column.dtype.kind == "f" else (column == UNKNOWN) | (column == NOT_AN_INSTANT)
            said[f"`{name}`"] = ~blank
    counts = {name: int(rows.sum()) for name, rows in said.items()}
    return Counter({name: times for name, times in counts.items() if times})
