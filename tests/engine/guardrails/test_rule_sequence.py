"""Never A with B, A not within a while of B, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.guardrails.histories import HOUR_US, NOW_AT, Send, contact, found, gone, left


def pair(a: dict[str, str], b: dict[str, str], window_s: Any = 172_800, **more: Any) -> dict[str, Any]:
    return {"pairs": [{"a": a, "b": b, "window_s": window_s, **more}]}


@pytest.mark.parametrize(
    ("a", "b", "send", "expected"),
    [
        ({"arm": "news"}, {"arm": "shoes"}, Send(24, template="shoes"), {"news"}),
        ({"category": "shoes"}, {"topic": "news"}, Send(24, topic="news"), {"shoes", "shoes10", "laces"}),
        ({"topic": "sale"}, {"category": "hats"}, Send(24, category="hats"), {"shoes", "shoes10"}),
        ({"topic": "sale"}, {"category": "hats"}, Send(48, category="hats"), set()),  # exactly the window
        ({"topic": "sale"}, {"category": "hats"}, Send(24, category="coats"), set()),
        ({"topic": "sale"}, {"category": "hats"}, Send(24), {"shoes", "shoes10"}),  # it may have been hats
        ({"arm": "news"}, {"arm": "receipt"}, Send(1, purpose="transactional", template="receipt"), {"news"}),
    ],
)
def test_a_is_not_sent_soon_after_b(a: dict[str, str], b: dict[str, str], send: Send, expected: set[str]) -> None:
    assert gone("sequence", pair(a, b), contact([send])) == expected


def test_an_arm_is_known_by_its_id_not_by_a_template_that_is_another_arm() -> None:
    """shoes10 uses the template "shoes", which is also an arm of its own."""
    rule = pair({"arm": "news"}, {"arm": "shoes10"})
    assert gone("sequence", rule, contact([Send(1, template="shoes10")])) == {"news"}
    assert gone("sequence", rule, contact([Send(1, template="shoes")])) == set()


def test_one_way_unless_both_are_asked_for() -> None:
    a, b = {"arm": "news"}, {"arm": "hats30"}
    who = contact([Send(1, template="news")])
    assert gone("sequence", pair(a, b), who) == set()
    assert gone("sequence", pair(a, b, both_ways=True), who) == {"hats30"}


def test_never_again_after() -> None:
    ever = pair({"arm": "news"}, {"arm": "hats30"}, "ever")
    who = contact([Send(24 * 3000, template="hats30")])
    assert gone("sequence", ever, who) == {"news"}
    assert found("sequence", ever, who)["news"].next_allowed_at is None


def test_the_pair_that_holds_longest_is_named() -> None:
    both = {
        "pairs": [*pair({"arm": "news"}, {"arm": "shoes"})["pairs"], *pair({"arm": "news"}, {"topic": "sale"})["pairs"]]
    }
    who = contact([Send(40, template="shoes", topic="news"), Send(10, topic="sale", template="laces")])
    finding = found("sequence", both, who)["news"]
    assert (finding.observed, finding.next_allowed_at) == ("topic 'sale'", NOW_AT + 38 * HOUR_US)


def test_an_unknown_history_blocks_what_is_in_scope() -> None:
    rule = pair({"arm": "news"}, {"arm": "shoes"})
    assert left("sequence", rule, contact(None)) == {"receipt"}
