"""The rules that read the sender's conditions: brake, operations, emergency, volume, ramp."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import plain_contacts
from engine.eligibility import Eligibility
from engine.errors import ConfigError
from engine.guardrails.check import check_rule
from engine.guardrails.conditions import (
    NOTHING_SAID,
    ChannelHealth,
    Conditions,
    Held,
    conditions_from,
    load_conditions,
)
from engine.guardrails.judging import findings, judge, removed
from engine.guardrails.pack import Pack, load_pack
from engine.guardrails.registry import make_rule
from engine.guardrails.rule import Scene
from engine.guardrails.specimens import specimen_contacts
from engine.identity import uniforms
from engine.time.localtime import DAY_US
from engine.types import HOLD

CATALOG = Catalog(
    name="sender",
    channels=("email", "sms"),
    hours=(9, "now"),
    arms=(Arm(id="promo", approved=True), Arm(id="receipt", approved=True, purpose="transactional")),
)
NOW = 20_000 * DAY_US + 12 * 3_600_000_000
FINE = {name: ChannelHealth(100_000) for name in CATALOG.channels}


@pytest.fixture(scope="module")
def entries() -> Pack:
    """The shipped pack."""
    return load_pack("full")


def params(entries: Pack, name: str) -> tuple[str, dict[str, Any]]:
    entry = next(entry for entry in entries.rules if entry.id == name)
    return entry.rule, entry.params


def scene(conditions: Conditions = NOTHING_SAID, n: int = 3, now_at: int = NOW, **extra: list[str]) -> Scene:
    ids = np.array([f"c{row}" for row in range(n)], dtype=object)
    levels = {name: tuple(sorted(set(values))) for name, values in extra.items()}
    columns = {
        name: np.array([levels[name].index(value) for value in values], dtype=np.int32)
        for name, values in extra.items()
    }
    return Scene(CATALOG, plain_contacts(ids, CATALOG, extra=columns, levels=levels), now_at, 600, conditions)


def left(rule: tuple[str, dict[str, Any]], at: Scene) -> Eligibility:
    return removed(judge(make_rule(*rule), at), at.contacts.n, CATALOG)


def open_cells(rule: tuple[str, dict[str, Any]], at: Scene) -> set[str]:
    """ "channel|arm" that some slot of the first contact still has."""
    actions = np.flatnonzero(left(rule, at).dense()[0])
    names = {CATALOG.action_names[action] for action in actions if action != HOLD}
    return {f"{name.split('|')[0]}|{name.split('|')[2]}" for name in names}


EVERYTHING = {"email|promo", "email|receipt", "sms|promo", "sms|receipt"}
RECEIPTS = {"email|receipt", "sms|receipt"}


def worlds() -> dict[str, Conditions]:
    slow = ChannelHealth(100_000, complaints=150, opt_outs=2300)
    return {
        "nothing said": NOTHING_SAID,
        "fine": Conditions(killed=False, health=FINE, sent_today={"email": 0, "sms": 0}),
        "slow": Conditions(killed=False, health={"email": slow, "sms": slow}, paused_states=frozenset({"FL"})),
        "paused": Conditions(killed=False, paused_channels=frozenset({"sms"}), paused_arms=frozenset({"promo"})),
        "full": Conditions(
            killed=False, sent_today={"email": 900_000, "sms": 5}, sent_yesterday={"email": 800_000, "sms": 5}
        ),
    }


@pytest.mark.parametrize("name", ["O11", "O13", "D1", "D6", "D8-carrier", "D8-optout", "F10", "F11"])
def test_the_shipped_rules_conform(entries: Pack, name: str) -> None:
    check_rule(make_rule(*params(entries, name)), CATALOG)


@pytest.mark.parametrize("name", ["O11", "O13", "D1", "D8-optout", "F10", "F11"])
@pytest.mark.parametrize("world", worlds())
def test_blocks_and_explanations_in_every_world(entries: Pack, name: str, world: str) -> None:
    """Any block of contacts gives the same; what is removed is explained, and next_allowed_at passes."""
    rule = make_rule(*params(entries, name))
    at = Scene(CATALOG, specimen_contacts(CATALOG, 64, NOW), NOW, 600, worlds()[world])
    whole = removed(judge(rule, at), 64, CATALOG).packed()
    for rows in (np.array([5]), np.arange(63, -1, -1)):
        part = replace(at, contacts=at.contacts.take(rows))
        assert np.array_equal(removed(judge(rule, part), len(rows), CATALOG).packed(), whole[rows])
    for row in range(20):
        alone = replace(at, contacts=at.contacts.alone(row))
        found = findings(rule, alone)
        gone = np.flatnonzero(~removed(judge(rule, alone), 1, CATALOG).dense()[0])
        assert [action for action, _ in found] == gone.tolist()
        for action, finding in found:
            assert finding.reason
            if finding.next_allowed_at is not None:
                assert finding.next_allowed_at > NOW
                then = replace(alone, now_at=finding.next_allowed_at)
                before = replace(alone, now_at=finding.next_allowed_at - 1)
                assert removed(judge(rule, then), 1, CATALOG).dense()[0, action]
                assert not removed(judge(rule, before), 1, CATALOG).dense()[0, action]


def test_an_unknown_channel_is_braked(entries: Pack) -> None:
    optout = params(entries, "D8-optout")
    assert open_cells(optout, scene()) == RECEIPTS
    assert open_cells(optout, scene(Conditions(health={"sms": FINE["sms"]}))) == RECEIPTS | {"sms|promo"}
    assert open_cells(optout, scene(Conditions(health=FINE))) == EVERYTHING
    # The complaint brake watches e-mail only.
    assert open_cells(params(entries, "D1"), scene()) == RECEIPTS | {"sms|promo"}


def test_one_complaint_among_39_does_not_brake(entries: Pack) -> None:
    health = {"email": ChannelHealth(39, complaints=1)}
    assert open_cells(params(entries, "D1"), scene(Conditions(health=health))) == EVERYTHING


@pytest.mark.parametrize(
    ("name", "channel", "counts"),
    [
        ("D1", "email", {"complaints": 250}),
        ("D6", "email", {"hard_bounces": 2200}),
        ("D8-carrier", "sms", {"carrier_filtered": 1100}),
        ("D8-optout", "sms", {"opt_outs": 3200}),
    ],
)
def test_each_brake_stops_its_channel(entries: Pack, name: str, channel: str, counts: dict[str, int]) -> None:
    world = Conditions(health={**FINE, channel: ChannelHealth(100_000, **counts)})
    assert open_cells(params(entries, name), scene(world)) == EVERYTHING - {f"{channel}|promo"}
    alone = scene(world, n=1)
    found = findings(make_rule(*params(entries, name)), alone)
    assert {finding.observed["events"] for _, finding in found} == set(counts.values())
    assert all("is stopped" in finding.reason for _, finding in found)


def test_a_held_brake_stays_on_and_a_warning_removes_nothing(entries: Pack) -> None:
    held = ChannelHealth(100_000, held={"complaints": Held("hard", 6, 19_999)})
    assert open_cells(params(entries, "D1"), scene(Conditions(health={"email": held}))) == EVERYTHING - {"email|promo"}
    warned = ChannelHealth(100_000, complaints=97)
    assert open_cells(params(entries, "D1"), scene(Conditions(health={"email": warned}))) == EVERYTHING


def test_slow_keeps_the_share_and_not_always_the_same_contacts(entries: Pack) -> None:
    world = Conditions(health={"email": ChannelHealth(100_000, complaints=150)})
    email = CATALOG.action_names.index("email|now|promo")
    n = 20_000
    kept = [left(params(entries, "D1"), scene(world, n, NOW + day * DAY_US)).dense()[:, email] for day in (0, 1)]
    # Five standard errors of a share of one half, and of one quarter.
    assert abs(kept[0].mean() - 0.5) < 5 * np.sqrt(0.25 / n)
    assert abs((kept[0] & kept[1]).mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / n)
    later = left(params(entries, "D1"), scene(world, n, NOW + 3_600_000_000)).dense()[:, email]
    assert np.array_equal(later, kept[0])  # the same day, the same contacts
    # The draw of a decision knows nothing of it: propensities stay those of the policy over the logged set.
    draws = uniforms(np.array([f"d{row}" for row in range(n)], dtype=object), 0)
    assert abs(np.corrcoef(draws, kept[0])[0, 1]) < 5 / np.sqrt(n)


def test_thinning_is_done_once(entries: Pack) -> None:
    """At dispatch slow lets everybody through who was let through at the decision; stop still holds."""
    slow = Conditions(health={"email": ChannelHealth(100_000, complaints=150)}, dispatching=True)
    assert left(params(entries, "D1"), scene(slow, 200)).dense().all()
    stop = Conditions(health={"email": ChannelHealth(100_000, complaints=250)}, dispatching=True)
    assert open_cells(params(entries, "D1"), scene(stop)) == EVERYTHING - {"email|promo"}


def test_the_kill_switch_and_the_pauses(entries: Pack) -> None:
    rule = params(entries, "O11")
    assert open_cells(rule, scene()) == set()  # nobody said that it is off
    assert open_cells(rule, scene(Conditions(killed=True))) == set()
    assert open_cells(rule, scene(Conditions(killed=False))) == EVERYTHING
    lenient = ("operations", {"silence_kills": False})
    assert open_cells(lenient, scene()) == EVERYTHING
    assert open_cells(lenient, scene(Conditions(killed=True))) == set()
    assert open_cells(lenient, scene(Conditions(paused_channels=frozenset({"sms"})))) == {
        "email|promo",
        "email|receipt",
    }
    paused = Conditions(killed=False, paused_channels=frozenset({"sms"}), paused_arms=frozenset({"promo"}))
    assert open_cells(rule, scene(paused)) == {"email|receipt"}
    use_case = Conditions(killed=False, use_case="cart", paused_use_cases=frozenset({"cart"}))
    assert open_cells(rule, scene(use_case)) == set()
    in_pack = ("operations", {"pause_channels": ["email"], "pause_arms": ["receipt"], "pause_use_cases": ["x"]})
    assert open_cells(in_pack, scene(Conditions(killed=False, use_case="cart"))) == {"sms|promo"}
    assert open_cells(in_pack, scene(Conditions(killed=False))) == set()  # nobody said that it is not the paused one
    reasons = {f.reason for _, f in findings(make_rule(*rule), scene(paused, n=1))}
    assert reasons == {"channel 'sms' is paused", "arm 'promo' is paused"}
    assert {f.observed for _, f in findings(make_rule(*rule), scene(n=1))} == {"unknown"}


def test_emergencies_hold_by_residence_and_by_area_code(entries: Pack) -> None:
    world = Conditions(paused_states=frozenset({"FL"}))
    at = scene(world, n=4, state=["FL", "NY", "", "NY"], area_state=["NY", "FL", "", "NY"])
    promo = CATALOG.action_names.index("sms|now|promo")
    receipt = CATALOG.action_names.index("sms|now|receipt")
    dense = left(params(entries, "O13"), at).dense()
    assert dense[:, promo].tolist() == [False, False, True, True]
    assert dense[:, receipt].all()
    assert not left(params(entries, "O13"), scene(world)).dense()[:, promo].any()  # nobody knows where they live
    assert not left(params(entries, "O13"), scene(n=1)).dense()[:, promo].any()
    finding = findings(make_rule(*params(entries, "O13")), replace(at, contacts=at.contacts.alone(1)))[0][1]
    assert finding.observed == {"state": "NY", "area_state": "FL"}
    in_pack = ("emergency", {"states": ["NY"], "applies_to": ["promotional", "transactional"]})
    quiet = replace(at, conditions=NOTHING_SAID)
    assert left(in_pack, quiet).dense()[:, receipt].tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("params_", "sent", "is_open"),
    [
        ({"max_per_day": 10}, {"sent_today": {"email": 4, "sms": 5}}, True),
        ({"max_per_day": 10}, {"sent_today": {"email": 5, "sms": 5}}, False),
        ({"max_per_day": 10}, {"sent_today": {"email": 5}}, False),  # nobody counted SMS
        ({"max_per_day": 10}, {}, False),
        ({"max_per_day": None}, {}, True),
        ({"max_per_day": 0}, {"sent_today": {"email": 0, "sms": 0}}, False),
        ({"max_per_7d": 10}, {"sent_7d": {"email": 9, "sms": 0}}, True),
        ({"max_per_7d": 10}, {"sent_7d": {"email": 9, "sms": 1}}, False),
        ({"max_per_day": 10, "channels": ["email"]}, {"sent_today": {"email": 9}}, True),
    ],
)
def test_volume(params_: dict[str, Any], sent: dict[str, Any], is_open: bool) -> None:
    cells = open_cells(("volume", params_), scene(Conditions(**sent)))
    assert cells == (EVERYTHING if is_open else RECEIPTS)


@pytest.mark.parametrize(
    ("today", "yesterday", "is_open"),
    [(1199, 1000, True), (1200, 1000, False), (499, 0, True), (500, 0, False), (0, None, False), (None, 10, False)],
)
def test_ramp(today: int | None, yesterday: int | None, is_open: bool) -> None:
    """20 % more than 1,000 is 1,200; without a yesterday the floor of 500 holds."""
    world = Conditions(
        sent_today={} if today is None else {"email": today},
        sent_yesterday=None if yesterday is None else {"email": yesterday},
    )
    rule = ("ramp", {"growth": 0.2, "floor": 500, "channels": ["email"]})
    assert open_cells(rule, scene(world)) == (EVERYTHING if is_open else EVERYTHING - {"email|promo"})


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_more_sent_never_opens(today: int, yesterday: int, more: int) -> None:
    rules = [("ramp", {"growth": 0.2, "floor": 500}), ("volume", {"max_per_day": 400_000})]
    for rule in rules:
        cells = [
            open_cells(rule, scene(Conditions(sent_today={"email": sent, "sms": sent}, sent_yesterday=before), n=1))
            for sent in (today, today + more)
            for before in ({"email": yesterday, "sms": yesterday},)
        ]
        assert cells[1] <= cells[0]


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("brake", {"brake": {"rate": "smiles", "tiers": []}}, "rate"),
        ("brake", {"brake": {"rate": "opt_outs", "tiers": []}}, "tiers"),
        ("brake", {}, "brake"),
        ("volume", {"max_per_day": -1}, "max_per_day"),
        ("volume", {"channels": []}, "channels"),
        ("ramp", {"growth": -0.1, "floor": 1}, "growth"),
        ("ramp", {"growth": 0.1, "floor": -1}, "floor"),
        ("ramp", {"growth": 0.1, "floor": 1, "channels": []}, "channels"),
        ("emergency", {"states": [""]}, "states"),
        ("emergency", {"applies_to": []}, "applies_to"),
        ("operations", {"pause": 1}, "unknown field"),
    ],
)
def test_bad_parameters(name: str, bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_rule(name, bad)


def test_conditions_come_from_files_and_go_into_footers(tmp_path: Path) -> None:
    text = "killed: false\nhealth: {email: {sent: 5, held: {complaints: {tier: hard}}}}\npaused_states: [FL]\n"
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    read = load_conditions(tmp_path / "c.yaml")
    assert read.health == {"email": ChannelHealth(5, held={"complaints": Held("hard")})}
    assert conditions_from(read.to_builtins()) == read
    assert NOTHING_SAID.to_builtins() == {}


@pytest.mark.parametrize(
    "text",
    ["killed: maybe", "heath: {}", "health: {email: {sent: -1}}", "sent_today: {email: -1}", "[", "- 1", "killed: 0"],
)
def test_conditions_that_are_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        load_conditions(tmp_path / "c.yaml")
    with pytest.raises(ConfigError):
        load_conditions(tmp_path / "nothing.yaml")
