"""Facts about contacts: what the outside world reports and the store keeps."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from engine.contacts.attributes import list_cell
from engine.contacts.contacts import CONSENT_BASES
from engine.contacts.places import area_code_cell, state_cell
from engine.errors import ParameterError
from engine.state.checks import keep_channel, keep_name, require_after, require_depth, require_id, require_instant
from engine.time.localtime import require_zone
from engine.time.zones import is_country, states_of
from engine.types import PURPOSES

GRANTED: Final = "granted"
STATUSES: Final = (GRANTED, "denied", "withdrawn")
EXPRESS: Final = "express"
EXPRESS_KINDS: Final = ("express_written", EXPRESS)
# How a consent was given, if nobody said: it never outweighs a refusal, and counts nowhere where the way matters.
UNKNOWN_KIND: Final = "unknown"
CONSENT_KINDS: Final = (*CONSENT_BASES, UNKNOWN_KIND)
PROFILING: Final = "profiling"
CONSENT_PURPOSES: Final = (*PURPOSES, PROFILING)
_PURPOSES_ARE: Final = "marketing is promotional; messages on an order, an account or a request are transactional"
_DATE_IT: Final = "say when it was refused (`at` of a fact file), as in 2026-11-03T10:00:00Z"
_NO_END: Final = "leave it empty where there is no end; a fact that ends before it starts would hold at no instant"
LINES: Final = ("mobile", "landline", "voip", "none")
BY_EVENT: Final = "event"
STOP_KINDS: Final = ("hard_bounce", "complaint", "unsubscribe")
EVENT_KINDS: Final = (
    "delivered",
    "open",
    "click",
    "reply",
    "hard_bounce",
    "soft_bounce",
    "unreachable",
    "complaint",
    "unsubscribe",
    "purchase",
    "ticket_opened",
    "ticket_closed",
)


@dataclass(frozen=True)
class Profile:
    """Where and how a contact can be reached; a field that is None leaves what is known as it is.

    Attributes:
        contact_id: pseudonym.
        observed_at: of this profile; an older one than the stored one changes nothing.
        zone: IANA name.
        zone_source: how the zone is known ("explicit", "device", "postal", "area_code").
        region: state or province of residence ("FL"), or "none".
        country: ISO 3166 alpha-2.
        area_code: of the telephone number, or "none".
        locale: BCP 47 tag.
        line_type: kind of the phone line: mobile, landline, voip, or "none".
        lists: names of the lists that the contact is on, joined by semicolons, or "none".
        motive_price: probability in [0, 1] that price is what moves the contact.
        due_at: when something falls due for the contact, the end of a trial for instance; microseconds.
        history_from_at: since when every send to the contact is in this store; None: not known, and frequency rules
            block.
    """

    table: ClassVar[str] = "contact"

    contact_id: str
    observed_at: int
    zone: str | None = None
    zone_source: str | None = None
    region: str | None = None
    area_code: str | None = None
    locale: str | None = None
    history_from_at: int | None = None
    country: str | None = None
    line_type: str | None = None
    lists: str | None = None
    motive_price: float | None = None
    due_at: int | None = None

    def __post_init__(self) -> None:
        require_id("contact_id", "Profile", self.contact_id)
        require_instant("observed_at", "Profile", self.observed_at)
        require_instant("history_from_at", "Profile", self.history_from_at, optional=True)
        require_instant("due_at", "Profile", self.due_at, optional=True)
        if self.zone is not None:
            require_zone(self.zone, where="Profile.zone")
        if self.line_type is not None:
            keep_name(self, "line_type", LINES)
        if self.country is not None and not is_country(self.country):
            raise ParameterError("country", "Profile", allowed="a code of ISO 3166, as DE", got=self.country)
        self._check_readable()
        if self.motive_price is not None and not 0 <= self.motive_price <= 1:
            raise ParameterError("motive_price", "Profile", allowed="in [0, 1]", got=self.motive_price)

    def _check_readable(self) -> None:
        """Refuse what the readers of profiles would stumble over later, at every batch that holds the contact."""
        for name, read, allowed in (
            ("region", state_cell, "the code of a state or province, as FL or US-FL, or none"),
            ("area_code", area_code_cell, "three digits of the North American plan, or none"),
            ("lists", list_cell, "names of lists joined by semicolons, or none"),
        ):
            value = getattr(self, name)
            if value is not None and read(value) is None:
                raise ParameterError(name, "Profile", allowed=allowed, got=value)
        ours = states_of(self.country or "")
        if ours and self.region is not None and state_cell(self.region) not in {"", *ours}:
            raise ParameterError("region", "Profile", allowed=f"a state of {self.country}", got=self.region)


@dataclass(frozen=True)
class Consent:
    """A consent that was given or refused.

    Attributes:
        contact_id: pseudonym.
        channel: name; None is every channel, which only a refusal may say.
        purpose: one of `CONSENT_PURPOSES`; None is every purpose, which only a refusal may say.
        status: granted, denied, withdrawn.
        recorded_at: when; a grant without it is kept but does not count.
        source: where; a grant without it is kept but does not count.
        kind: express, or an implied or unknown kind, which never outweighs a refusal.
        basis: the wording or the legal basis.
        expires_at: first instant at which it no longer holds, after `recorded_at`; None is without end.
    """

    table: ClassVar[str] = "consent"

    contact_id: str
    channel: str | None
    purpose: str | None
    status: str
    recorded_at: int | None
    source: str = ""
    kind: str = EXPRESS
    basis: str = ""
    expires_at: int | None = None

    def __post_init__(self) -> None:
        require_id("contact_id", "Consent", self.contact_id)
        keep_name(self, "status", STATUSES)
        keep_name(self, "kind", CONSENT_KINDS)
        grants = self.status == GRANTED
        keep_channel(self, optional=not grants)
        if self.purpose is not None or grants:
            keep_name(self, "purpose", CONSENT_PURPOSES, hint=f"{_PURPOSES_ARE}; profiling is what is objected to")
        require_instant("recorded_at", "Consent", self.recorded_at, optional=grants, hint="" if grants else _DATE_IT)
        require_instant("expires_at", "Consent", self.expires_at, optional=True)
        if not grants and self.expires_at is not None:
            raise ParameterError("expires_at", f"a {self.status} Consent", allowed="None", got=self.expires_at)
        require_after("expires_at", "Consent", self.expires_at, self.recorded_at, hint=_NO_END)


@dataclass(frozen=True)
class Suppression:
    """A channel (None: all of them) on which a contact must not be reached; `lifted` ends earlier ones.

    Attributes:
        contact_id: pseudonym.
        channel: name, or None for every channel.
        reason: why ("opt_out", "hard_bounce", "complaint" ...); a lift ends only rows of its own channel and reason.
        at: since when.
        source: who said so.
        until_at: first instant at which it no longer holds, after `at`; None is without end.
        lifted: true for the row that ends earlier ones.
    """

    table: ClassVar[str] = "suppression"

    contact_id: str
    channel: str | None
    reason: str
    at: int
    source: str = ""
    until_at: int | None = None
    lifted: bool = False

    def __post_init__(self) -> None:
        require_id("contact_id", "Suppression", self.contact_id)
        require_id("reason", "Suppression", self.reason)
        keep_channel(self, optional=True)
        require_instant("at", "Suppression", self.at)
        require_instant("until_at", "Suppression", self.until_at, optional=True)
        require_after("until_at", "Suppression", self.until_at, self.at, hint=_NO_END)


@dataclass(frozen=True)
class Event:
    """Something that a contact did, or that happened to a message.

    Attributes:
        contact_id: pseudonym.
        kind: one of `EVENT_KINDS`; those in `STOP_KINDS` close their channel by themselves, or all channels where it is
            not said or cannot be told.
        at: when it happened.
        event_id: the source's own id, by which a repeat is known; "" takes the content. The key is source, contact,
            kind and id: another contact's event, or one of another kind, is another event.
        decision_id: id of the send that it answers.
        channel: name.
        category: product category.
        value_usd: of a purchase, finite.
        source: who reported it; ids are unique within a source.
    """

    table: ClassVar[str] = "event"

    contact_id: str
    kind: str
    at: int
    event_id: str = ""
    decision_id: str | None = None
    channel: str | None = None
    category: str | None = None
    value_usd: float | None = None
    source: str = ""

    def __post_init__(self) -> None:
        require_id("contact_id", "Event", self.contact_id)
        keep_name(self, "kind", EVENT_KINDS)
        keep_channel(self, optional=True)
        require_instant("at", "Event", self.at)
        if self.value_usd is not None and not math.isfinite(self.value_usd):
            raise ParameterError("value_usd", "Event", allowed="finite", got=self.value_usd)


@dataclass(frozen=True)
class PastSend:
    """A message that went out without a reservation: imported history, or another system's send. It counts.

    Attributes:
        decision_id: the source's own id of the message.
        contact_id: pseudonym.
        channel: name.
        purpose: one of `PURPOSES`.
        at: when it went out.
        topic / template / category: as of a reservation, or "".
        discount: depth in [0, 1); None is not known.
    """

    table: ClassVar[str] = "send"

    decision_id: str
    contact_id: str
    channel: str
    purpose: str
    at: int
    topic: str = ""
    template: str = ""
    category: str = ""
    discount: float | None = None

    def __post_init__(self) -> None:
        for name in ("decision_id", "contact_id"):
            require_id(name, "PastSend", getattr(self, name))
        keep_channel(self)
        keep_name(self, "purpose", PURPOSES, hint=_PURPOSES_ARE)
        require_instant("at", "PastSend", self.at)
        require_depth("PastSend", self.discount)


Fact = Profile | Consent | Suppression | Event | PastSend


def stop_of(event: Event) -> Suppression | None:
    """The suppression that an event stands for; None where it stops nothing.

    Its reason is the kind of the event, so a lift of that channel and reason ends both.
    """
    if event.kind not in STOP_KINDS:
        return None
    return Suppression(event.contact_id, event.channel, event.kind, event.at, source=BY_EVENT)


def fact_id(fact: Consent | Suppression | Event) -> str:
    """The natural key of a fact: SHA-256 of its content, or of an event's source, contact, kind and own id."""
    content: dict[str, Any] = dict(vars(fact))
    if isinstance(fact, Event):
        names = ("source", "contact_id", "kind", "event_id") if fact.event_id else tuple(content)
        # An event without a source has the key that it had before events had sources.
        content = {name: content[name] for name in names if name != "source" or content[name]}
    return _digest(fact.table, content)


def former_event_id(fact: Event) -> str:
    """The key of an event with an id in stores of version 1, where the id alone was the key."""
    return _digest(fact.table, {"event_id": fact.event_id})


def _digest(table: str, content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([table, content], sort_keys=True).encode()).hexdigest()
