"""The caps of every rule inside the transaction that reserves: by hand, one by one, and against the rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import ContactBatch
from engine.guardrails.judging import judge, removed
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import Pack, RuleEntry
from engine.guardrails.rule import Scene
from engine.state.facts import PastSend, Profile
from engine.state.protocols import Refused
from engine.state.sends.caps import SendRequest
from engine.state.sends.pack_caps import caps_of
from engine.state.sends.promises import requests_of
from engine.state.store import SqlState
from engine.types import MICROSECONDS_PER_S

S = MICROSECONDS_PER_S
DAY_S = 86_400
DAY = DAY_S * S
NOW = 1_790_000_000 * S
CATALOG = Catalog(
    name="caps",
    channels=("email", "sms"),
    hours=("now",),
    arms=(
        Arm(id="shoes", approved=True, category="shoes", attributes={"topic": "sale"}),
        Arm(
            id="shoes10",
            approved=True,
            category="shoes",
            discount_depth=0.1,
            attributes={"topic": "sale", "template": "shoes"},
        ),
        Arm(id="hats30", approved=True, category="hats", discount_depth=0.3, attributes={"topic": "news"}),
        Arm(id="plain", approved=True),
        Arm(id="receipt", approved=True, purpose="transactional"),
    ),
)
ARM = {arm.id: arm for arm in CATALOG.arms}

FREQUENCY = {"caps": [{"max": 1, "window_s": DAY_S, "channels": ["sms"]}]}
TOPIC = {"max": 1, "window_s": DAY_S}
COOLDOWN = {"window_s": DAY_S}
SEQUENCE = {"pairs": [{"a": {"category": "shoes"}, "b": {"category": "hats"}, "window_s": DAY_S}]}
AFTER_ARM = {"pairs": [{"a": {"arm": "plain"}, "b": {"arm": "hats30"}, "window_s": DAY_S, "both_ways": True}]}
DISCOUNT = {"max_depth": None, "max_sends": 1, "window_s": DAY_S}
PARAMS: dict[str, dict[str, Any]] = {
    "frequency": FREQUENCY,
    "topic_cap": TOPIC,
    "cooldown": COOLDOWN,
    "sequence": SEQUENCE,
    "discount": DISCOUNT,
}


def entry(rule: str, params: dict[str, Any]) -> RuleEntry:
    kept = {"kind": "eng", "jurisdiction": "any", "source": "a test", "checked_on": date(2026, 11, 23)}
    return RuleEntry(id=rule if rule == "consent" else f"cap of {rule}", rule=rule, params=params, **kept)


def layer(rule: str, params: dict[str, Any]) -> Guardrails:
    rules = (entry("consent", {}), entry(rule, params))
    return Guardrails(Pack(name="one", version="1", rules=rules, latency_margin_s=0), CATALOG)


class OneStore(NamedTuple):
    """A store that all tests of this file share, because to make one takes many synced writes; each has its contact."""

    store: SqlState
    contact: str

    def record(self, facts: Sequence[PastSend]) -> None:
        profile = Profile(self.contact, NOW, zone="UTC", region="FL", area_code="none", history_from_at=NOW - 1)
        own = [replace(f, contact_id=self.contact, decision_id=f"{self.contact} {f.decision_id}") for f in facts]
        self.store.record([profile, *own])

    def batch(self, without: Sequence[str] = ()) -> ContactBatch:
        return self.store.batch(np.array([self.contact], dtype=object), CATALOG, now_at=NOW, without=without)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlState]:
    with SqlState(f"sqlite:///{tmp_path_factory.mktemp('caps') / 'state.sqlite'}") as store:
        yield store


@pytest.fixture
def state(opened: SqlState, request: pytest.FixtureRequest) -> OneStore:
    return OneStore(opened, request.node.name)


def past(at: int, arm: str | None = None, channel: str = "sms", **more: Any) -> PastSend:
    """A send that went out; of an arm, all is told; without one, what `more` says."""
    told: dict[str, Any] = {}
    if arm is not None:
        one = ARM[arm]
        told = {
            "template": arm,
            "topic": str(one.attributes.get("topic", "")),
            "category": one.category,
            "discount": one.discount_depth,
        }
    purpose = "promotional" if arm is None else ARM[arm].purpose
    fields: dict[str, Any] = {"purpose": purpose} | told | more
    return PastSend(f"past {at} {channel} {arm} {sorted(more.items())}", "c", channel, at=at, **fields)


def refusals(
    state: OneStore, guardrails: Guardrails, arm: str, *, at: int = NOW, channel: str = "sms", key: str = "wanted"
) -> tuple[tuple[str, ...], int | None]:
    """Names of the caps that refuse a send, and when it would fit; none where it is reserved."""
    contacts = state.batch()
    action = np.array([CATALOG.index(CATALOG.channels.index(channel), 0, CATALOG.arm_ids.index(arm))], dtype=np.int32)
    ids, when = np.array([f"{state.contact} {key}"], dtype=object), np.array([at])
    wanted = requests_of(CATALOG, contacts.contact_id, ids, action, when, NOW, np.array([0]))
    (answer,) = state.store.reserve(wanted, caps_of(guardrails, contacts), now_at=NOW, lease_s=60)
    return (answer.reasons, answer.next_allowed_at) if isinstance(answer, Refused) else ((), None)


CASES = {
    # rule, parameters, wanted arm, what blocks it, what does not
    "frequency": ("frequency", FREQUENCY, "plain", {"arm": "shoes"}, {"arm": "shoes", "channel": "email"}),
    "topic_cap": ("topic_cap", TOPIC, "shoes", {"arm": "shoes10"}, {"arm": "hats30"}),
    "cooldown": ("cooldown", COOLDOWN, "shoes", {"arm": "shoes10"}, {"arm": "hats30"}),
    "sequence": ("sequence", SEQUENCE, "shoes", {"arm": "hats30"}, {"arm": "shoes10"}),
    "sequence of arms": ("sequence", AFTER_ARM, "plain", {"arm": "hats30"}, {"arm": "shoes"}),
    "sequence both ways": ("sequence", AFTER_ARM, "hats30", {"arm": "plain"}, {"arm": "shoes"}),
    "discount": ("discount", DISCOUNT, "shoes10", {"arm": "hats30"}, {"arm": "shoes"}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ago", [DAY - 1, 0, 1 - DAY])
def test_a_send_in_the_window_refuses_the_next_one(state: OneStore, case: str, ago: int) -> None:
    """Past sends, one at the same instant, and planned ones: up to a microsecond less than the window away."""
    rule, params, arm, blocking, _ = CASES[case]
    state.record([past(NOW - ago, **blocking)])
    assert refusals(state, layer(rule, params), arm) == ((f"cap of {rule}",), NOW - ago + DAY)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ago", [DAY, -DAY])
def test_a_send_a_whole_window_away_refuses_nothing(state: OneStore, case: str, ago: int) -> None:
    rule, params, arm, blocking, _ = CASES[case]
    state.record([past(NOW - ago, **blocking)])
    assert refusals(state, layer(rule, params), arm) == ((), None)


@pytest.mark.parametrize("case", CASES)
def test_a_send_of_another_kind_refuses_nothing(state: OneStore, case: str) -> None:
    rule, params, arm, _, other = CASES[case]
    state.record([past(NOW - 1, **other)])
    assert refusals(state, layer(rule, params), arm) == ((), None)


@pytest.mark.parametrize("case", [case for case in CASES if case != "frequency"])
@pytest.mark.parametrize("ago", [1, -1])
def test_a_send_of_which_nothing_is_known_may_be_any(state: OneStore, case: str, ago: int) -> None:
    """Neither template, topic, category nor depth: missing input blocks in every cap."""
    rule, params, arm, _, _ = CASES[case]
    state.record([past(NOW - ago)])
    assert refusals(state, layer(rule, params), arm) == ((f"cap of {rule}",), NOW - ago + DAY)


@pytest.mark.parametrize(
    ("case", "known"),
    [
        ("topic_cap", {"topic": "news", "template": "", "category": ""}),
        ("cooldown", {"template": "hats30", "topic": "", "category": ""}),
        ("sequence", {"category": "shoes", "template": "", "topic": ""}),
        ("sequence of arms", {"template": "shoes", "topic": "", "category": ""}),
        ("discount", {"discount": 0.0}),
    ],
)
def test_what_a_cap_reads_is_enough(state: OneStore, case: str, known: dict[str, Any]) -> None:
    """A send of which only this is known, and that it is of another kind, refuses nothing."""
    rule, params, arm, _, _ = CASES[case]
    state.record([past(NOW - 1, **known)])
    assert refusals(state, layer(rule, params), arm) == ((), None)


@pytest.mark.parametrize("blank", [" ", "\t"])
def test_blanks_are_no_template(state: OneStore, blank: str) -> None:
    state.record([past(NOW - 1, template=blank)])
    assert refusals(state, layer("cooldown", COOLDOWN), "shoes")[0] == ("cap of cooldown",)


@pytest.mark.parametrize("rule", PARAMS)
def test_transactional_sends_are_never_refused(state: OneStore, rule: str) -> None:
    state.record([past(NOW - 1), past(NOW - 2, "shoes"), past(NOW - 3, "hats30")])
    assert refusals(state, layer(rule, PARAMS[rule]), "receipt") == ((), None)


@pytest.mark.parametrize(
    ("rule", "params", "arm"),
    [
        ("frequency", {"caps": [{"max": 0, "window_s": DAY_S}]}, "plain"),
        ("topic_cap", {"max": 0, "window_s": DAY_S}, "plain"),
        ("cooldown", {"max": 0, "window_s": DAY_S}, "plain"),
        ("discount", {"max_depth": None, "max_sends": 0, "window_s": DAY_S}, "shoes10"),
    ],
)
def test_zero_is_never_and_null_is_no_cap(state: OneStore, rule: str, params: dict[str, Any], arm: str) -> None:
    state.record([])
    assert refusals(state, layer(rule, params), arm) == ((f"cap of {rule}",), None)
    state.record([past(NOW - 1, arm)])
    name = "max_sends" if rule == "discount" else "max"
    none = {"caps": [{"max": None, "window_s": DAY_S}]} if rule == "frequency" else params | {name: None}
    assert refusals(state, layer(rule, none), arm, key="again") == ((), None)


def test_a_topic_cap_of_a_state_holds_only_there(state: OneStore) -> None:
    """The contact lives in Florida and has no phone."""
    state.record([past(NOW - 1, "shoes")])
    assert refusals(state, layer("topic_cap", TOPIC | {"states": ["OK"]}), "shoes") == ((), None)
    assert refusals(state, layer("topic_cap", TOPIC | {"states": ["FL"]}), "shoes10", key="b")[0]


def test_never_again_is_ten_years(state: OneStore) -> None:
    ever = {"pairs": [{"a": {"arm": "plain"}, "b": {"arm": "hats30"}, "window_s": "ever"}]}
    state.record([past(NOW - 3000 * DAY, "hats30")])
    assert refusals(state, layer("sequence", ever), "plain")[0] == ("cap of sequence",)


def test_promises_of_the_same_call_count(state: OneStore) -> None:
    contacts = state.batch()
    wanted = [
        SendRequest(name, state.contact, "sms", "promotional", NOW, "sale", arm, "shoes", depth)
        for name, arm, depth in (("a", "shoes", 0.0), ("b", "shoes10", 0.1))
    ]
    caps = caps_of(layer("cooldown", COOLDOWN), contacts)
    answers = state.store.reserve(wanted, caps, now_at=NOW, lease_s=60)
    assert [isinstance(answer, Refused) for answer in answers] == [False, True]


@pytest.mark.parametrize("rule", PARAMS)
def test_dispatch_judges_the_caps_again(state: OneStore, rule: str) -> None:
    """Reserved while nothing stood against it; a send that became known since refuses it at dispatch."""
    arm, blocking = {
        "frequency": ("plain", "shoes"),
        "topic_cap": ("shoes", "shoes10"),
        "cooldown": ("shoes", "shoes10"),
        "sequence": ("shoes", "hats30"),
        "discount": ("shoes10", "hats30"),
    }[rule]
    guardrails = layer(rule, PARAMS[rule])
    assert refusals(state, guardrails, arm) == ((), None)
    state.record([past(NOW - 5, blocking)])
    wanted = f"{state.contact} wanted"
    contacts = state.batch(without=[wanted])
    answer = state.store.dispatch(wanted, caps_of(guardrails, contacts), now_at=NOW)
    assert isinstance(answer, Refused)
    assert answer.reasons == (f"cap of {rule}",)


def _histories(n: int, seed: int) -> list[PastSend]:
    """Sends at the ends of windows, past and planned, of known and unknown kinds, for n contacts."""
    rng = np.random.default_rng(seed)
    found = []
    for row in range(n):
        for number in range(int(rng.integers(0, 5))):
            days = int(rng.choice([-3, -2, -1, 0, 1, 2, 3]))
            at = NOW + days * DAY + int(rng.choice([-DAY // 2, -1, 0, 1, DAY // 2]))
            arm = [None, *CATALOG.arm_ids][int(rng.integers(0, 6))]
            send = past(at, arm, channel=str(rng.choice(["sms", "email", "fax"])))
            unknown = {name: "" for name in ("topic", "template", "category") if rng.random() < 0.15}
            if rng.random() < 0.15:
                unknown["discount"] = None  # type: ignore[assignment]
            if rng.random() < 0.1:
                unknown["template"] = "retired"
            found.append(replace(send, contact_id=str(row), decision_id=f"{row}/{number}", **unknown))
    return found


def _with_two(params: dict[str, Any], rule: str) -> dict[str, Any]:
    if rule == "frequency":
        caps = [{"max": 2, "window_s": 2 * DAY_S}, {"max": 1, "window_s": DAY_S, "channels": ["email", "sms"]}]
        return {"caps": caps}
    if rule == "sequence":
        pairs = [{"a": {"topic": "sale"}, "b": {"topic": "news"}, "window_s": 2 * DAY_S, "both_ways": True}]
        return {"pairs": [*SEQUENCE["pairs"], *AFTER_ARM["pairs"], *pairs]}
    return params | {"max_sends" if rule == "discount" else "max": 2, "window_s": 2 * DAY_S}


@pytest.mark.parametrize("more", [False, True], ids=["one", "two"])
@pytest.mark.parametrize("rule", PARAMS)
def test_the_cap_refuses_what_the_rule_removes(opened: SqlState, rule: str, more: bool) -> None:
    """On the same store and at the same instant both say the same of 200 contacts and every action."""
    params = _with_two(PARAMS[rule], rule) if more else PARAMS[rule]
    guardrails, who = layer(rule, params), np.array([f"{rule} {more} {row}" for row in range(200)], dtype=object)
    histories = [
        replace(send, contact_id=f"{rule} {more} {send.contact_id}", decision_id=f"{rule} {more} {send.decision_id}")
        for send in _histories(200, 7 + more)
    ]
    opened.record([*(Profile(name, NOW, zone="UTC", history_from_at=NOW - 1) for name in who), *histories])
    contacts = opened.batch(who, CATALOG, now_at=NOW)
    scene = Scene(CATALOG, contacts, NOW, 0)
    allowed = removed(judge(guardrails.rules[1][1], scene), contacts.n, CATALOG).dense()
    caps = caps_of(guardrails, contacts)
    refused = []
    for action in range(1, CATALOG.k):
        ids = np.array([f"{name} wants {action}" for name in who], dtype=object)
        chosen, at = np.full(contacts.n, action, dtype=np.int32), np.full(contacts.n, NOW)
        wanted = requests_of(CATALOG, contacts.contact_id, ids, chosen, at, NOW, np.arange(contacts.n))
        # The lease is over at the next look: one action must not stand against another one of the same contact.
        answers = opened.reserve(wanted, caps, now_at=NOW + action * 2 * S, lease_s=1)
        refused.append([isinstance(answer, Refused) for answer in answers])
    assert np.array_equal(np.array(refused).T, ~allowed[:, 1:])
    assert 100 < (~allowed[:, 1:]).sum() < 0.9 * allowed[:, 1:].size
