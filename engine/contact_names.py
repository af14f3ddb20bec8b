"""Names of a contact file's columns: understood like every other name, and refused where a slip would open a send.

Columns that nobody reads are left alone. But a column that ends a consent, suppresses a channel or says where a contact
is would be missed under a misspelt name, so such a name is an error.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from engine.catalog import Catalog
from engine.contact_columns import Block
from engine.errors import DataError
from engine.names import CHANNEL_WORDS, channel_of, did_you_mean, may_mean, name_key
from engine.types import PURPOSES

_CONSENT: Final = ("", "_at", "_source", "_basis", "_expires_at")
# Columns without which a contact may get more than with them, or get it at other hours.
_NEEDED: Final = (
    *("time_zone", "time_zone_at", "device_time_zone", "device_time_zone_at"),
    *("country", "state", "phone_area_code", "locale", "events"),
)
_OTHERS: Final = ("contact_id", "as_of", "line_type", "lists", "profiling_objection", "motive_price", "due_at", "sends")
# Words of their own that happen to be near a name of ours.
_ORDINARY: Final = ("county", "status", "stage", "store", "start", "local", "locality")


@dataclass(frozen=True)
class ColumnNames:
    """The names that columns of a file may have.

    Attributes:
        by_key: key of a name -> the name by which it is read; "" where nobody reads it.
        others: columns that features and rules name themselves.
    """

    by_key: dict[str, str]
    others: frozenset[str]

    def named(self, block: Block) -> Block:
        """The block under the names by which its columns are read.

        Raises:
            DataError: a name that is near one of ours and none of them, or two columns of one name.
        """
        if all(name in self.others or self.by_key.get(name_key(name)) == name for name in block.columns):
            return block
        columns = {}
        for name, column in block.columns.items():
            meant = name if name in self.others else self._meant(name, block.source)
            if meant in columns:
                raise DataError(f"{block.source}: two columns are called {meant!r}, one of them {name!r}")
            columns[meant] = column
        return replace(block, columns=columns)

    def _meant(self, name: str, source: str) -> str:
        key = name_key(name)
        meant = self.by_key.get(key)
        if meant is not None:
            return meant or name
        known = frozenset(self.by_key.values()) - {"", *_OTHERS}
        if (key not in _ORDINARY and may_mean(name, known)) or _is_of_a_channel(key):
            raise DataError(
                f"{source}: column {name!r} is none that is read",
                hint=f"{did_you_mean(name, known)}docs/contacts.md lists the columns; rename or drop this one",
            )
        return name


def _is_of_a_channel(key: str) -> bool:
    """Whether a column speaks of consent or suppression on some channel, which then is none that we know."""
    consent = key.startswith("consent") and any(name_key(purpose) in key for purpose in PURPOSES)
    return consent or key.startswith("suppressed")


def column_names(catalog: Catalog, others: Collection[str]) -> ColumnNames:
    """The names that a file of contacts may have for a catalog.

    Args:
        catalog: gives the channels.
        others: columns that features and rules name themselves.
    """
    by_key = {name_key(name): name for name in (*_NEEDED, *_OTHERS)}
    words = dict.fromkeys(word for group in CHANNEL_WORDS for word in group)
    for word in (*words, *catalog.channels):
        channel = channel_of(word, catalog.channels)
        for purpose in PURPOSES:
            for part in _CONSENT:
                read = "" if channel is None else f"consent_{channel}_{purpose}{part}"
                by_key[name_key(f"consent_{word}_{purpose}{part}")] = read
        by_key[name_key(f"suppressed_{word}")] = "" if channel is None else f"suppressed_{channel}"
    return ColumnNames(by_key, frozenset(others))
