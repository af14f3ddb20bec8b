"""No spelling and no missing input lets more through than the right spelling and the whole input do.

Every place where a name comes in is one row of `PLACES`: a small pack, and a contact, facts or conditions in which `@`
stands where the name is written. The name mangled in any way must give the same sends, fewer, or an error.
"""

from __future__ import annotations

import itertools
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import ContactBatch
from engine.contacts.file import contact_batches
from engine.errors import TactfulError
from engine.features import FeatureSchema
from engine.guardrails.conditions import conditions_from
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import pack_from
from engine.names import channel_of, name_key
from engine.state.fact_file import fact_batches
from engine.state.store import SqlState
from engine.time.localtime import instant_of

NOW = datetime(2026, 6, 16, 16, 0, tzinfo=UTC)
HOUR_AGO, LONG_AGO, SOON = "2026-06-16T15:00:00Z", "2026-01-02T00:00:00Z", "2026-06-16T16:00:01Z"
CATALOG = Catalog(
    name="shop",
    channels=("email", "sms"),
    hours=("now",),
    arms=(
        Arm(id="summer_offer", approved=True, category="fashion", attributes={"topic": "clothing"}),
        Arm(id="kitchen_news", approved=True, category="kitchen", attributes={"topic": "cooking"}),
    ),
)
ANYWHERE = "@"
DAY_S = 86_400


def permits() -> dict[str, Any]:
    """A contact who may be written to on both channels."""
    record: dict[str, Any] = {
        "contact_id": "c",
        "time_zone": "America/New_York",
        "time_zone_at": HOUR_AGO,
        "country": "US",
        "state": "NY",
        "phone_area_code": "212",
        "line_type": "mobile",
        "lists": "none",
        "profiling_objection": False,
        "sends": [],
        "events": [],
    }
    for channel in CATALOG.channels:
        consent = f"consent_{channel}_promotional"
        record |= {consent: True, f"{consent}_at": LONG_AGO, f"{consent}_source": "form"}
        record |= {f"{consent}_basis": "express_written", f"suppressed_{channel}": False}
    return record


def grants() -> list[dict[str, Any]]:
    """The same contact as facts."""
    profile = {"fact": "profile", "at": LONG_AGO, "zone": "America/New_York", "history_from_at": LONG_AGO}
    consent = {"fact": "consent", "at": LONG_AGO, "purpose": "promotional", "source": "form", "kind": "express"}
    return [profile | {"contact_id": "c"}] + [
        consent | {"contact_id": "c", "channel": channel} for channel in CATALOG.channels
    ]


def sent(**more: Any) -> list[dict[str, Any]]:
    return [{"at": HOUR_AGO, "channel": "sms", "purpose": "promotional"} | more]


def happened(event: str, **more: Any) -> list[dict[str, Any]]:
    return [{"at": HOUR_AGO, "event": event} | more]


def fact(what: str, /, **more: Any) -> dict[str, Any]:
    return {"fact": what, "contact_id": "c", "at": HOUR_AGO} | more


@dataclass(frozen=True)
class Place:
    """Where a name comes in.

    Attributes:
        name: as it is rightly written.
        rules: (rule, parameters) beside consent and suppression.
        record: changes of the contact; used unless there are facts.
        facts: recorded after the contact's own.
        conditions: of the sender.
    """

    name: str
    rules: Sequence[tuple[str, dict[str, Any]]] = ()
    record: dict[str, Any] = field(default_factory=dict)
    facts: Sequence[dict[str, Any]] = ()
    conditions: dict[str, Any] = field(default_factory=dict)


CAP = ("frequency", {"caps": [{"max": 1, "window_s": DAY_S, "channels": ["sms"]}]})
TOPICS = ("topic_cap", {"max": 1, "window_s": DAY_S})
COOLDOWN = ("cooldown", {"window_s": DAY_S})
BOUGHT = ("recent_purchase", {"window_s": DAY_S})
OPERATIONS = ("operations", {"silence_kills": False})
BRAKE_TIER = {"name": "hard", "effect": "stop", "above": 0.5}
BRAKE = ("brake", {"brake": {"rate": "complaints", "tiers": [BRAKE_TIER]}})

