"""Names of a contact file's columns: understood like every other name, and refused where a slip would open a send.

Columns that nobody reads are left alone. But a column that ends a consent, suppresses a channel or says where a contact
is would be missed under a misspelt name, so such a name is an error. So is one that speaks of consent, suppression or
an opt-out in words of its own (`email_suppressed`, `opt_out_sms`, `do not contact`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from engine.catalog import Catalog
from engine.contacts.columns import ColumnBatch
from engine.errors import DataError
from engine.names import CHANNEL_WORDS, USUAL_CHANNELS, channel_of, did_you_mean, may_mean, name_key, usual_channel
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
# A feature that ships; where a schema does not have it, nobody misses it.
_SHIPPED: Final = ("consentscope", "consentscopeat")
# Parts of keys, and whole words, that speak of consent or of its end.
_AGREES: Final = ("consent", "optin", "optedin", "optsin", "permission")
_STOPS: Final = (
    *("suppress", "unsub", "optout", "optedout", "optsout", "donotcontact", "deceased", "blocklist", "blacklist"),
    *("robinson", "bounce", "complain"),
)
_SPEAKS: Final = (*_AGREES, *_STOPS)
_WORDS: Final = (
    *("dnc", "tz", "blocked", "allow", "allows", "allowed", "accepts", "stop", "stopped", "minor", "deleted"),
    *("excluded", "inactive", "unreachable", "subscribed", "subscriber"),
)
_TOGETHER: Final = tuple(
    frozenset(words.split())
    for words in ("opt out", "opted out", "opt in", "opted in", "do not", "no marketing", "no contact")
)
_CHANNELS: Final = frozenset(name_key(word) for group in CHANNEL_WORDS for word in group)
_PARTS: Final = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])|\d+")


@dataclass(frozen=True)
class ColumnNames:
    """The names that columns of a file may have.

    Attributes:
        by_key: key of a name -> the name by which it is read; "" where nobody reads it.
        others: columns that features and rules name themselves.
    """

    by_key: dict[str, str]
    others: frozenset[str]

    def named(self, batch: ColumnBatch) -> ColumnBatch:
        """The batch under the names by which its columns are read.

        Raises:
            DataError: a name that is near one of ours and none of them, or two columns of one name.
        """
        if all(name in self.others or self.by_key.get(name_key(name)) == name for name in batch.columns):
            return batch
        columns = {}
        for name, column in batch.columns.items():
            meant = name if name in self.others else self._meant(name, batch.source)
            if meant in columns:
                raise DataError(f"{batch.source}: two columns are called {meant!r}, one of them {name!r}")
            columns[meant] = column
        return replace(batch, columns=columns)

    def _meant(self, name: str, source: str) -> str:
        key = name_key(name)
        meant = self.by_key.get(key)
        if meant is not None:
            return meant or name
        known = frozenset(self.by_key.values()) - {"", *_OTHERS}
        words = _words_of(name)
        if (key not in _ORDINARY and may_mean(name, known)) or _speaks_of_consent(words):
            near = _nearest(words, known) or did_you_mean(name, known)
            raise DataError(
                f"{source}: column {name!r} is none that is read",
                hint=f"{near}docs/contacts.md lists the columns; rename or drop this one",
            )
        return name


def _words_of(name: str) -> list[str]:
    """The words of a name, however they are joined: `optOutSms`, `opt-out sms` and `OPT_OUT_SMS` have three."""
    return [name_key(word) for word in _PARTS.findall(unicodedata.normalize("NFKC", name))]


def _speaks_of_consent(words: Collection[str]) -> bool:
    """Whether a column speaks of consent, suppression, an opt-out, their end on a channel, or a time zone."""
    key, said = "".join(words), frozenset(words)
    ends = "expir" in key and not _CHANNELS.isdisjoint(said)
    speaks = any(part in key for part in _SPEAKS) or any(together <= said for together in _TOGETHER)
    speaks = speaks or ("status" in said and not _CHANNELS.isdisjoint(said))
    return key not in _SHIPPED and (ends or speaks or not said.isdisjoint(_WORDS))


def _nearest(words: Collection[str], known: Collection[str]) -> str:
    """The beginning of a hint: the known column that shares most words, in any order; nothing where none does."""
    key, meant = "".join(words), {usual_channel(word) for word in words}
    if "tz" in meant:
        meant |= {"time", "zone"}
    elif "dnc" in meant or any(part in key for part in _STOPS) or any(together <= meant for together in _TOGETHER):
        meant |= {"suppressed"} | {channel for channel in USUAL_CHANNELS if name_key(channel) in key}
    elif "expir" in key:
        meant |= {"consent", "expires", "at"}
    shared = {name: meant & set(name.split("_")) for name in known}
    best = min(known, key=lambda name: (-len(shared[name]), len(name.split("_")), name))
    return f"did you mean {best!r}? " if shared[best] else ""


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
