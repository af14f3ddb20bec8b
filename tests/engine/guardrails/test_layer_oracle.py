"""The whole layer against the oracle: plain Python, from the catalogue's words; it must agree on every triple."""

from __future__ import annotations

import pytest

from engine.guardrails.pack import load_pack
from tests.engine.guardrails.oracle.differ import Tally, total
from tests.engine.guardrails.oracle.trials import trials

PACK = load_pack("default")


@pytest.fixture(scope="module")
def tally() -> Tally:
    return total(trials(PACK, 32_000, 7, blocks=20, contacts=160))


def test_the_layer_agrees_with_the_oracle(tally: Tally) -> None:
    """More than 30,000 (contact, action, now) triples, rule by rule: zero differences."""
    assert not tally.differ, "\n".join(tally.cases)
    assert tally.triples >= 30_000


def test_every_rule_is_tried_on_both_sides(tally: Tally) -> None:
    """No rule only removes, none only allows; some actions pass them all."""
    for entry in PACK.rules:
        assert tally.removed[entry.id] >= 50, entry.id
        assert tally.allowed[entry.id] >= 50, entry.id
    assert 50 < tally.sent < tally.triples
