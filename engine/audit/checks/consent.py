"""Consent: does every promotional send have one, and every contact a record on some channel?

Read from the rule inputs of each decision, where a "yes" without source and timestamp has been taken for unknown
already (`engine.contacts.attributes`). Logs of others have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from engine.audit.batch import AuditBatch
from engine.audit.findings import Finding, graded, not_applicable
from engine.audit.rule import AuditRule
from engine.catalog import Catalog
from engine.contacts.contacts import UNKNOWN, YES
from engine.types import HOLD, PURPOSES

_LIST: Final = b'"consent":['
_REMEMBERED: Final = 10_000

SENDS, COVERAGE = "consent_of_sends", "consent_coverage"


class _Inputs(msgspec.Struct):
    """The part of the rule inputs that is read here."""

    consent: list[int] | None = None


class Consent:
    """Decisions and sends with and without a record.

    Args:
        catalog: catalog of the log.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._shape = (len(catalog.channels), len(PURPOSES))
        self._decoder = msgspec.json.Decoder(_Inputs)
        self._read: dict[bytes, tuple[int, ...] | None] = {}
        self.rows = self.sends = self.bare = self.no_record = 0
        self._by_channel = np.zeros(len(catalog.channels))

    def add(self, batch: AuditBatch) -> None:
        inputs = [self.levels(raw) for raw in batch.rounds.extra["rule_inputs"]]
        have = np.array([levels is not None for levels in inputs], dtype=np.bool_)
        if not have.any():
            return
        levels = np.array([one for one in inputs if one is not None], dtype=np.int8).reshape(-1, *self._shape)
        recorded = (levels != UNKNOWN).any(axis=2)
        self.rows += len(levels)
        self.no_record += int((~recorded.any(axis=1)).sum())
        self._by_channel += recorded.sum(axis=0)
        action = batch.rounds.action[have]
        sent = np.flatnonzero((action != HOLD) & batch.available[have])
        channel, _, arm = self._catalog.split(action[sent])
        purpose = self._catalog.purpose_codes[arm]
        # Other purposes may rest on another basis than consent (a receipt is part of the purchase).
        promotional = purpose == PURPOSES.index("promotional")
        self.sends += int(promotional.sum())
        self.bare += int((levels[sent, channel, purpose] != YES)[promotional].sum())

    def merge(self, other: Consent) -> None:
        self.rows += other.rows
        self.sends += other.sends
        self.bare += other.bare
        self.no_record += other.no_record
        self._by_channel = self._by_channel + other._by_channel

    def of_sends(self, rule: AuditRule) -> Finding:
        """Share of promotional sends whose contact had not said yes to the channel, with source and timestamp."""
        if not self.sends:
            return not_applicable(SENDS, _WHY)
        what = f"{self.bare} of {self.sends} promotional sends have no recorded consent for their channel"
        advice = "stop: the consent rule was not in force, or its inputs are not those that it judged"
        return graded(SENDS, self.bare / self.sends, rule.without_consent, what, advice)

    def coverage(self, rule: AuditRule) -> Finding:
        """Share of decisions about contacts without any record, yes or no; by channel in the details."""
        if not self.rows:
            return not_applicable(COVERAGE, _WHY)
        share = self.no_record / self.rows
        what = f"{1 - share:.2%} of the decisions are about contacts with a consent record on some channel"
        advice = "load consent with source and timestamp for every contact: without a record nothing may be sent"
        found = graded(COVERAGE, share, rule.no_consent_record, what, advice)
        by_channel: Sequence[float] = (self._by_channel / self.rows).tolist()
        found.details["by_channel"] = dict(zip(self._catalog.channels, by_channel, strict=True))
        return found

    def levels(self, raw: bytes | None) -> tuple[int, ...] | None:
        """(C x P,) levels; the same few lists stand in all rows, so the list is looked up before anything is read."""
        if raw is None:
            return None
        start = raw.find(_LIST)
        listed = raw[start : raw.find(b"]", start)] if start >= 0 else raw
        if listed not in self._read:
            if len(self._read) >= _REMEMBERED:
                self._read.clear()
            self._read[listed] = self._decoded(raw)
        return self._read[listed]

    def _decoded(self, raw: bytes) -> tuple[int, ...] | None:
        try:
            levels = self._decoder.decode(raw).consent
        except (msgspec.DecodeError, msgspec.ValidationError):
            return None
        return None if levels is None or len(levels) != self._shape[0] * self._shape[1] else tuple(levels)


_WHY = "no decision says what its rules read of the consent (a log of others, or a pack without the consent rule)"
