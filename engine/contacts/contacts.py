"""A batch of contacts as arrays: what the policy reads (context) and what the guardrail rules read (all the rest).

Missing is a value of its own everywhere (-1, or `history_known` false), and rules block on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.catalog import Catalog
from engine.errors import DataError, ParameterError
from engine.features import ContextBatch, FeatureSchema
from engine.names import channel_of, is_usual_channel
from engine.sealing import sealed
from engine.time.zone_names import names_of_people
from engine.types import NOT_AN_INSTANT, PURPOSES, BoolArray, CodeArray, IntArray, ObjectArray

LevelArray = NDArray[np.int8]

UNKNOWN: Final = -1
NO: Final = 0
YES: Final = 1
OTHER_CHANNEL: Final = -1
UNTOLD_CHANNEL: Final = -2

# What a rule may name in its `reads` and always finds, with a value of its own for "unknown". Everything else that a
# rule reads is optional in a batch: columns of `extra`, `events`, and details of sends (`sent_topic` ...).
CORE_INPUTS: Final = ("zone", "consent", "suppressed", "sends")
SENT_DETAIL: Final = "sent_"

# What can be known to have happened to a contact, beside our own sends.
EVENTS: Final = (
    "opened",
    "clicked",
    "replied",
    "hard_bounced",
    "soft_bounced",
    "unreachable",
    "complained",
    "purchased",
    "ticket_opened",
    "ticket_closed",
    "unsubscribed",
)
# What closes its channel by itself, in every pack (`engine.guardrails.history.stops`).
STOP_EVENTS: Final = ("hard_bounced", "complained", "unsubscribed")

# How a consent was given: positions are the codes of the column `consent_basis`.
CONSENT_BASES: Final = ("express_written", "express", "implied_purchase", "implied_inquiry", "soft_opt_in")
OBJECTIONS: Final = ("no", "yes")


@dataclass(frozen=True)
class Events:
    """What happened to n contacts, as compressed rows.

    Attributes:
        offsets: (n + 1,) int64; the events of row i are `[offsets[i], offsets[i + 1])`, oldest first.
        at: (m,) int64 microseconds.
        kind: (m,) int32 position in `EVENTS`.
        channel: (m,) int32 position on the catalog's channels; -1 where none or another; -2 where the channel cannot be
            told: a stop-like event then closes every channel.
        category: (m,) int32 position in `categories`; -1 where none.
        categories: distinct product categories.
        known: (n,) bool; false where nobody knows what happened.
    """

    offsets: IntArray
    at: IntArray
    kind: CodeArray
    channel: CodeArray
    category: CodeArray
    categories: tuple[str, ...]
    known: BoolArray

    def __post_init__(self) -> None:
        for name in ("kind", "channel", "category"):
            if len(getattr(self, name)) != len(self.at):
                raise ParameterError(name, "Events", allowed=f"{len(self.at)} long", got=len(getattr(self, name)))
        _check_sends(self.offsets, self.at)

    def take(self, index: IntArray) -> Events:
        """The rows of an index array."""
        offsets, kept = taken_rows(self.offsets, index)
        return replace(
            self,
            offsets=offsets,
            at=self.at[kept],
            kind=self.kind[kept],
            channel=self.channel[kept],
            category=self.category[kept],
            known=self.known[index],
        )

    def sealed(self) -> Events:
        """The same, in arrays that nobody can write to (`engine.sealing`)."""
        return replace(self, **{name: _sealed(value) for name, value in vars(self).items()})


def _sealed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return sealed(value)
    if isinstance(value, Mapping):
        return {name: _sealed(one) for name, one in value.items()}
    return value.sealed() if isinstance(value, ContextBatch | Events) else value


def taken_rows(offsets: IntArray, index: IntArray) -> tuple[IntArray, IntArray]:
    """Offsets of the rows of an index array, and the positions of their entries."""
    begin = offsets[:-1][index]
    lengths = offsets[1:][index] - begin
    after = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return after, np.repeat(begin - after[:-1], lengths) + np.arange(after[-1])


@dataclass(frozen=True)
class ContactBatch:
    """n contacts as they are known at one instant.

    Attributes:
        contact_id: (n,) strings.
        zone_code: (n,) int32 into `zones`; -1 unknown.
        zones: distinct IANA names, valid in the tz database.
        context: the features of the n rows, aged to now.
        consent: (n, C, P) int8: 1 granted, 0 denied or withdrawn, -1 no record (or one without source or timestamp).
        suppressed: (n, C) int8: 1 suppressed, 0 not, -1 unknown.
        sent_offsets: (n + 1,) int64; the sends of row i are `[sent_offsets[i], sent_offsets[i + 1])`, oldest first.
        sent_at: (m,) int64 microseconds; sends that are already planned lie in the future and count too.
        sent_channel: (m,) int32 position on the catalog's channels; -1 a usual channel that the catalog does not have;
            -2 one that cannot be told, which counts towards every cap.
        sent_purpose: (m,) int32 position in `PURPOSES`.
        history_known: (n,) bool; false where nobody knows what was sent.
        locale_code: (n,) int32 into `locales`; -1 unknown.
        locales: distinct BCP 47 tags.
        extra: further columns by name, first axis n, that rules declare in `reads` (objects: None is missing).
        sent_details: further columns of the sends by name, first axis m: `sent_topic`, `sent_template`, `sent_category`
            (int32 codes into `levels`; -1 none), `sent_discount` (depth in [0, 1), NaN unknown).
        levels: column name -> levels, of the coded (int32) columns of `extra` (-1 missing) and `sent_details`.
        events: what happened besides; None where the batch does not carry it.
    """

    contact_id: ObjectArray
    zone_code: CodeArray
    zones: tuple[str, ...]
    context: ContextBatch
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
    sent_details: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    events: Events | None = None

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
        for name, column in self.sent_details.items():
            if len(column) != len(self.sent_at):
                raise ParameterError(
                    name, "ContactBatch.sent_details", allowed=f"{len(self.sent_at)} long", got=len(column)
                )
        if self.events is not None and len(self.events.known) != n:
            raise ParameterError("events", "ContactBatch", allowed=f"of {n} rows", got=len(self.events.known))
        if self.consent.shape[1:] != (self.suppressed.shape[1], len(PURPOSES)):
            raise ParameterError("consent", "ContactBatch", allowed="of shape (n, C, P)", got=self.consent.shape)
        unknown = set(self.zones) - names_of_people()
        if unknown:
            raise ParameterError("zones", "ContactBatch", allowed="zones of people", got=sorted(unknown))
        _check_sends(self.sent_offsets, self.sent_at)

    @property
    def n(self) -> int:
        return len(self.contact_id)

    def has(self, name: str) -> bool:
        """Whether the batch carries an input that a rule declares (single rows may still lack it)."""
        if name == "events":
            return self.events is not None
        return name in CORE_INPUTS or name in self.extra or name in self.sent_details

    def take(self, rows: slice | NDArray[Any]) -> ContactBatch:
        """The rows of a slice, an index array or a mask."""
        index = np.arange(self.n)[rows]
        offsets, sends = taken_rows(self.sent_offsets, index)
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
            sent_details={name: column[sends] for name, column in self.sent_details.items()},
            events=None if self.events is None else self.events.take(index),
        )

    def sealed(self) -> ContactBatch:
        """The same, for a rule of somebody else's: mappings of its own, arrays that nobody can write to."""
        return replace(self, **{name: _sealed(value) for name, value in vars(self).items()})

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
                sent_details={key: column[:0] for key, column in self.sent_details.items()},
            )
        if name == "events":
            return replace(self, events=None)
        if name in self.sent_details:
            return replace(self, sent_details={key: column for key, column in self.sent_details.items() if key != name})
        return replace(self, extra={key: column for key, column in self.extra.items() if key != name})


