"""A batch of contacts as arrays: what the policy reads (context) and what the guardrail rules read (all the rest).

Missing is a value of its own everywhere (-1, or `history_known` false), and rules block on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.catalog import Catalog
from engine.errors import DataError, ParameterError
from engine.features import ContextBlock, FeatureSchema
from engine.types import PURPOSES, BoolArray, CodeArray, IntArray, ObjectArray

LevelArray = NDArray[np.int8]

UNKNOWN: Final = -1
NO: Final = 0
YES: Final = 1
OTHER_CHANNEL: Final = -1

# What a rule may name in its `reads` beside the names in `ContactBatch.extra`.
CORE_INPUTS: Final = ("zone", "consent", "suppressed", "sends")


@dataclass(frozen=True)
class ContactBatch:
    """n contacts as they are known at one instant.

    Attributes:
        contact_id: (n,) strings.
        zone_code: (n,) int32 into `zones`; -1 unknown.
        zones: distinct IANA names, valid in the tz database.
        context: of the n rows, aged to now.
        consent: (n, C, P) int8: 1 granted, 0 denied or withdrawn, -1 no record (or one without source or timestamp).
        suppressed: (n, C) int8: 1 suppressed, 0 not, -1 unknown.
        sent_offsets: (n + 1,) int64; the sends of row i are `[sent_offsets[i], sent_offsets[i + 1])`, oldest first.
        sent_at: (m,) int64 microseconds; sends that are already planned lie in the future and count too.
        sent_channel: (m,) int32 position on the catalog's channels; -1 a channel that the catalog does not have.
        sent_purpose: (m,) int32 position in `PURPOSES`.
        history_known: (n,) bool; false where nobody knows what was sent.
        locale_code: (n,) int32 into `locales`; -1 unknown.
        locales: distinct BCP 47 tags.
        extra: further columns by name, first axis n, that rules declare in `reads` (objects: None is missing).
    """

    contact_id: ObjectArray
    zone_code: CodeArray
    zones: tuple[str, ...]
    context: ContextBlock
    consent: LevelArray
    suppressed: LevelArray
    sent_offsets: IntArray
    sent_at: IntArray
    sent_channel: CodeArray
    sent_purpose: CodeArray
    history_known: BoolArray
    locale_code: CodeArray
    locales: tuple[str, ...] = ()
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = self.n
        shapes = {"zone_code": n, "consent": n, "suppressed": n, "history_known": n, "locale_code": n}
        shapes |= {"sent_offsets": n + 1, "sent_channel": len(self.sent_at), "sent_purpose": len(self.sent_at)}
        for name, rows in shapes.items():
            if len(getattr(self, name)) != rows:
                raise ParameterError(name, "ContactBatch", allowed=f"{rows} long", got=len(getattr(self, name)))
        for name, column in self.extra.items():
            if len(column) != n:
                raise ParameterError(name, "ContactBatch.extra", allowed=f"{n} long", got=len(column))
        if self.consent.shape[1:] != (self.suppressed.shape[1], len(PURPOSES)):
            raise ParameterError("consent", "ContactBatch", allowed="of shape (n, C, P)", got=self.consent.shape)
        _check_sends(self.sent_offsets, self.sent_at)

    @property
    def n(self) -> int:
        return len(self.contact_id)

    def has(self, name: str) -> bool:
        """Whether the batch carries an input that a rule declares (single rows may still lack it)."""
        return name in CORE_INPUTS or name in self.extra

    def take(self, rows: slice | NDArray[Any]) -> ContactBatch:
        """The rows of a slice, an index array or a mask."""
        index = np.arange(self.n)[rows]
        begin = self.sent_offsets[:-1][index]
        lengths = self.sent_offsets[1:][index] - begin
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        sends = np.repeat(begin - offsets[:-1], lengths) + np.arange(offsets[-1])
        return replace(
            self,
            contact_id=self.contact_id[index],
            zone_code=self.zone_code[index],
            context=self.context.take(index),
            consent=self.consent[index],
            suppressed=self.suppressed[index],
            sent_offsets=offsets,
            sent_at=self.sent_at[sends],
            sent_channel=self.sent_channel[sends],
            sent_purpose=self.sent_purpose[sends],
            history_known=self.history_known[index],
            locale_code=self.locale_code[index],
            extra={name: column[index] for name, column in self.extra.items()},
        )

    def alone(self, row: int) -> ContactBatch:
        """One contact, with its own zone only."""
        one = self.take(np.array([row]))
        code = int(one.zone_code[0])
        if code == UNKNOWN:
            return replace(one, zones=())
        return replace(one, zones=(self.zones[code],), zone_code=np.zeros(1, dtype=np.int32))

    def blanked(self, name: str) -> ContactBatch:
        """The same contacts with one declared input missing in every row."""
        if name == "zone":
            return replace(self, zone_code=np.full_like(self.zone_code, UNKNOWN))
        if name in {"consent", "suppressed"}:
            return replace(self, **{name: np.full_like(getattr(self, name), UNKNOWN)})
        if name == "sends":
            return replace(
                self,
                sent_offsets=np.zeros_like(self.sent_offsets),
                sent_at=self.sent_at[:0],
                sent_channel=self.sent_channel[:0],
                sent_purpose=self.sent_purpose[:0],
                history_known=np.zeros_like(self.history_known),
            )
        return replace(self, extra={key: column for key, column in self.extra.items() if key != name})


def _check_sends(offsets: IntArray, sent_at: IntArray) -> None:
    if offsets[0] != 0 or offsets[-1] != len(sent_at) or (np.diff(offsets) < 0).any():
        raise ParameterError(
            "sent_offsets", "ContactBatch", allowed="rising from 0 to m", got=offsets[[0, -1]].tolist()
        )
    falls = np.flatnonzero(np.diff(sent_at) < 0) + 1
    if len(falls) and not np.isin(falls, offsets).all():
        raise DataError("the sends of a contact must be ordered, oldest first", hint="build the batch with order_sends")


def order_sends(offsets: IntArray, *columns: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Sort CSR send columns within each contact; the first column is `sent_at`."""
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((columns[0], owner))
    return tuple(column[order] for column in columns)