PLACES: dict[str, Place] = {
    # contact files: cells
    "send channel": Place("sms", [CAP], {"sends": sent(channel=ANYWHERE)}),
    "send purpose": Place("promotional", [CAP], {"sends": sent(purpose=ANYWHERE)}),
    "send topic": Place("clothing", [TOPICS], {"sends": sent(topic=ANYWHERE)}),
    "send template": Place("summer_offer", [COOLDOWN], {"sends": sent(template=ANYWHERE)}),
    "send category": Place(
        "fashion",
        [("sequence", {"pairs": [{"a": {"category": "kitchen"}, "b": {"category": "fashion"}, "window_s": DAY_S}]})],
        {"sends": sent(category=ANYWHERE)},
    ),
    "event kind": Place("complained", [], {"events": happened(ANYWHERE, channel="sms")}),
    "event unsubscribed": Place("unsubscribed", [], {"events": happened(ANYWHERE, channel="sms")}),
    "event channel": Place("sms", [], {"events": happened("hard_bounced", channel=ANYWHERE)}),
    "incident channel": Place(
        "sms",
        [("incidents", {"closing": [{"event": "unreachable", "channels": ["sms"]}]})],
        {"events": happened("unreachable", channel=ANYWHERE)},
    ),
    "purchase category": Place("fashion", [BOUGHT], {"events": happened("purchased", category=ANYWHERE)}),
    "list": Place("litigator", [("lists", {})], {"lists": ANYWHERE}),
    "line type": Place("landline", [("line_type", {"allowed": {"sms": ["mobile"]}})], {"line_type": ANYWHERE}),
    "basis": Place(
        "soft_opt_in",
        [("consent_basis", {"bases": {"express_written": None}})],
        {"consent_sms_promotional_basis": ANYWHERE},
    ),
    "state": Place("NY", [("emergency", {"states": ["NY"]})], {"state": ANYWHERE}),
    "state without a country": Place(
        "NY",
        [("topic_cap", {"max": 0, "window_s": 9, "states": ["NY"]})],
        {"state": ANYWHERE, "country": None, "phone_area_code": "none"},
    ),
    # contact files: columns
    "suppression column": Place("suppressed_sms", [], {"suppressed_sms": None, ANYWHERE: True}),
    "refusal column": Place(
        "consent_sms_promotional", [("revoke_all", {})], {"consent_sms_promotional": None, ANYWHERE: False}
    ),
    "end of consent column": Place("consent_sms_promotional_expires_at", [], {ANYWHERE: SOON}),
    "events column": Place("events", [], {"events": None, ANYWHERE: happened("complained", channel="sms")}),
    "sends column": Place("sends", [CAP], {"sends": None, ANYWHERE: sent()}),
    "lists column": Place("lists", [("lists", {})], {"lists": None, ANYWHERE: "minor"}),
    # keys of entries
    "channel key of a send": Place(
        "channel", [CAP], {"sends": [{"at": HOUR_AGO, ANYWHERE: "sms", "purpose": "promotional"}]}
    ),
    "topic key of a send": Place("topic", [TOPICS], {"sends": sent(**{ANYWHERE: "clothing"})}),
    "category key of an event": Place("category", [BOUGHT], {"events": happened("purchased", **{ANYWHERE: "fashion"})}),
    # facts
    "fact": Place("withdrawal", facts=[{"fact": ANYWHERE, "contact_id": "c", "at": HOUR_AGO, "channel": "sms"}]),
    "withdrawal channel": Place("sms", facts=[fact("withdrawal", channel=ANYWHERE)]),
    "denial channel": Place("email", facts=[fact("denial", channel=ANYWHERE)]),
    "withdrawal purpose": Place("promotional", facts=[fact("withdrawal", channel="sms", purpose=ANYWHERE)]),
    "grant channel": Place(
        "sms",
        facts=[
            fact("withdrawal", channel="sms", at=LONG_AGO),
            fact("consent", channel=ANYWHERE, purpose="promotional", source="x", kind="express"),
        ],
    ),
    "grant kind": Place(
        "implied_inquiry",
        facts=[
            fact("withdrawal", channel="sms", at=LONG_AGO),
            fact("consent", channel="sms", purpose="promotional", source="x", kind=ANYWHERE),
        ],
    ),
    "end of consent": Place(
        "expires_at",
        facts=[fact("consent", channel="push", purpose="promotional", source="x", kind="express", **{ANYWHERE: SOON})],
    ),
    "suppression channel": Place("sms", facts=[fact("suppression", channel=ANYWHERE, reason="opt_out")]),
    "suppression reason": Place("opt_out", facts=[fact("suppression", channel="sms", reason=ANYWHERE)]),
    "lift channel": Place(
        "sms",
        facts=[
            fact("suppression", channel="sms", reason="opt_out", at=LONG_AGO),
            fact("suppression", channel=ANYWHERE, reason="opt_out", lifted=True),
        ],
    ),
    "lift reason": Place(
        "opt_out",
        facts=[
            fact("suppression", channel="sms", reason="opt_out", at=LONG_AGO),
            fact("suppression", channel="sms", reason=ANYWHERE, lifted=True),
        ],
    ),
    "stop event": Place("unsubscribe", facts=[fact("event", kind=ANYWHERE, channel="sms")]),
    "stop event channel": Place("sms", facts=[fact("event", kind="complaint", channel=ANYWHERE)]),
    "past send channel": Place(
        "sms", [CAP], facts=[fact("send", decision_id="m", channel=ANYWHERE, purpose="promotional")]
    ),
    "past send topic": Place(
        "clothing",
        [TOPICS],
        facts=[fact("send", decision_id="m", channel="sms", purpose="promotional", topic=ANYWHERE)],
    ),
    "bought category": Place("fashion", [BOUGHT], facts=[fact("event", kind="purchase", category=ANYWHERE)]),
    "profile list": Place("litigator", [("lists", {})], facts=[fact("profile", lists=ANYWHERE)]),
    # conditions
    "paused channel": Place("sms", [OPERATIONS], conditions={"paused_channels": [ANYWHERE]}),
    "paused arm": Place("summer_offer", [OPERATIONS], conditions={"paused_arms": [ANYWHERE]}),
    "paused state": Place("NY", [("emergency", {})], conditions={"paused_states": [ANYWHERE]}),
    "paused use case": Place(
        "winback_spring", [OPERATIONS], conditions={"use_case": "winback_spring", "paused_use_cases": [ANYWHERE]}
    ),
    "use case": Place(
        "winback_spring", [OPERATIONS], conditions={"use_case": ANYWHERE, "paused_use_cases": ["winback_spring"]}
    ),
    "switch": Place("killed", [OPERATIONS], conditions={ANYWHERE: True}),
    "counted channel": Place(
        "sms", [("volume", {"max_per_day": 5, "channels": ["sms"]})], conditions={"sent_today": {ANYWHERE: 5}}
    ),
    "channel of health": Place(
        "sms", [BRAKE], conditions={"health": {ANYWHERE: {"sent": 9000, "complaints": 9000}, "email": {"sent": 1}}}
    ),
    "held rate": Place(
        "complaints",
        [BRAKE],
        conditions={"health": {name: {"sent": 1, "held": {ANYWHERE: {"tier": "hard"}}} for name in CATALOG.channels}},
    ),
    # packs
    "channel of a cap": Place(
        "sms", [("frequency", {"caps": [{"max": 1, "window_s": DAY_S, "channels": [ANYWHERE]}]})], {"sends": sent()}
    ),
    "channel of hours": Place("sms", [("quiet_hours", {"windows": {ANYWHERE: {"daily": ["00:00-01:00"]}}})]),
    "channel of a line": Place("sms", [("line_type", {"allowed": {ANYWHERE: ["landline"]}})]),
    "channel paused in a pack": Place(
        "email", [("operations", {"silence_kills": False, "pause_channels": [ANYWHERE]})]
    ),
    "arm paused in a pack": Place("summer_offer", [("operations", {"silence_kills": False, "pause_arms": [ANYWHERE]})]),
    "state of a pack": Place("NY", [("emergency", {"states": [ANYWHERE]})]),
    "purpose of a pack": Place("promotional", [("emergency", {"states": ["NY"], "applies_to": [ANYWHERE]})]),
    "arm of a sequence": Place(
        "summer_offer",
        [("sequence", {"pairs": [{"a": {"arm": ANYWHERE}, "b": {"topic": "cooking"}, "window_s": DAY_S}]})],
        {"sends": sent(topic="cooking")},
    ),
    "topic of a sequence": Place(
        "cooking",
        [("sequence", {"pairs": [{"a": {"arm": "summer_offer"}, "b": {"topic": ANYWHERE}, "window_s": DAY_S}]})],
        {"sends": sent(topic="cooking")},
    ),
    "list of a pack": Place("partner", [("lists", {"harmless": [ANYWHERE]})], {"lists": "partner"}),
    "parameter of a pack": Place(
        "max_per_day", [("volume", {ANYWHERE: 0})], conditions={"sent_today": {"email": 0, "sms": 0}}
    ),
    "rule of a pack": Place("emergency", [(ANYWHERE, {"states": ["NY"]})]),
}


