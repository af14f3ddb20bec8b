"""An independent oracle: plain Python, one contact, one action, from the rules' words; it must agree everywhere.

It knows nothing of the layer's arrays: it reads a contact as a dictionary, asks zoneinfo for every wall clock and
counts sends in a loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import ContactBatch, order_sends, plain_contacts
from engine.guardrails.judging import judge, removed
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import Pack, RuleEntry, load_pack
from engine.guardrails.rule import Scene
from engine.time.localtime import instant_of, slot_instants, zone_names

CHANNELS = ("email", "sms", "push")
PURPOSE_NAMES = ("promotional", "transactional")
MARGIN = timedelta(minutes=10)
US = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CHANGING = ("America/New_York", "Europe/Berlin", "Australia/Lord_Howe")
OTHERS = tuple(sorted(zone_names() - set(CHANGING)))
CATALOG = Catalog(
    name="oracle",
    channels=CHANNELS,
    hours=(*range(24), "now"),
    arms=(
        Arm(id="promo", approved=True),
        Arm(id="draft"),
        Arm(id="receipt", approved=True, purpose="transactional"),
        Arm(id="english", approved=True, locale="en"),
        Arm(id="canada", approved=True, locale="fr-CA", channels=("email",)),
        Arm(id="texts", approved=True, channels=("sms", "push"), purpose="transactional"),
        Arm(id="autumn", approved=True, valid_from="2026-03-08T05:00:00-05:00", valid_until="2026-11-02T00:00:00Z"),
        Arm(id="over", approved=True, valid_until="2026-10-25T03:00:00+02:00"),
    ),
)
NOWS = (
    datetime(2026, 3, 8, 6, 40, 0, 1, tzinfo=UTC),  # New York loses an hour at 07:00
    datetime(2026, 11, 1, 5, 45, tzinfo=UTC),  # New York repeats one from 06:00
    datetime(2026, 10, 24, 23, 55, 59, 999_999, tzinfo=UTC),  # Europe repeats one from 01:00
    datetime(2026, 7, 4, 23, 52, tzinfo=UTC),
    datetime(2026, 10, 3, 15, 20, tzinfo=UTC),  # Lord Howe loses half an hour at 15:30
)


@dataclass(frozen=True)
class Words:
    """The numbers of a pack, once more, in the oracle's own form: (days, start, end) with hours as floats."""

    windows: dict[str, list[tuple[str, float, float]]]
    quiet_purposes: tuple[str, ...]
    caps: dict[str, list[tuple[int | None, timedelta, tuple[str, ...] | None]]]


DAY = timedelta(days=1)
TEXTING = [("Mon Tue Wed Thu Fri Sat", 9, 20), ("Sun", 12, 20)]
DEFAULT = Words(
    windows={"email": [("Mon Tue Wed Thu Fri Sat Sun", 7, 21)], "sms": TEXTING, "push": TEXTING},
    quiet_purposes=("promotional",),
    caps={
        "F4": [(1, DAY, None), (3, 7 * DAY, None), (8, 30 * DAY, None)],
        "F5": [(1, timedelta(hours=16), ("email",)), (1, DAY, ("sms",)), (1, DAY, ("push",))],
    },
)
STRANGE = Words(
    windows={
        "email": [("Sat", 22, 30), ("Sun", 22.5, 24)],
        "sms": [("Mon Tue Wed Thu Fri Sat Sun", 0, 24)],
        "push": [],
    },
    quiet_purposes=PURPOSE_NAMES,
    caps={
        "F4": [(None, DAY, None), (2, timedelta(seconds=5), None)],
        "F5": [(0, DAY, ("push",)), (2, 9 * DAY, ("email", "sms"))],
    },
)


def planned(zone: str | None, hour: int | str, now: datetime) -> datetime | None:
    """When a slot would be sent: the first moment from now on at which the contact's clock shows that hour."""
    if hour == "now":
        return now
    if zone is None:
        return None
    info, at = ZoneInfo(zone), now
    if at.astimezone(info).hour == hour:
        return at
    while (at + timedelta(minutes=10)).astimezone(info).hour != hour:
        at += timedelta(minutes=10)
    low, high = at, at + timedelta(minutes=10)
    while high - low > US:
        middle = low + (high - low) // 2
        low, high = (low, middle) if middle.astimezone(info).hour == hour else (middle, high)
    return high


def inside(words: Words, channel: str, zone: str, at: datetime) -> bool:
    """Whether one moment lies in a window; a window that ends after 24 belongs to the day on which it began."""
    local = at.astimezone(ZoneInfo(zone))
    for back in (0, 1):
        day = (local - timedelta(days=back)).strftime("%a") if back else local.strftime("%a")
        hours = local.hour + local.minute / 60 + 24 * back
        if any(day in days and start <= hours < end for days, start, end in words.windows[channel]):
            return True
    return False


