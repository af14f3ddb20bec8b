"""Contacts as rows of a file: what the reader makes of whereabouts, old zones, overlays and names written wrongly.

The oracle reads each row by itself, from the words of the documentation and tables of its own. Of a row as it should
be written both must say the same of every action. Of a row in which one name was written wrongly the reader must refuse
it, or the layer must allow nothing that the oracle removes from the contact that was meant.
"""

from __future__ import annotations

import json
import unicodedata
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from engine.contacts.contacts import ContactBatch
from engine.contacts.file import contact_batches
from engine.errors import DataError
from engine.features import FeatureSchema
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import Pack
from tests.engine.guardrails.oracle.crowd import BASES, CATALOG
from tests.engine.guardrails.oracle.differ import SHOWN, Tally, compare_people, shown
from tests.engine.guardrails.oracle.people import EPOCH, PURPOSES, Action, Consent, Event, Person, Sent, Setting
from tests.engine.guardrails.oracle.senders import sender
from tests.engine.guardrails.oracle.verdicts import reasons

NEW_YORK, CHICAGO, DENVER, LOS_ANGELES = (
    f"America/{city}" for city in ("New_York", "Chicago", "Denver", "Los_Angeles")
)
# Zones of the people of a state, most of them first.
STATES = {
    "NY": [NEW_YORK],
    "FL": [NEW_YORK, CHICAGO],
    "KY": [NEW_YORK, CHICAGO],
    "TX": [CHICAGO, DENVER],
    "OK": [CHICAGO],
    "CA": [LOS_ANGELES],
    "WA": [LOS_ANGELES],
}
# Area codes with their overlays: state and zones, which all codes of one ground share.
AREAS = {
    **dict.fromkeys(("212", "332", "646"), ("NY", [NEW_YORK])),
    **dict.fromkeys(("850", "448"), ("FL", [CHICAGO, NEW_YORK])),
    **dict.fromkeys(("305", "786", "645"), ("FL", [NEW_YORK])),
    **dict.fromkeys(("270", "364"), ("KY", [CHICAGO, NEW_YORK])),
    **dict.fromkeys(("812", "930"), ("IN", [CHICAGO, NEW_YORK])),
    **dict.fromkeys(("541", "458"), ("OR", [DENVER, LOS_ANGELES])),
    **dict.fromkeys(("405", "572"), ("OK", [CHICAGO])),
    **dict.fromkeys(("208", "986"), ("ID", ["America/Boise", DENVER, LOS_ANGELES])),
    **dict.fromkeys(("250", "236", "672", "778"), ("BC", ["America/Edmonton", "America/Vancouver"])),
    "604": ("BC", ["America/Vancouver"]),
}
COUNTRIES = {"DE": ["Europe/Berlin", "Europe/Busingen"], "IT": ["Europe/Rome"], "IN": ["Asia/Kolkata"]}
# Names that are no place, and the places whose clock they mostly stand for.
ABBREVIATIONS = {
    "EST": [NEW_YORK],
    "MST": [DENVER],
    "HST": ["Pacific/Honolulu"],
    "PST8PDT": [LOS_ANGELES],
    "UTC": [],
    "GMT": ["Europe/London"],
}
TOLD = (NEW_YORK, CHICAGO, LOS_ANGELES, "America/Phoenix", "Asia/Tokyo", "Europe/Berlin", *ABBREVIATIONS)
LOCALES = ("en-GB", "fr-CA", "fr", "en")
LINES = ("mobile", "landline", "voip", "none")
LISTS = ("none", "employee", "minor;employee", "vip")
# Names of a row that may be written wrongly: of a column, and of a field of one of its sends or events.
NAMES = ("time_zone", "device_time_zone", "country", "state", "phone_area_code", "line_type", "lists", "locale")
SENT_NAMES = tuple(f"sends.{name}" for name in ("channel", "purpose", "topic", "template", "category"))
EVENT_NAMES = tuple(f"events.{name}" for name in ("event", "channel", "category"))

# Reports that close the channel which they name.
STOPS = ("complained", "unsubscribed", "hard_bounced")

Row = dict[str, Any]


