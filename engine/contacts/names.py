"""Names of a contact file's columns: understood like every other name, and refused where a slip would open a send.

Columns that nobody reads are left alone. But a column that ends a consent, suppresses a channel or says where a contact
is would be missed under a misspelt name, so such a name is an error. So is one that speaks of consent, suppression or
an opt-out in words of its own (`email_suppressed`, `opt_out_sms`, `do not contact`, the `status` of a mailing list),
and one whose cells do (`unsubscribed`, `bounced`, `cleaned`), whatever it is called.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from engine.catalog import Catalog
from engine.contacts.columns import ColumnBatch, is_text, matches
from engine.errors import DataError, ParameterError
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
_ORDINARY: Final = ("county", "stage", "store", "start", "local", "locality")
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
    *("excluded", "inactive", "unreachable", "subscribed", "subscriber", "cleaned", "undeliverable", "disabled"),
    *("revoked", "withdrawn", "quarantined", "unconfirmed"),
)
# Whole names, of which the words alone say something else (`active_days`, `clean_time` of a mailing list).
_WHOLE: Final = ("active", "isactive", "enabled", "isenabled", "cleantime", "cleancampaign")
# A status is one of being reachable, unless the name says whose other status it is.
_OTHER_STATUS: Final = (
    *("points", "order", "orders", "payment", "marital", "civil", "employment", "loyalty", "ticket", "shipping"),
    *("shipment", "invoice", "billing", "job", "vip", "tier", "relationship", "family", "tax", "residence", "home"),
    *("cart", "booking", "return", "refund", "credit", "student", "smoking"),
)
# What has a state that is none of a country: `email_marketing_state`.
_HAVE_STATES: Final = ("marketing", "subscription", "newsletter", "email", "sms", "push")
# Cells by which mailing systems say that somebody has left or cannot be reached: short, and beginning with such a word.
_LEFT: Final = (
    r"(?i)^\W*((e-?mail|sms|status|has|hard|soft|spam)[\W_]+)?"
    r"(un[\W_]?subscri|opt(ed)?[\W_]*out|bounced|(hard|soft)[\W_]*bounce|cleaned|suppressed|complained|spam[\W_]*complaint|"
    r"do[\W_]*not[\W_]*(contact|e-?mail|text|send|mail|call)|dnc\b|bl(oc|ac)k[\W_]?listed|(not|never)[\W_]*subscribed|"
    r"undeliverable|deceased)[^.,;:]{0,16}\W*$"
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
        by_key: key of a name -> the names by which it is read; none where nobody reads it.
        needed: of these names, those without which a contact may get more.
    """

    by_key: dict[str, tuple[str, ...]]
    needed: frozenset[str]

    def named(self, batch: ColumnBatch) -> ColumnBatch:
        """The batch under the names by which its columns are read.

        Raises:
            DataError: a name that is near one of ours and none of them, two columns of one name, or a column that
                nobody reads and whose cells say that contacts have left.
        """
        return batch.renamed(lambda name: self._meant(batch, name))

    def _meant(self, batch: ColumnBatch, name: str) -> tuple[str, ...]:
        meant = self.by_key.get(name_key(name))
        if meant is not None:
            return meant or (name,)
        words = _words_of(name)
        speaks = _speaks_of_consent(words)
        if speaks or (name_key(name) not in _ORDINARY and may_mean(name, self.needed)):
            near = _nearest(words, self.needed) or ("" if speaks else did_you_mean(name, self.needed))
            raise DataError(f"{batch.source}: column {name!r} is none that is read", hint=f"{near}{_SETTLE}")
        column = batch.columns[name]
        column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        if is_text(column):
            said = "is none that is read, but says who must not be reached"
            batch.fail(name, matches(column, _LEFT), column, said, _SETTLE)
        return (name,)


_SETTLE: Final = (
    "write what it says as suppressed_CHANNEL or consent_CHANNEL_PURPOSE, or drop it; a column that says nothing of "
    "the kind may be declared as a feature; docs/contacts.md lists the columns"
)


def _words_of(name: str) -> list[str]:
    """The words of a name, however they are joined: `optOutSms`, `opt-out sms` and `OPT_OUT_SMS` have three."""
    return [name_key(word) for word in _PARTS.findall(unicodedata.normalize("NFKC", name))]


def _speaks_of_consent(words: Collection[str]) -> bool:
    """Whether a column speaks of consent, suppression, an opt-out, their end on a channel, or a time zone."""
    key, said = "".join(words), frozenset(words)
    ends = "expir" in key and not _CHANNELS.isdisjoint(said)
    speaks = any(part in key for part in _SPEAKS) or any(together <= said for together in _TOGETHER)
    speaks = speaks or ("status" in said and (said.isdisjoint(_OTHER_STATUS) or not _CHANNELS.isdisjoint(said)))
    speaks = speaks or ("state" in said and not said.isdisjoint(_HAVE_STATES)) or key in _WHOLE
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

    Raises:
        ParameterError: two of the others that no header could tell apart.
    """
    by_key: dict[str, tuple[str, ...]] = {}

    def add(written: str, read: str | None) -> None:
        key = name_key(written)
        by_key[key] = tuple(dict.fromkeys((*by_key.get(key, ()), *(() if read is None else (read,)))))

    for name in (*_NEEDED, *_OTHERS):
        add(name, name)
    words = dict.fromkeys(word for group in CHANNEL_WORDS for word in group)
    for word in (*words, *catalog.channels):
        channel = channel_of(word, catalog.channels)
        for purpose in PURPOSES:
            for part in _CONSENT:
                end = f"{purpose}{part}"
                add(f"consent_{word}_{end}", None if channel is None else f"consent_{channel}_{end}")
        add(f"suppressed_{word}", None if channel is None else f"suppressed_{channel}")
    needed = frozenset(name for names in by_key.values() for name in names) - {*_OTHERS}
    same: dict[str, set[str]] = {}
    for name in others:
        add(name, name)
        same.setdefault(name_key(name), set()).add(name)
    twice = [sorted(names) for names in same.values() if len(names) > 1]
    if twice:
        raise ParameterError(
            "features", "a contact file", allowed="of different names, whatever their case and blanks", got=twice[0]
        )
    return ColumnNames(by_key, needed)
