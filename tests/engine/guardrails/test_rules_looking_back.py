"""The rules that look back pass the conformance suite, with every kind of parameters."""

from __future__ import annotations

from typing import Any

import pytest

from engine.guardrails.check import check_rule
from engine.guardrails.registry import make_rule
from engine.types import PURPOSES
from tests.engine.guardrails.histories import CATALOG, WALL, detailed

DAY_S = 86_400
BOTH = list(PURPOSES)
RULES: list[tuple[str, dict[str, Any]]] = [
    ("topic_cap", {"max": 1, "window_s": DAY_S * 9}),
    ("topic_cap", {"max": 2, "window_s": DAY_S * 20, "states": ["FL"], "channels": ["sms"], "applies_to": BOTH}),
    ("topic_cap", {"max": 0, "window_s": 1, "states": ["OK"]}),
    ("cooldown", {"window_s": DAY_S * 5}),
    ("cooldown", {"window_s": DAY_S * 30, "max": 2, "applies_to": BOTH}),
    ("cooldown", {"window_s": DAY_S, "max": 0}),
    (
        "sequence",
        {
            "pairs": [
                {"a": {"arm": "news"}, "b": {"category": "hats"}, "window_s": DAY_S * 6},
                {"a": {"topic": "sale"}, "b": {"topic": "news"}, "window_s": "ever"},
                {"a": {"category": "hats"}, "b": {"arm": "shoes10"}, "window_s": DAY_S * 3, "both_ways": True},
            ]
        },
    ),
    ("sunset", {"max_unengaged": 2, "window_s": DAY_S * 30}),
    ("sunset", {"max_unengaged": 1, "window_s": DAY_S * 30, "idle_s": DAY_S * 20, "engaged_by": ["clicked"]}),
    ("sunset", {"max_unengaged": None, "window_s": 1, "idle_s": DAY_S * 10, "applies_to": BOTH}),
    ("sunset", {"max_unengaged": 0, "window_s": 1}),
    ("recent_purchase", {"window_s": DAY_S * 14}),
    ("recent_purchase", {"window_s": DAY_S * 3, "scope": "all", "applies_to": BOTH}),
    ("open_ticket", {}),
    ("open_ticket", {"after_s": 0, "opened_by": ["complained"], "applies_to": BOTH}),
    ("discount", {"max_depth": 0.2, "max_sends": 2, "window_s": DAY_S * 30}),
    ("discount", {"max_depth": None, "max_sends": 1, "window_s": DAY_S * 3}),
    ("discount", {"max_depth": 0, "max_sends": 0, "window_s": 1}),
    ("margin_floor", {"floor_usd": 0, "send_cost_usd": {"email": 0.001, "sms": 0.05}}),
    ("margin_floor", {"floor_usd": 1, "send_cost_usd": {}}),
    ("first_touch", {"tau": 0.5}),
    ("first_touch", {"tau": 0.2, "window_s": DAY_S * 7, "applies_to": BOTH}),
    ("sticky_price", {"life_s": DAY_S * 7}),
    ("sticky_price", {"life_s": DAY_S * 30, "applies_to": BOTH}),
    ("features_allowed", {"features": [], "attributes": []}),
    ("frequency", {"caps": [{"max": 2, "window_s": DAY_S * 5}]}),
    ("content", {}),
]


@pytest.mark.parametrize("catalog", [CATALOG, WALL], ids=["with now", "wall hours"])
@pytest.mark.parametrize(("name", "params"), RULES, ids=[f"{at}-{name}" for at, (name, _) in enumerate(RULES)])
def test_conforms(name: str, params: dict[str, Any], catalog: Any) -> None:
    check_rule(make_rule(name, params), catalog, detailed)