def row_of(rng: np.random.Generator, name: str, now: datetime) -> Row:
    """One contact, rightly written; about one thing in ten is not known."""

    def ago(days: float) -> str:
        return (now - timedelta(days=days)).isoformat()

    def some(values: Any, missing: float = 0.1) -> Any:
        return None if rng.random() < missing else values[int(rng.integers(len(values)))]

    home = some(("US", "US", "US", "CA", "DE", "IT", "IN"))
    state = some(tuple(STATES), 0.2) if home == "US" else some(("none",), 0.5) if home in COUNTRIES else None
    area = some(tuple(AREAS), 0.3) if home in ("US", "CA", None) else some(("none",), 0.3)
    row: Row = {
        "contact_id": name,
        "time_zone": some(TOLD, 0.4),
        "time_zone_at": ago(float(rng.choice([1, 29.999, 30, 30.001, 90]))),
        "device_time_zone": some(TOLD, 0.7),
        "device_time_zone_at": ago(float(rng.choice([1, 30, 31]))),
        "country": home,
        "state": state,
        "phone_area_code": area,
        "line_type": some(LINES),
        "lists": some(LISTS[:1] * 6 + LISTS),
        "locale": some(LOCALES),
        "profiling_objection": some(("false",) * 5 + ("true",), 0.05),
        "motive_price": some((0.0, 0.5, 0.9)),
        "due_at": (now + timedelta(days=float(rng.integers(1, 12)))).isoformat(),
        "sends": None if rng.random() < 0.1 else [_send(rng, now) for _ in range(int(rng.integers(0, 4)))],
        "events": None if rng.random() < 0.1 else [_event(rng, now) for _ in range(int(rng.integers(0, 3)))],
    }
    for channel in CATALOG.channels:
        row[f"suppressed_{channel}"] = some(("false",) * 12 + ("true",), 0.04)
        for purpose in PURPOSES:
            if rng.random() < 0.95:
                column = f"consent_{channel}_{purpose}"
                row[column] = "true" if rng.random() < 0.95 else "false"
                row[f"{column}_at"] = ago(float(rng.choice([5, 200, 900])))
                row[f"{column}_source"] = some(("form",), 0.03)
                row[f"{column}_basis"] = some(BASES[:1] * 4 + BASES)
    return {key: value for key, value in row.items() if value is not None}


def _send(rng: np.random.Generator, now: datetime) -> Row:
    days = float(rng.choice([-40, -8, -3, -1, -0.4, 0.3, 1, 3, 8, 40, 100])) + float(rng.uniform(-0.2, 0.2))
    found = {
        "at": (now - timedelta(days=days)).isoformat(),
        "channel": str(rng.choice([*CATALOG.channels, "fax"])),
        "purpose": str(rng.choice(PURPOSES, p=[0.8, 0.2])),
        "topic": str(rng.choice(["sale", "news", ""])),
        "template": str(rng.choice([*CATALOG.arm_ids, "gone", "", " "])),
        "category": str(rng.choice(["shoes", "hats", ""])),
    }
    return found | ({"discount": float(rng.choice([0.0, 0.1, 0.2]))} if rng.random() < 0.8 else {})


def _event(rng: np.random.Generator, now: datetime) -> Row:
    kinds = ("opened", "clicked", "purchased", "ticket_opened", "ticket_closed", "soft_bounced", "complained")
    found = {
        "at": (now - timedelta(days=float(rng.choice([-1, 0.5, 2, 10, 100])))).isoformat(),
        "event": str(rng.choice(kinds)),
        "channel": str(rng.choice(CATALOG.channels)),
    }
    return found | ({"category": str(rng.choice(["shoes", "hats"]))} if rng.random() < 0.7 else {})