def _check_sends(offsets: IntArray, sent_at: IntArray) -> None:
    if len(sent_at) and sent_at.min() == NOT_AN_INSTANT:
        # It would be longer ago than every window, and count for none.
        raise DataError("a send or an event has no instant", hint="leave the history unknown where one is not known")
    if offsets[0] != 0 or offsets[-1] != len(sent_at) or (np.diff(offsets) < 0).any():
        raise ParameterError(
            "sent_offsets", "ContactBatch", allowed="rising from 0 to m", got=offsets[[0, -1]].tolist()
        )
    falls = sent_at[1:] < sent_at[:-1]
    starts = offsets[1:-1]
    falls[starts[(starts > 0) & (starts < len(sent_at))] - 1] = False
    if falls.any():
        raise DataError("the sends of a contact must be ordered, oldest first", hint="build the batch with order_sends")


def order_sends(offsets: IntArray, *columns: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Sort CSR send columns within each contact; the first column is `sent_at`."""
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((columns[0], owner))
    return tuple(column[order] for column in columns)


def channel_codes(names: Iterable[str | None], channels: tuple[str, ...], *, none: int) -> CodeArray:
    """Positions on the catalog's channels; `OTHER_CHANNEL` and `UNTOLD_CHANNEL` for what is none of them.

    Args:
        names: channels as somebody wrote them; distinct values, because each is looked up.
        channels: the catalog's channels.
        none: the code of None.
    """

    def code(name: str | None) -> int:
        if name is None:
            return none
        meant = channel_of(name, channels)
        if meant is not None:
            return channels.index(meant)
        return OTHER_CHANNEL if is_usual_channel(name, channels) else UNTOLD_CHANNEL

    return np.array([code(name) for name in names], dtype=np.int32)


def empty_context(n: int) -> ContextBatch:
    """A context of n rows without any feature."""
    return ContextBatch(FeatureSchema(features=()), {}, n)


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
