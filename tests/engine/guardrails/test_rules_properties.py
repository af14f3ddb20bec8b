"""What holds of every rule that looks back: tightening, and more history, never allow more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.guardrails.registry import make_rule
from tests.engine.guardrails.histories import (
    CATALOG,
    NOW_AT,
    WALL,
    allowed_of,
    contact,
    detailed,
    left,
    require_first,
    scene,
    without_events,
    without_sends,
)

DAY_S = 86_400
Params = dict[str, Any]
SEQUENCE = {"pairs": [{"a": {"topic": "sale"}, "b": {"category": "hats"}, "window_s": DAY_S * 2}]}
LATER = {"pairs": [{"a": {"topic": "sale"}, "b": {"category": "hats"}, "window_s": DAY_S * 9}]}
EVER = {"pairs": [{"a": {"topic": "sale"}, "b": {"category": "hats"}, "window_s": "ever"}]}
# rule, loose, strict
TIGHTER: list[tuple[str, Params, Params]] = [
    ("frequency", {"caps": [{"max": 2, "window_s": 9 * DAY_S}]}, {"caps": [{"max": 1, "window_s": 9 * DAY_S}]}),
    ("frequency", {"caps": [{"max": 2, "window_s": DAY_S}]}, {"caps": [{"max": 2, "window_s": 2 * DAY_S}]}),
    ("frequency", {"caps": [{"max": None, "window_s": DAY_S}]}, {"caps": [{"max": 0, "window_s": DAY_S}]}),
    ("topic_cap", {"max": 2, "window_s": 9 * DAY_S}, {"max": 1, "window_s": 9 * DAY_S}),
    ("topic_cap", {"max": 2, "window_s": 9 * DAY_S, "states": ["FL"]}, {"max": 2, "window_s": 9 * DAY_S}),
    ("topic_cap", {"max": 1, "window_s": DAY_S}, {"max": 1, "window_s": 8 * DAY_S}),
    ("topic_cap", {"max": None, "window_s": DAY_S}, {"max": 0, "window_s": DAY_S}),
    ("cooldown", {"window_s": DAY_S}, {"window_s": 15 * DAY_S}),
    ("cooldown", {"window_s": 30 * DAY_S, "max": 2}, {"window_s": 30 * DAY_S}),
    ("cooldown", {"window_s": DAY_S, "max": None}, {"window_s": DAY_S, "max": 0}),
    ("sequence", SEQUENCE, LATER),
    ("sequence", LATER, EVER),
    ("sunset", {"max_unengaged": 3, "window_s": 40 * DAY_S}, {"max_unengaged": 2, "window_s": 40 * DAY_S}),
    ("sunset", {"max_unengaged": 2, "window_s": 10 * DAY_S}, {"max_unengaged": 2, "window_s": 40 * DAY_S}),
    (
        "sunset",
        {"max_unengaged": 2, "window_s": DAY_S, "idle_s": 30 * DAY_S},
        {"max_unengaged": 2, "window_s": DAY_S, "idle_s": 9 * DAY_S},
    ),
    ("sunset", {"max_unengaged": None, "window_s": 1}, {"max_unengaged": 0, "window_s": 1}),
    ("recent_purchase", {"window_s": 5 * DAY_S}, {"window_s": 14 * DAY_S}),
    ("recent_purchase", {"window_s": 5 * DAY_S}, {"window_s": 5 * DAY_S, "scope": "all"}),
    ("recent_purchase", {"window_s": None}, {"window_s": DAY_S}),
    ("open_ticket", {"after_s": DAY_S}, {"after_s": 3 * DAY_S}),
    (
        "discount",
        {"max_depth": 0.2, "max_sends": None, "window_s": 1},
        {"max_depth": 0, "max_sends": None, "window_s": 1},
    ),
    (
        "discount",
        {"max_depth": None, "max_sends": 2, "window_s": 9 * DAY_S},
        {"max_depth": None, "max_sends": 1, "window_s": 9 * DAY_S},
    ),
    (
        "discount",
        {"max_depth": None, "max_sends": 9, "window_s": DAY_S},
        {"max_depth": None, "max_sends": 0, "window_s": DAY_S},
    ),
    ("margin_floor", {"floor_usd": None, "send_cost_usd": {}}, {"floor_usd": -1e9, "send_cost_usd": {}}),
    ("margin_floor", {"floor_usd": 0, "send_cost_usd": {"*": 0}}, {"floor_usd": 6, "send_cost_usd": {"*": 0}}),
    ("margin_floor", {"floor_usd": 0, "send_cost_usd": {"*": 0}}, {"floor_usd": 0, "send_cost_usd": {"*": 9}}),
    ("first_touch", {"tau": 0.2}, {"tau": 0.7}),
    ("first_touch", {"tau": 0.5}, {"tau": 0.5, "window_s": 3 * DAY_S}),
    ("sticky_price", {"life_s": DAY_S}, {"life_s": 14 * DAY_S}),
    ("sticky_price", {"life_s": None}, {"life_s": DAY_S}),
]
NAMES = [f"{at}-{case[0]}" for at, case in enumerate(TIGHTER)]
BY_SENDS = ("frequency", "topic_cap", "cooldown", "sequence", "sunset", "discount", "sticky_price")
BY_EVENTS = {"recent_purchase": ("purchased",), "open_ticket": ("complained",), "sunset": ()}


@pytest.mark.parametrize("catalog", [CATALOG, WALL], ids=["with now", "wall hours"])
@pytest.mark.parametrize(
    ("rule", "loose", "strict"), TIGHTER, ids=[f"{at}-{case[0]}" for at, case in enumerate(TIGHTER)]
)
def test_tightening_never_allows_more(rule: str, loose: Params, strict: Params, catalog: Any) -> None:
    at = scene(detailed(catalog, 400, NOW_AT, seed=3), catalog=catalog)
    wide, narrow = allowed_of(rule, loose, at), allowed_of(rule, strict, at)
    assert not (narrow & ~wide).any()
    assert narrow.sum() < wide.sum()


@pytest.mark.parametrize(("rule", "params"), [(name, strict) for name, _, strict in TIGHTER if name in BY_SENDS])
@given(seed=st.integers(0, 10**6), share=st.floats(0, 1))
@settings(max_examples=12, deadline=None)
def test_more_sends_never_allow_more(rule: str, params: Params, seed: int, share: float) -> None:
    contacts = detailed(CATALOG, 40, NOW_AT, seed)
    before = allowed_of(rule, params, scene(without_sends(contacts, share, seed)))
    assert not (allowed_of(rule, params, scene(contacts)) & ~before).any()


@pytest.mark.parametrize(("rule", "params"), [(name, strict) for name, _, strict in TIGHTER if name in BY_EVENTS])
@given(seed=st.integers(0, 10**6), share=st.floats(0, 1))
@settings(max_examples=12, deadline=None)
def test_more_that_holds_never_allows_more(rule: str, params: Params, seed: int, share: float) -> None:
    contacts = detailed(CATALOG, 40, NOW_AT, seed)
    before = allowed_of(rule, params, scene(without_events(contacts, share, seed, BY_EVENTS[rule])))
    assert not (allowed_of(rule, params, scene(contacts)) & ~before).any()


FIRST: list[tuple[str, Params]] = [
    (
        "frequency",
        {"caps": [{"max": 1, "window_s": 2 * DAY_S}, {"max": 2, "window_s": 5 * DAY_S, "channels": ["sms"]}]},
    ),
    ("topic_cap", {"max": 1, "window_s": 4 * DAY_S}),
    ("cooldown", {"window_s": 9 * DAY_S}),
    ("sequence", {**LATER}),
    ("sunset", {"max_unengaged": 2, "window_s": 9 * DAY_S, "idle_s": 30 * DAY_S}),
    ("recent_purchase", {"window_s": 6 * DAY_S}),
    ("open_ticket", {}),
    ("discount", {"max_depth": 0.2, "max_sends": 1, "window_s": 9 * DAY_S}),
    ("first_touch", {"tau": 0.5, "window_s": 6 * DAY_S}),
    ("sticky_price", {"life_s": 8 * DAY_S}),
]


@pytest.mark.parametrize("catalog", [CATALOG, WALL], ids=["with now", "wall hours"])
@pytest.mark.parametrize(("rule", "params"), FIRST, ids=[name for name, _ in FIRST])
def test_next_allowed_at_is_the_first_instant(rule: str, params: Params, catalog: Any) -> None:
    """By brute force over the hours from now, and the minutes and microseconds just before."""
    contacts = detailed(catalog, 300, NOW_AT, seed=11)
    touched = ~allowed_of(rule, params, scene(contacts, catalog=catalog)).all(axis=1)
    # Contacts with planned sends first: of them alone the first touch has an end.
    planned = np.array([contacts.take(np.array([row])).sent_at.max(initial=0) > NOW_AT for row in range(contacts.n)])
    chosen = [*np.flatnonzero(touched & planned)[:6], *np.flatnonzero(touched & ~planned)[:6]]
    tried = sum(require_first(rule, params, contacts.alone(int(row)), catalog) for row in chosen)
    assert tried > 0


@pytest.mark.parametrize(
    ("rule", "params"),
    [
        ("topic_cap", {"max": None, "window_s": 1}),
        ("cooldown", {"max": None, "window_s": 1}),
        ("frequency", {"caps": [{"max": None, "window_s": 1}]}),
        ("sequence", {"pairs": [{"a": {"arm": "shoes"}, "b": {"arm": "news"}, "window_s": None}]}),
        ("sunset", {"max_unengaged": None, "window_s": 1}),
        ("recent_purchase", {"window_s": None}),
        ("discount", {"max_depth": None, "max_sends": None, "window_s": 1}),
        ("margin_floor", {"floor_usd": None, "send_cost_usd": {}}),
        ("sticky_price", {"life_s": None}),
    ],
)
def test_null_is_no_cap(rule: str, params: Params) -> None:
    """Even for contacts of whom nothing is known."""
    assert make_rule(rule, params).reads in {(), ("sends",)}
    assert left(rule, params, contact(None, None, zone=None, state=None)) == set(CATALOG.arm_ids)


@pytest.mark.parametrize(
    ("rule", "params"),
    [
        ("topic_cap", {"max": 0, "window_s": 1}),
        ("cooldown", {"max": 0, "window_s": 1}),
        ("frequency", {"caps": [{"max": 0, "window_s": 1}]}),
        ("sunset", {"max_unengaged": 0, "window_s": 1}),
    ],
)
def test_zero_is_never(rule: str, params: Params) -> None:
    """Nothing was sent, nothing happened; only the transactional arm is exempt."""
    assert left(rule, params, contact()) == {"receipt"}


@pytest.mark.parametrize(
    ("rule", "params", "message"),
    [
        ("topic_cap", {"max": -1, "window_s": 1}, "0 or more"),
        ("topic_cap", {"max": 1, "window_s": 0}, "1 s to 10 years"),
        ("topic_cap", {"max": 1, "window_s": 1, "states": []}, "states"),
        ("topic_cap", {"max": 1, "window_s": 1, "channels": []}, "channels"),
        ("topic_cap", {"max": 1, "window_s": 1, "counts": ["fun"]}, "counts"),
        ("topic_cap", {"window_s": 1}, "max"),
        ("cooldown", {"max": -2, "window_s": 1}, "0 or more"),
        ("cooldown", {"window_s": -1}, "window_s"),
        ("cooldown", {"window_s": 1, "applies_to": ["all"]}, "applies_to"),
        ("sequence", {"pairs": [{"a": {}, "b": {"arm": "x"}, "window_s": 1}]}, "exactly one"),
        ("sequence", {"pairs": [{"a": {"arm": "x", "topic": "y"}, "b": {"arm": "x"}, "window_s": 1}]}, "exactly one"),
        ("sequence", {"pairs": [{"a": {"arm": ""}, "b": {"arm": "x"}, "window_s": 1}]}, "exactly one"),
        ("sequence", {"pairs": [{"a": {"arm": "x"}, "b": {"arm": "x"}, "window_s": 0}]}, "window_s"),
        ("sequence", {"pairs": [{"a": {"arm": "x"}, "b": {"arm": "x"}, "window_s": "always"}]}, "window_s"),
        ("sunset", {"max_unengaged": -1, "window_s": 1}, "0 or more"),
        ("sunset", {"max_unengaged": 1, "window_s": 1, "idle_s": 0}, "idle_s"),
        ("sunset", {"max_unengaged": 1, "window_s": 1, "engaged_by": ["complained"]}, "engaged_by"),
        ("sunset", {"max_unengaged": 1, "window_s": 1, "engaged_by": []}, "engaged_by"),
        ("recent_purchase", {"window_s": 0}, "window_s"),
        ("recent_purchase", {"window_s": 1, "scope": "item"}, "scope"),
        ("recent_purchase", {}, "window_s"),
        ("open_ticket", {"after_s": -1}, "after_s"),
        ("open_ticket", {"opened_by": ["ticket_closed"]}, "opened_by"),
        ("discount", {"max_depth": 1.1, "max_sends": 1, "window_s": 1}, "in \\[0, 1\\]"),
        ("discount", {"max_depth": float("nan"), "max_sends": 1, "window_s": 1}, "max_depth"),
        ("discount", {"max_depth": 0.1, "max_sends": -1, "window_s": 1}, "max_sends"),
        ("margin_floor", {"floor_usd": float("inf"), "send_cost_usd": {}}, "floor_usd"),
        ("margin_floor", {"floor_usd": 0, "send_cost_usd": {"sms": -1}}, "send_cost_usd"),
        ("margin_floor", {"floor_usd": 0, "send_cost_usd": {"sms": float("nan")}}, "send_cost_usd"),
        ("first_touch", {"tau": 1.5}, "tau"),
        ("first_touch", {"tau": float("nan")}, "tau"),
        ("first_touch", {"tau": 0.5, "window_s": 0}, "window_s"),
        ("sticky_price", {"life_s": 0}, "life_s"),
        ("features_allowed", {"features": [" "]}, "features"),
        ("features_allowed", {}, "features"),
    ],
)
def test_numbers_out_of_range_are_refused(rule: str, params: Params, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_rule(rule, params)