def person_of(row: Row, now: datetime) -> Person:
    """What a row says, in the oracle's words."""
    zone, plausible = _whereabouts(row, now)
    area = row.get("phone_area_code")
    facts: dict[str, Any] = {
        "country": row.get("country"),
        "state": _or_none(row.get("state")),
        "area_state": "" if area == "none" else None if area is None else AREAS[area][0],
        "line_type": _or_none(row.get("line_type")),
        "lists": None if "lists" not in row else ",".join(sorted(_or_none(row["lists"]).split(";"))),
        "profiling_objection": {"true": "yes", "false": "no"}.get(str(row.get("profiling_objection"))),
        "motive_price": row.get("motive_price"),
        "due_at": (datetime.fromisoformat(row["due_at"]) - EPOCH) // timedelta(microseconds=1),
        "plausible_zones": ",".join(plausible) if len(plausible) > 1 else None,
    }
    sends = None if "sends" not in row else tuple(sorted(map(_sent, row["sends"]), key=lambda sent: sent.at))
    favourable = ("opened", "clicked", "ticket_closed")
    events = None
    if "events" in row:
        listed = [
            Event(datetime.fromisoformat(e["at"]), e["event"], e["channel"], e.get("category")) for e in row["events"]
        ]
        kept = [event for event in listed if event.kind not in favourable or event.at <= now]
        events = tuple(sorted(kept, key=lambda event: event.at))
    return Person(
        name=row["contact_id"],
        zone=zone,
        locale=row.get("locale"),
        consent={
            (channel, purpose): _consent(row, channel, purpose, now)
            for channel in CATALOG.channels
            for purpose in PURPOSES
        },
        suppressed={
            channel: {"true": True, "false": False}.get(str(row.get(f"suppressed_{channel}")))
            for channel in CATALOG.channels
        },
        sends=sends,
        events=events,
        stops=frozenset(event.channel for event in events or () if event.kind in STOPS and event.channel),
        facts=facts,
        details=frozenset({"sent_topic", "sent_template", "sent_category", "sent_discount"}),
    )


def _or_none(value: Any) -> Any:
    return "" if value == "none" else value


def _consent(row: Row, channel: str, purpose: str, now: datetime) -> Consent:
    column = f"consent_{channel}_{purpose}"
    if column not in row:
        return Consent(None)
    at = datetime.fromisoformat(row[f"{column}_at"])
    if row[column] == "true" and (f"{column}_source" not in row or at > now):
        return Consent(None, at, row.get(f"{column}_basis"))
    return Consent("granted" if row[column] == "true" else "denied", at, row.get(f"{column}_basis"))


def _sent(send: Row) -> Sent:
    topic, template, category = (send[name].strip() or None for name in ("topic", "template", "category"))
    channel = send["channel"] if send["channel"] in CATALOG.channels else "elsewhere"
    at = datetime.fromisoformat(send["at"])
    return Sent(at, channel, send["purpose"], topic, template, category, send.get("discount"))


def _whereabouts(row: Row, now: datetime) -> tuple[str | None, list[str]]:
    """The reference zone, and every zone in which the contact may be."""
    told = [(row[name], _fresh(row[f"{name}_at"], now)) for name in ("time_zone", "device_time_zone") if name in row]
    fresh = [zone for zone, is_fresh in told if is_fresh]
    if fresh and fresh[0] not in ABBREVIATIONS:
        return fresh[0], fresh[:1]
    zones = [zone for zone, _ in told]
    home, state, area = row.get("country"), row.get("state"), row.get("phone_area_code")
    by_state = STATES.get(state or "", [])
    by_area = AREAS[area][1] if area in AREAS else []
    if any(zone in ABBREVIATIONS for zone in zones):
        places = by_state + by_area
    else:
        country = None if not by_area or area is None else "CA" if AREAS[area][0] == "BC" else "US"
        places = by_state or (by_area if home in (None, country) else [])
    if not places and home in COUNTRIES:
        places = COUNTRIES[home]
    if not places and home in ("US", "CA"):
        raise LookupError(home)  # all zones of such a country: not a row that this oracle can read
    every = [*places, *(place for zone in zones for place in ABBREVIATIONS.get(zone, [])), *zones]
    distinct = list(dict.fromkeys(every))
    return (distinct[0] if distinct else None), distinct


def _fresh(at: str, now: datetime) -> bool:
    return timedelta(0) <= now - datetime.fromisoformat(at) <= timedelta(days=30)


def readable(rng: np.random.Generator, n: int, now: datetime) -> list[Row]:
    """n rows whose whereabouts the oracle's tables cover."""
    rows: list[Row] = []
    while len(rows) < n:
        row = row_of(rng, f"c{len(rows)}", now)
        try:
            _whereabouts(row, now)
        except LookupError:
            continue
        rows.append(row)
    return rows


def read(path: Path, rows: list[Row], now: datetime) -> ContactBatch:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (batch,) = contact_batches(path, FeatureSchema(features=()), CATALOG, now)
    return batch


