"""Contacts of whom rules do not know what they must: they get nothing, and without a word it looks like a choice."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from engine.contacts.contacts import UNKNOWN, ContactBatch
from engine.types import BoolArray

# Above this share of the contacts it is said: that some contacts lack a record is every day's business.
SHARE: Final = 0.5
_SAID: Final = {
    "consent": "have no consent record for any channel",
    "zone": "have no known time zone",
    "suppressed": "have no known suppression state on any channel",
    "sends": "have no known history of sends",
}


@dataclass(frozen=True)
class Unknowns:
    """Counts of contacts; add those of blocks.

    Attributes:
        contacts: n.
        consent: without a consent record on any channel and purpose.
        zone: without a known zone.
        suppressed: of whom nobody knows on any channel whether it is suppressed.
        sends: of whom nobody knows what was sent.
        strangers: all of these at once.
    """

    contacts: int = 0
    consent: int = 0
    zone: int = 0
    suppressed: int = 0
    sends: int = 0
    strangers: int = 0

    @classmethod
    def of(cls, contacts: ContactBatch) -> Unknowns:
        """Count a batch, as the rules see it."""
        consent: BoolArray = (contacts.consent == UNKNOWN).all(axis=(1, 2))
        zone: BoolArray = contacts.zone_code < 0
        suppressed: BoolArray = (contacts.suppressed == UNKNOWN).all(axis=1)
        sends: BoolArray = ~contacts.history_known
        every = consent & zone & suppressed & sends
        return cls(contacts.n, *(int(part.sum()) for part in (consent, zone, suppressed, sends, every)))

    def __add__(self, other: Unknowns) -> Unknowns:
        return Unknowns(*(mine + theirs for mine, theirs in zip(self._counts(), other._counts(), strict=True)))

    def _counts(self) -> tuple[int, ...]:
        return self.contacts, self.consent, self.zone, self.suppressed, self.sends, self.strangers

    def sentences(self, inputs: Collection[str], *, stored: bool) -> tuple[str, ...]:
        """What most contacts lack.

        Args:
            inputs: what the rules of the pack read; consent is always among it.
            stored: whether contacts were looked up in a state store.
        """
        if stored and self.contacts and self.strangers == self.contacts:
            why = "nothing was recorded about them there: see docs/state.md"
            return (f"none of {self.contacts:,} contacts is known to the state store: {why}",)
        where = "docs/state.md" if stored else "docs/contacts.md"
        return tuple(
            f"{getattr(self, name):,} of {self.contacts:,} contacts {said}: see {where}"
            for name, said in _SAID.items()
            if getattr(self, name) > SHARE * self.contacts and (name == "consent" or name in inputs)
        )