def quiet(words: Words, contact: dict[str, Any], channel: str, purpose: str, at: datetime | None) -> bool:
    if contact["zone"] is None or at is None:
        return True
    if purpose not in words.quiet_purposes:
        return False
    moments = [at + timedelta(seconds=20 * step) for step in range(31)]
    return not all(inside(words, channel, contact["zone"], moment) for moment in moments)


def too_many(caps: list[Any], contact: dict[str, Any], channel: str, purpose: str, at: datetime | None) -> bool:
    if purpose != "promotional":
        return False
    for most, window, channels in caps:
        if most is None or (channels is not None and channel not in channels):
            continue
        if most == 0 or contact["sends"] is None or at is None:
            return True
        times = [
            sent
            for sent, sent_channel, sent_purpose in contact["sends"]
            if sent_purpose == "promotional" and (channels is None or sent_channel in channels)
        ]
        # The fullest window over the slot begins at the slot or at a send before it.
        for begin in [at, *(sent for sent in times if at - window < sent <= at)]:
            if sum(begin <= sent < begin + window for sent in times) >= most:
                return True
    return False


def unfit(contact: dict[str, Any], channel: str, arm: Arm, now: datetime, last: datetime) -> bool:
    if not arm.approved or (arm.channels and channel not in arm.channels):
        return True
    if arm.valid_from and now < datetime.fromisoformat(arm.valid_from):
        return True
    if arm.valid_until and last + MARGIN >= datetime.fromisoformat(arm.valid_until):
        return True
    if not arm.locale:
        return False
    if contact["locale"] is None:
        return True
    wanted, offered = contact["locale"].split("-"), arm.locale.split("-")
    return wanted[: len(offered)] != offered


def reasons(words: Words, contact: dict[str, Any], action: tuple[str, int | str, Arm], now: datetime) -> set[str]:
    """Ids of the rules that remove an action from a contact."""
    channel, hour, arm = action
    at = contact["slots"][hour]
    found = set()
    if contact["consent"].get((channel, arm.purpose)) != "granted":
        found.add("C1")
    if contact["suppressed"].get(channel) is not False:
        found.add("K1")
    if quiet(words, contact, channel, arm.purpose, at):
        found.add("Q9")
    found |= {name for name, caps in words.caps.items() if too_many(caps, contact, channel, arm.purpose, at)}
    if unfit(contact, channel, arm, now, contact["last"]):
        found.add("O8")
    return found


def batch_of(rng: np.random.Generator, zones: tuple[str, ...], now: datetime) -> ContactBatch:
    """One contact per zone and some without; sends at the very ends of the windows of their own slots."""
    n, now_at = len(zones), instant_of(now)
    zone_code = np.where(rng.random(n) < 0.1, -1, np.arange(n)).astype(np.int32)
    lengths = rng.choice([0, 1, 2, 3, 9], n, p=[0.3, 0.3, 0.2, 0.1, 0.1])
    owner = np.repeat(np.arange(n), lengths)
    slots = slot_instants(zones, CATALOG.hours, now_at)[owner, rng.integers(0, len(CATALOG.hours), len(owner))]
    windows = np.array([5, 57_600, 86_400, 7 * 86_400, 9 * 86_400, 30 * 86_400]) * 1_000_000
    edges = slots - rng.choice(windows, len(owner)) + rng.integers(-1, 2, len(owner))
    anywhere = now_at - rng.integers(-86_400, 35 * 86_400, len(owner)) * 1_000_000
    hostile = rng.choice([0, now_at, now_at + 1, 9_000_000_000_000_000], len(owner))
    at = np.select([rng.random(len(owner)) < 0.6, rng.random(len(owner)) < 0.9], [edges, anywhere], hostile)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    channel, purpose = rng.integers(-1, 3, len(owner)), (rng.random(len(owner)) < 0.25).astype(np.int32)
    at, channel, purpose = order_sends(offsets, at, channel.astype(np.int32), purpose)
    levels = np.array([-1, 0, 1], dtype=np.int8)
    return plain_contacts(
        np.array([f"{zone}" for zone in zones], dtype=object),
        CATALOG,
        zones=zones,
        zone_code=zone_code,
        locales=("en-GB", "fr-CA", "fr", "en"),
        locale_code=rng.integers(-1, 4, n).astype(np.int32),
        consent=rng.choice(levels, (n, 3, 2), p=[0.1, 0.1, 0.8]),
        suppressed=rng.choice(levels, (n, 3), p=[0.05, 0.9, 0.05]),
        sent_offsets=offsets,
        sent_at=at,
        sent_channel=channel,
        sent_purpose=purpose,
        history_known=(lengths > 0) | (rng.random(n) < 0.8),
    )


