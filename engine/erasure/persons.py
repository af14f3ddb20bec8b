"""Who is to be erased, under every name that our records may know the person by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final
from unicodedata import normalize

import numpy as np

from engine.contacts.key import SIMULATED_KEY
from engine.identity import contact_pseudonyms, pseudonyms

_PSEUDONYM: Final = re.compile(r"[0-9a-f]{32}")
# Shorter ids and plain numbers occur by chance: as a count, a price, a row number.
_TELLING: Final = 6


@dataclass(frozen=True)
class Persons:
    """The persons of one erasure.

    Attributes:
        ids: as the user named them: ids of a source, or pseudonyms; each with its accents composed and apart.
        names: pseudonyms under every known contact key, of logs of ours and of imported ones, and the ids that are
            pseudonyms themselves.
        stored: of these, the names under which a store of contact state knows the persons.
        decisions: ids of their decisions, as far as they have been met.
    """

    ids: frozenset[str]
    names: frozenset[str]
    stored: frozenset[str]
    decisions: frozenset[str] = field(default=frozenset())

    def with_decisions(self, more: Iterable[str]) -> Persons:
        """The same persons, and decisions that were found to be theirs."""
        return replace(self, decisions=self.decisions | frozenset(more))

    @property
    def contacts(self) -> frozenset[str]:
        """Every value of a column `contact_id` that means one of them."""
        return self.ids | self.names

    @cached_property
    def telling(self) -> frozenset[str]:
        """Those names that stand nowhere by chance, so that meeting one in a text means the person."""
        long = {name for name in self.ids if len(name) >= _TELLING and not name.isdecimal()}
        return frozenset(long) | self.names

    def masked(self, text: str) -> str:
        """The text without any id of a person."""
        for name in sorted(self.telling, key=len, reverse=True):
            text = text.replace(name, "***")
        return text


def persons_of(ids: Sequence[str], keys: Iterable[str]) -> Persons:
    """The persons under every contact key that is known, and under the public one of old logs and of simulations.

    Raises:
        DataError: an empty id, or one that is no text.
    """
    # Files are read as the composed form; what was written before that was done may be under another one.
    spelt = sorted({form for name in ids for form in (name, normalize("NFC", name), normalize("NFD", name))})
    array = np.array(spelt, dtype=object)
    given = {name for name in ids if is_pseudonym(name)}
    stored, imported = set(given), set()
    for key in {*keys, SIMULATED_KEY}:
        stored |= set(contact_pseudonyms(array, key).tolist())
        # Imported logs of earlier versions have another salt.
        imported |= set(pseudonyms(array, key).tolist())
    return Persons(frozenset(spelt), frozenset(stored | imported), frozenset(stored))


def is_pseudonym(name: str) -> bool:
    """Whether an id has the form of our pseudonyms: 32 hex digits."""
    return _PSEUDONYM.fullmatch(name) is not None