def put(value: Any, name: str) -> Any:
    """The value with a name where `@` stands."""
    if isinstance(value, dict):
        return {put(key, name): put(item, name) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [put(item, name) for item in value]
    return name if value == ANYWHERE else value


def layer(rules: Sequence[tuple[str, dict[str, Any]]]) -> Guardrails:
    head = {"kind": "eng", "jurisdiction": "any", "source": "ours", "checked_on": "2026-06-01"}
    entries = [("consent", {}), ("suppression", {}), *rules]
    pack = {
        "name": "one",
        "version": "1",
        "rules": [head | {"id": f"r{at}", "rule": rule, "params": params} for at, (rule, params) in enumerate(entries)],
    }
    return Guardrails(pack_from(pack), CATALOG)


_NUMBERS = itertools.count()


def batch_of(place: Place, name: str, folder: Path, guardrails: Guardrails) -> ContactBatch:
    if place.facts:
        folder /= str(next(_NUMBERS))
        folder.mkdir()
        lines(folder / "facts.jsonl", [*grants(), *put(list(place.facts), name)])
        with SqlState(f"sqlite:///{folder / 'state.sqlite'}") as state:
            for _, facts in fact_batches(folder / "facts.jsonl", "key", 100):
                state.record(facts)
                who = np.array([facts[0].contact_id], dtype=object)
            return state.batch(who, CATALOG, now_at=instant_of(NOW, owner="test"))
    record = {key: value for key, value in (permits() | put(place.record, name)).items() if value is not None}
    lines(folder / "contacts.jsonl", [record])
    blocks = contact_batches(
        folder / "contacts.jsonl", FeatureSchema(features=()), CATALOG, NOW, extra=guardrails.extra_inputs
    )
    return next(iter(blocks))


def lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def sends(place: Place, name: str, folder: Path) -> set[int]:
    """Send actions that are left under a way of writing the name."""
    guardrails = layer([(put(rule, name), put(params, name)) for rule, params in place.rules])
    conditions = conditions_from(put(place.conditions, name))
    eligible, _ = guardrails.eligibility(batch_of(place, name, folder, guardrails), NOW, conditions)
    return set(np.flatnonzero(eligible.dense()[0]).tolist()) - {0}


BLANKS = (" ", "\u00a0", "\u2009", "\t", "\u200b", "\ufeff", "\u00ad", "\u2060", "\u202e")
DASHES = ("-", "_", " ", "\u2010", "\u2011", "\u2013", "\u2212", "\uff3f", "")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@st.composite
def mangled(draw: st.DrawFn, name: str) -> str:
    """The name in another case, width, spacing or form, or with one slip (two where it is long)."""
    how = draw(st.sampled_from(("case", "blanks", "dashes", "width", "form", "slip", "alike")))
    at = draw(st.integers(0, len(name)))
    if how == "case":
        return "".join(one.upper() if draw(st.booleans()) else one.lower() for one in name)
    if how == "blanks":
        return name[:at] + draw(st.sampled_from(BLANKS)) + name[at:] + draw(st.sampled_from(("", *BLANKS)))
    if how == "dashes":
        return name.replace("_", draw(st.sampled_from(DASHES)))
    if how == "width":
        return "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in name)
    if how == "form":
        return unicodedata.normalize(draw(st.sampled_from(("NFD", "NFKC", "NFKD"))), name.title())
    if how == "alike":
        return name.translate(str.maketrans("aeopcx", "\u0430\u0435\u043e\u0440\u0441\u0445"))
    for _ in range(draw(st.integers(1, 2 if len(name_key(name)) >= 8 else 1))):
        name = _slipped(draw, name)
    return name


def _slipped(draw: st.DrawFn, name: str) -> str:
    at, letter = draw(st.integers(0, len(name) - 1)), draw(st.sampled_from(LETTERS))
    kind = draw(st.sampled_from(("drop", "add", "change", "swap")))
    if kind == "drop":
        return name[:at] + name[at + 1 :]
    if kind == "add":
        return name[:at] + letter + name[at:]
    if kind == "change":
        return name[:at] + letter + name[at + 1 :]
    return name[:at] + name[at + 1 : at + 2] + name[at] + name[at + 2 :]


def is_another(place: Place, name: str) -> bool:
    """Whether the slip made another name that exists: nobody can tell that it was not meant."""
    if not name_key(name):
        return True
    others = ("NY", "NV", "ND", "NC", "NE", "NH", "NJ", "NM", "MY", "KY", "WY", "NL", "NS", "NB", "NT", "NU")
    if place.name == "NY":
        return name.strip().upper() in set(others) - {"NY"}
    return place.name in CATALOG.channels and channel_of(name, ("mms", "rcs")) is not None


@pytest.mark.parametrize("where", PLACES)
def test_a_place_says_something(where: str, tmp_path: Path) -> None:
    """Rightly written the name matters: it closes something, or (a grant, a lift, a harmless list) opens something."""
    place = PLACES[where]
    nothing = Place(place.name)
    assert sends(place, place.name, tmp_path) != sends(nothing, "", tmp_path) or where in OPENING


OPENING = ("grant channel", "lift channel", "lift reason", "list of a pack", "end of consent")


@pytest.mark.parametrize("where", PLACES)
def test_no_spelling_opens_anything(where: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    place, folder = PLACES[where], tmp_path_factory.mktemp("names")
    right = sends(place, place.name, folder)

    @settings(
        max_examples=8 if place.facts else 16,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(mangled(place.name))
    def never_looser(name: str) -> None:
        if is_another(place, name):
            return
        try:
            found = sends(place, name, folder)
        except TactfulError:
            return
        assert found <= right, f"{name!r} for {place.name!r} lets {sorted(found - right)} through"

    never_looser()


RICH = permits() | {
    "sends": [
        {
            "at": HOUR_AGO,
            "channel": "sms",
            "purpose": "promotional",
            "topic": "clothing",
            "template": "summer_offer",
            "category": "fashion",
            "discount": 0.0,
        }
    ],
    "events": [{"at": HOUR_AGO, "event": "purchased", "channel": "email", "category": "fashion"}],
}
# What a pack of every rule that looks at contacts closes for somebody of whom all is known.
ALL_RULES: list[tuple[str, dict[str, Any]]] = [
    CAP,
    TOPICS,
    COOLDOWN,
    ("sequence", {"pairs": [{"a": {"category": "fashion"}, "b": {"category": "kitchen"}, "window_s": DAY_S}]}),
    ("sticky_price", {"life_s": DAY_S}),
    ("sunset", {"max_unengaged": 1, "window_s": DAY_S * 30}),
    BOUGHT,
    ("lists", {}),
    ("profiling", {}),
    ("line_type", {"allowed": {"sms": ["mobile"]}}),
    ("consent_basis", {"bases": {"express_written": None}}),
    ("emergency", {"states": ["FL"]}),
    ("discount", {"max_depth": None, "max_sends": 1, "window_s": DAY_S * 30}),
    ("quiet_hours", {"windows": {"*": {"daily": ["09:00-20:00"]}}}),
]


def without(record: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The record with one optional value taken out, also inside its sends and events."""
    found = [(key, {name: value for name, value in record.items() if name != key}) for key in record]
    for column in ("sends", "events"):
        for key in record[column][0]:
            entry = {name: value for name, value in record[column][0].items() if name != key}
            found.append((f"{column}.{key}", record | {column: [entry]}))
    return [(what, left) for what, left in found if what != "contact_id"]


# Nobody can miss what was never said: a purchase, or that a consent ends. Each is told in docs/contacts.md.
UNSAID = ("events",)


@pytest.mark.parametrize("rule", range(len(ALL_RULES)))
def test_no_missing_input_opens_anything(rule: int, tmp_path: Path) -> None:
    rules = [ALL_RULES[rule]]
    whole = sends(Place("", rules, RICH), "", tmp_path)
    for what, left in without(RICH):
        record = dict.fromkeys(RICH) | left
        try:
            found = sends(Place("", rules, record), "", tmp_path)
        except TactfulError:
            continue
        assert found <= whole or what in UNSAID, f"{ALL_RULES[rule][0]}: without {what} {sorted(found - whole)} pass"


CONDITIONS = {"killed": False, "sent_today": {"email": 5, "sms": 0}, "sent_7d": {"email": 5, "sms": 0},
              "health": {"email": {"sent": 9000, "complaints": 9000}, "sms": {"sent": 9000}}, "use_case": "winback",
              "paused_use_cases": ["welcome"]}  # fmt: skip


@pytest.mark.parametrize("what", [*CONDITIONS, "sent_today.email", "health.email"])
def test_no_missing_condition_opens_anything(what: str, tmp_path: Path) -> None:
    """A count, a rate or a switch of which nobody speaks closes."""
    rules = [("operations", {}), BRAKE, ("volume", {"max_per_day": 5, "channels": ["email"]})]
    whole = sends(Place("", rules, conditions=CONDITIONS), "", tmp_path)
    assert whole
    key, _, part = what.partition(".")
    left = {name: value for name, value in CONDITIONS.items() if name != key}
    if part:
        left[key] = {name: value for name, value in CONDITIONS[key].items() if name != part}  # type: ignore[attr-defined]
    assert sends(Place("", rules, conditions=left), "", tmp_path) <= whole