def written(rng: np.random.Generator, pack: Pack, now: datetime, n: int, each: int, folder: Path) -> Tally:
    """n contacts of a file, `each` actions of every one."""
    rows = readable(rng, n, now)
    batch = read(folder / "rows.jsonl", rows, now)
    return compare_people(
        rng, pack, CATALOG, batch, [person_of(row, now) for row in rows], now, each, sender(rng, CATALOG, pack)
    )


def mangled(rng: np.random.Generator, name: str) -> str:
    """The name with another case, blanks, in another form of unicode, or with a letter wrong."""
    at = int(rng.integers(len(name)))
    letter = "abcdefghijklmnopqrstuvwxyz0123456789"[int(rng.integers(36))]
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in name)
    forms = (
        *(name.upper(), name.lower(), name.swapcase(), f" {name}", f"{name}\t", f"{name}\u00a0", wide),
        *(name[:at] + name[at + 1 :], name[:at] + letter + name[at:], name[:at] + letter + name[at + 1 :]),
        *(
            name.replace("_", " "),
            name.replace("_", "-"),
            unicodedata.normalize("NFD", name),
            name[:at] + "é" + name[at:],
        ),
    )
    return forms[int(rng.integers(len(forms)))]


def misspelt(
    rng: np.random.Generator,
    pack: Pack,
    now: datetime,
    n: int,
    folder: Path,
    names: tuple[str, ...] = (*NAMES, *SENT_NAMES, *EVENT_NAMES),
) -> Tally:
    """n contacts with one wrong name each: refused, or every action that passes does so for the one that was meant."""
    tally, world, layer = Tally(), sender(rng, CATALOG, pack), Guardrails(pack, CATALOG)
    setting = Setting(now, CATALOG, timedelta(seconds=pack.latency_margin_s), world)
    for row in readable(rng, n, now):
        there = [name for name in names if _named(row, name)]
        if not there:
            continue
        column = there[int(rng.integers(len(there)))]
        wrong, right, written = _miswritten(rng, row, column)
        try:
            batch = read(folder / "wrong.jsonl", [wrong], now)
        except DataError:
            tally.refused += 1
            continue
        allowed = layer.eligibility(batch, now, world)[0].dense()[0]
        person = person_of(row, now)
        for action in np.flatnonzero(allowed)[1:].tolist():
            channel, hour, arm = (int(axis[0]) for axis in CATALOG.split(np.array([action])))
            tally.triples += 1
            tally.sent += 1
            found = reasons(
                pack, person, Action(CATALOG.channels[channel], CATALOG.hours[hour], CATALOG.arms[arm]), setting
            )
            if found and not _another(column, written, right):
                tally.differ["misspelt"] += 1
                if tally.differ["misspelt"] <= SHOWN:
                    opened = f"opens {CATALOG.action_names[action]} against {sorted(found)}"
                    case = f"{column} {right!r} as {written!r} {opened}"
                    tally.cases.append(f"{case} at {now.isoformat()} of {shown(person)}")
    return tally


def _named(row: Row, name: str) -> bool:
    """Whether the row says the name at all."""
    column, _, field = name.partition(".")
    return any(entry.get(field) for entry in row.get(column, ())) if field else column in row


def _miswritten(rng: np.random.Generator, row: Row, name: str) -> tuple[Row, str, str]:
    """The row with one name mangled, the name as it was, and as it is written now."""
    column, _, field = name.partition(".")
    if not field:
        written = mangled(rng, str(row[column]))
        return row | {column: written}, str(row[column]), written
    entries = [dict(entry) for entry in row[column]]
    there = [entry for entry in entries if entry.get(field)]
    entry = there[int(rng.integers(len(there)))]
    right = entry[field]
    entry[field] = mangled(rng, right)
    return row | {column: entries}, right, entry[field]


def _another(column: str, written: str, meant: str) -> bool:
    """Whether a slip made another right name of the one that was meant: nobody can tell."""
    if column == "phone_area_code":
        digits = written.strip()
        return digits != meant and len(digits) == 3 and digits.isascii() and digits.isdigit()
    if column in ("country", "state"):
        return len(written.strip()) == 2 and written.strip().upper() != meant
    if column == "lists":
        return written.strip().lower() != str(meant).lower()  # lists are named by their users
    if column == "locale":
        return written.strip().lower() != str(meant).lower()  # any tag is a language
    return False
