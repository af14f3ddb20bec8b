"""The caps of the reservation against the oracle's rules, at the one instant at which a send is wanted."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.contacts.contacts import ContactBatch
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import Pack, RuleEntry
from engine.state.sends.caps import SendRequest, conflict
from engine.state.sends.pack_caps import caps_of
from engine.time.localtime import instant_of
from engine.types import PURPOSES as PURPOSE_NAMES
from tests.engine.guardrails.oracle.crowd import CATALOG, ZONES, crowd
from tests.engine.guardrails.oracle.differ import SHOWN, Tally, shown
from tests.engine.guardrails.oracle.people import EPOCH, Action, Person, Sent, Setting, people_of
from tests.engine.guardrails.oracle.senders import sender
from tests.engine.guardrails.oracle.verdicts import ORACLE

COUNTING = ("frequency", "topic_cap", "cooldown", "sequence", "discount")
NOW_ONLY = Catalog(name="now", channels=CATALOG.channels, hours=("now",), arms=CATALOG.arms)
TEN_YEARS = timedelta(days=3600)


def counting(pack: Pack) -> list[RuleEntry]:
    """The entries of a pack that count sends; how deep a discount is, is not a cap's to say."""
    kept = [entry for entry in pack.rules if entry.rule in COUNTING]
    return [
        msgspec.structs.replace(entry, params=entry.params | {"max_depth": None}) if entry.rule == "discount" else entry
        for entry in kept
    ]


def promised(rng: np.random.Generator, pack: Pack, now: datetime, contacts: int) -> Tally:
    """Every arm on every channel for some contacts with a history: what the caps refuse, and what the oracle does."""
    entries = counting(pack)
    if not entries:
        return Tally()
    consent = [entry for entry in pack.rules if entry.rule == "consent"][:1]
    layer = Guardrails(msgspec.structs.replace(pack, rules=(*consent, *entries)), NOW_ONLY)
    zones = tuple(rng.choice(ZONES, contacts, replace=False).tolist())
    batch = crowd(rng, zones, instant_of(now), NOW_ONLY)
    caps, people = caps_of(layer, batch), people_of(batch, NOW_ONLY)
    world = sender(rng, NOW_ONLY, pack)
    setting = Setting(now, NOW_ONLY, timedelta(seconds=pack.latency_margin_s), world)
    tally = Tally()
    for person in people:
        _one(person, caps, entries, setting, batch, tally)
    return tally


def _one(
    person: Person, caps: Any, entries: list[RuleEntry], setting: Setting, batch: ContactBatch, tally: Tally
) -> None:
    # A store keeps ten years, and knows every detail's column and the history; the rules say of those that they block.
    told = person.details >= {"sent_topic", "sent_template", "sent_category", "sent_discount"}
    if person.sends is None or not told or any(abs(sent.at - setting.now) > TEN_YEARS for sent in person.sends):
        return
    others = [_request(str(at), person, sent) for at, sent in enumerate(person.sends)]
    for channel in NOW_ONLY.channels:
        for arm in NOW_ONLY.arms:
            action = Action(channel, "now", arm)
            wanted = SendRequest(
                "wanted",
                person.name,
                channel,
                arm.purpose,
                instant_of(setting.now),
                topic=str(arm.attributes.get("topic", "")),
                template=arm.id,
                category=arm.category,
                discount=arm.discount_depth,
            )
            found = conflict(wanted, others, caps)
            refused = set() if found is None else set(found.reasons)
            verdicts: dict[str, bool] = defaultdict(bool)
            for entry in entries:
                verdicts[entry.id] |= ORACLE[entry.rule](entry.params, person, action, setting)
            tally.triples += 1
            tally.sent += not refused
            for name, gone in verdicts.items():
                if gone != (name in refused):
                    tally.differ[name] += 1
                    if tally.differ[name] <= SHOWN:
                        side = "oracle" if gone else "cap"
                        tally.cases.append(f"{name}: {side} refuses {arm.id} on {channel} of {shown(person)}")
                else:
                    (tally.removed if gone else tally.allowed)[name] += 1


def _request(name: str, person: Person, sent: Sent) -> SendRequest:
    return SendRequest(
        name,
        person.name,
        "fax" if sent.channel == "elsewhere" else sent.channel,
        sent.purpose if sent.purpose in PURPOSE_NAMES else "promotional",
        (sent.at - EPOCH) // timedelta(microseconds=1),
        topic=sent.topic or "",
        template=sent.template or "",
        category=sent.category or "",
        discount=sent.discount,
    )