def empty_context(n: int) -> ContextBlock:
    """A context of n rows without any feature."""
    return ContextBlock(FeatureSchema(features=()), {}, n)


def plain_contacts(contact_ids: ObjectArray, catalog: Catalog, **changes: Any) -> ContactBatch:
    """Contacts about whom nothing is known: no zone, no consent, no history; `changes` replace fields.

    Raises:
        ParameterError: a field that a batch does not have.
    """
    n, channels = len(contact_ids), len(catalog.channels)
    unknown = set(changes) - {spec.name for spec in fields(ContactBatch)}
    if unknown:
        raise ParameterError("changes", "plain_contacts", allowed="fields of ContactBatch", got=sorted(unknown))
    values: dict[str, Any] = {
        "contact_id": np.asarray(contact_ids, dtype=object),
        "zone_code": np.full(n, UNKNOWN, dtype=np.int32),
        "zones": (),
        "context": empty_context(n),
        "consent": np.full((n, channels, len(PURPOSES)), UNKNOWN, dtype=np.int8),
        "suppressed": np.full((n, channels), UNKNOWN, dtype=np.int8),
        "sent_offsets": np.zeros(n + 1, dtype=np.int64),
        "sent_at": np.empty(0, dtype=np.int64),
        "sent_channel": np.empty(0, dtype=np.int32),
        "sent_purpose": np.empty(0, dtype=np.int32),
        "history_known": np.zeros(n, dtype=np.bool_),
        "locale_code": np.full(n, UNKNOWN, dtype=np.int32),
    }
    return ContactBatch(**(values | changes))
