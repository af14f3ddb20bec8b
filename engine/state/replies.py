"""Raw replies and provider codes as facts: what a person wrote, or a provider answered, closes and opens channels.

The text itself goes no further than this module: the store keeps what it was read as, and how.

| read as | facts |
|---|---|
| stop | a suppression of the channel and a withdrawal of both purposes, which `revoke_all` spreads if it is on |
| doubt | a suppression of the channel, until somebody lifts it |
| start | lifts of both, on its channel; consents that a reply took on it are given back |
| help, none | the event that the contact replied |

Where the channel is not said, a stop and a doubt close all channels. A provider's code that nobody knows and that reads
like a stop is a doubt as well; only somebody who has read it lifts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from engine.errors import ParameterError
from engine.names import usual_channel
from engine.optout.classify import classify
from engine.optout.codes import action_for
from engine.state.facts import EXPRESS_KINDS, GRANTED, Consent, Event, Fact, Suppression
from engine.state.tables import CONSENT
from engine.storage.database import among
from engine.types import PURPOSES

# Reasons of suppressions; a lift names the same one.
REPLY_STOP: Final = "reply_stop"
REPLY_DOUBT: Final = "reply_doubt"
PROVIDER_CODE: Final = "provider_code"
PROVIDER_DOUBT: Final = "provider_doubt"
SOURCE: Final = "reply"

Row = Mapping[str, Any]

# Kinds of events as rules count them -> as the store records them.
_KINDS: Final = {
    "hard_bounced": "hard_bounce",
    "soft_bounced": "soft_bounce",
    "complained": "complaint",
    "unreachable": "unreachable",
}


@dataclass(frozen=True)
class Answer:
    """What one row is recorded as.

    Attributes:
        read: of a reply its verdict, of a code its action.
        facts: any number.
    """

    read: str
    facts: tuple[Fact, ...]


def reply_of(row: Row) -> Answer:
    """A raw reply: `contact_id`, `at`, `text`, and perhaps `channel` and `decision_id`."""
    contact, channel, at = row["contact_id"], row.get("channel"), row["at"]
    reading = classify(str(row.get("text", "")))
    source = f"{SOURCE}/{reading.how or reading.verdict}"
    if reading.verdict == "stop":
        withdrawn = (Consent(contact, channel, purpose, "withdrawn", at, source=source) for purpose in PURPOSES)
        return Answer("stop", (Suppression(contact, channel, REPLY_STOP, at, source=source), *withdrawn))
    if reading.verdict == "doubt":
        return Answer("doubt", (Suppression(contact, channel, REPLY_DOUBT, at, source=source),))
    if reading.verdict == "start":
        lifts = (
            Suppression(contact, channel, why, at, source=source, lifted=True) for why in (REPLY_STOP, REPLY_DOUBT)
        )
        return Answer("start", tuple(lifts))
    return Answer(reading.verdict, (Event(contact, "reply", at, channel=channel, decision_id=row.get("decision_id")),))


def code_of(row: Row) -> Answer:
    """A provider's code: `contact_id`, `at`, `code`, and perhaps `channel`, `provider`, `event_id`, `decision_id`.

    Raises:
        ParameterError: no code.
    """
    if "code" not in row:
        raise ParameterError("code", "a provider_code", allowed="what the provider answered", got=None)
    contact, at, given = row["contact_id"], row["at"], row.get("channel")
    action = action_for(row["code"], given or "sms")
    # A code of the table names its channel; of another one the sender must say it. Where neither does, or the two say
    # different ones, it holds for every channel.
    told = given is None or usual_channel(given) == action.channel
    channel = given if action.source == "ours" else action.channel if told else None
    source = f"{row.get('provider', 'provider')}/{row['code']}"
    facts: list[Fact] = []
    if action.event:
        more = {name: row[name] for name in ("event_id", "decision_id") if name in row}
        facts.append(Event(contact, _KINDS[action.event], at, channel=channel, **more))
    if action.action == "doubt":
        facts.append(Suppression(contact, channel, PROVIDER_DOUBT, at, source=source))
    elif action.action == "suppress" and action.purposes == PURPOSES:
        why = REPLY_STOP if action.until == "start" else PROVIDER_CODE
        facts.append(Suppression(contact, channel, why, at, source=source))
    elif action.action == "suppress":
        facts += [
            Consent(contact, channel, purpose, "withdrawn", at, source=source, basis=PROVIDER_CODE)
            for purpose in action.purposes
        ]
    return Answer(action.action, tuple(facts))


def given_back(connection: sa.Connection, facts: Sequence[Fact]) -> list[Consent]:
    """The express consents that replies withdrew and that a lift of `reply_stop` gives back, on its own channel.

    A consent is given back where it held until the reply: it was express and dated, and nothing but replies refused
    it since. Its kind, basis and end stay; it is recorded at the instant of the lift.

    Args:
        connection: in the transaction in which the facts were written.
        facts: all that are being recorded.
    """
    lifts = [fact for fact in facts if isinstance(fact, Suppression) and fact.lifted and fact.reason == REPLY_STOP]
    if not lifts:
        return []
    contacts = sorted({lift.contact_id for lift in lifts})
    rows = connection.execute(sa.select(CONSENT).where(among(connection, CONSENT.c.contact_id, contacts))).all()
    of_contact: dict[str, list[Any]] = {}
    for row in rows:
        of_contact.setdefault(row.contact_id, []).append(row)
    return [back for lift in lifts for back in _given_back(lift, of_contact.get(lift.contact_id, []))]


def _given_back(lift: Suppression, rows: Sequence[Any]) -> list[Consent]:
    refusals = [row for row in rows if row.status != GRANTED and row.recorded_at <= lift.at]
    ours = [row for row in refusals if row.source.startswith(f"{SOURCE}/") and row.channel == lift.channel]
    if not ours:
        return []
    first = min(row.recorded_at for row in ours)
    others = [row for row in refusals if row not in ours]
    return [
        Consent(
            *(row.contact_id, row.channel, row.purpose, GRANTED, lift.at),
            source=f"{SOURCE}/start",
            kind=row.kind,
            basis=row.basis,
            expires_at=row.expires_at,
        )
        for row in rows
        if row.status == GRANTED
        and row.source
        and row.kind in EXPRESS_KINDS
        and row.recorded_at is not None
        and row.recorded_at < lift.at
        and (row.expires_at is None or row.expires_at > lift.at)
        and lift.channel in (None, row.channel)
        and (row.recorded_at < first or row.source == f"{SOURCE}/start")
        and not any(_covers(refusal, row) for refusal in others)
    ]


def _covers(refusal: Any, grant: Any) -> bool:
    """Whether a refusal that no reply made ends a grant."""
    return (
        refusal.channel in (None, grant.channel)
        and refusal.purpose in (None, grant.purpose)
        and refusal.recorded_at >= grant.recorded_at
    )