def contact_of(batch: ContactBatch, row: int, now: datetime) -> dict[str, Any]:
    zone = None if batch.zone_code[row] < 0 else batch.zones[batch.zone_code[row]]
    sends = range(batch.sent_offsets[row], batch.sent_offsets[row + 1])
    names = {1: "granted", 0: "denied"}
    slots = {hour: planned(zone, hour, now) for hour in CATALOG.hours}
    known = [at for at in slots.values() if at is not None]
    return {
        "zone": zone,
        "slots": slots,
        "last": max(known) if zone else now + timedelta(hours=49),
        "locale": None if batch.locale_code[row] < 0 else batch.locales[batch.locale_code[row]],
        "consent": {
            (channel, purpose): names.get(int(batch.consent[row, c, p]))
            for c, channel in enumerate(CHANNELS)
            for p, purpose in enumerate(PURPOSE_NAMES)
        },
        "suppressed": {
            channel: {0: False, 1: True}.get(int(batch.suppressed[row, c])) for c, channel in enumerate(CHANNELS)
        },
        "sends": None
        if not batch.history_known[row]
        else [
            (
                EPOCH + int(batch.sent_at[s]) * US,
                (*CHANNELS, "fax")[batch.sent_channel[s]],
                PURPOSE_NAMES[batch.sent_purpose[s]],
            )
            for s in sends
        ],
    }


def changed(pack: Pack, **params: dict[str, Any]) -> Pack:
    rules = [
        RuleEntry(
            **{name: getattr(entry, name) for name in entry.__struct_fields__}
            | {"params": params.get(entry.id, entry.params)}
        )
        for entry in pack.rules
    ]
    return Pack(name="strange", version="1", rules=tuple(rules), latency_margin_s=pack.latency_margin_s)


DAILY = {"daily": ["00:00-24:00"]}
PACKS = {
    "default": (load_pack(), DEFAULT),
    "strange": (
        changed(
            load_pack(),
            Q9={
                "applies_to": list(PURPOSE_NAMES),
                "windows": {"email": {"sat": ["22:00-06:00"], "sun": ["22:30-24:00"]}, "sms": DAILY},
            },
            F4={"caps": [{"max": None, "window_s": 86_400}, {"max": 2, "window_s": 5}]},
            F5={
                "caps": [
                    {"max": 0, "window_s": 86_400, "channels": ["push"]},
                    {"max": 2, "window_s": 9 * 86_400, "channels": ["email", "sms"]},
                ]
            },
        ),
        STRANGE,
    ),
}


def triples(rng: np.random.Generator, n: int, each: int) -> Iterator[tuple[int, int]]:
    """(contact, action) pairs; slots of every hour come up for every contact."""
    for row in range(n):
        for action in rng.choice(CATALOG.k - 1, each, replace=False) + 1:
            yield row, int(action)


@pytest.mark.parametrize("now", NOWS, ids=str)
@pytest.mark.parametrize("name", PACKS)
def test_the_layer_agrees_with_the_oracle(name: str, now: datetime) -> None:
    """2,400 (contact, action) pairs per pack and instant, 24,000 in all; zero differences, rule by rule."""
    pack, words = PACKS[name]
    rng = np.random.default_rng([NOWS.index(now), len(name)])
    layer = Guardrails(pack, CATALOG)
    batch = batch_of(rng, (*CHANGING, *rng.choice(OTHERS, 117, replace=False).tolist()), now)
    scene = Scene(CATALOG, batch, instant_of(now), pack.latency_margin_s)
    by_rule = {entry.id: ~removed(judge(rule, scene), batch.n, CATALOG).dense() for entry, rule in layer._rules}
    allowed = layer.eligibility(batch, now)[0].dense()
    contacts = [contact_of(batch, row, now) for row in range(batch.n)]
    seen = 0
    for row, action in triples(rng, batch.n, 20):
        channel, hour, arm = (int(axis[0]) for axis in CATALOG.split(np.array([action])))
        found = reasons(words, contacts[row], (CHANNELS[channel], CATALOG.hours[hour], CATALOG.arms[arm]), now)
        judged = {name for name, gone in by_rule.items() if gone[row, action]}
        assert judged == found, (batch.contact_id[row], CATALOG.action_names[action], contacts[row])
        assert allowed[row, action] == (not found)
        seen += bool(found)
    assert 0 < seen < 2_400  # the contacts are neither all allowed nor all removed
    assert allowed[:, 0].all()
