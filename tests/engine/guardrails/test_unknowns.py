"""What most contacts lack is said; what a few lack is not; and rule codes come with their words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import ContactBatch, plain_contacts
from engine.features import MISSING, PRESENT, STALE, ContextBatch, numeric_column, schema_from
from engine.guardrails.counts import RemovalCounts, RuleCount, Unknowns, nothing_left
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack

CATALOG = Catalog(name="two", channels=("email", "sms"), hours=("now",), arms=(Arm(id="a", approved=True),))
CORE = ("zone", "suppressed", "sends")


def people(n: int, **known: int) -> ContactBatch:
    """n contacts of whom nothing is known but, of the first so many, the inputs named."""
    batch = plain_contacts(np.array([f"c{row}" for row in range(n)], dtype=object), CATALOG)
    changes: dict[str, Any] = {
        "consent": np.full((n, 2, 2), -1, dtype=np.int8),
        "suppressed": np.full((n, 2), -1, dtype=np.int8),
        "zone_code": np.full(n, -1, dtype=np.int32),
        "zones": ("UTC",),
        "history_known": np.zeros(n, dtype=np.bool_),
    }
    first = np.arange(n)
    changes["consent"][first < known.get("consent", 0), 0, 0] = 0  # a refusal is a record too
    changes["suppressed"][first < known.get("suppressed", 0), 1] = 1
    changes["zone_code"][first < known.get("zone", 0)] = 0
    changes["history_known"][first < known.get("sends", 0)] = True
    return replace(batch, **changes)


@pytest.mark.parametrize(
    ("known", "inputs", "stored", "said"),
    [
        ({"consent": 0, "zone": 10, "suppressed": 10, "sends": 10}, CORE, False, ["10 of 10 contacts have no consent"]),
        (
            {"consent": 10, "zone": 2, "suppressed": 10, "sends": 10},
            CORE,
            False,
            ["8 of 10 contacts have no known time"],
        ),
        (
            {"consent": 10, "zone": 10, "suppressed": 4, "sends": 10},
            CORE,
            True,
            ["6 of 10 contacts have no known supp"],
        ),
        ({"consent": 10, "zone": 10, "suppressed": 10}, CORE, False, ["10 of 10 contacts have no known history"]),
        ({"consent": 5, "zone": 5, "suppressed": 5, "sends": 5}, CORE, False, []),
        ({"consent": 10}, (), False, []),
        ({}, (), False, ["10 of 10 contacts have no consent record for any channel: see docs/contacts.md"]),
        ({}, CORE, True, ["none of 10 contacts is known to the state store: nothing was recorded about them there"]),
        (
            {"zone": 1},
            ("zone",),
            True,
            ["10 of 10 contacts have no consent", "9 of 10 contacts have no known time zone"],
        ),
    ],
)
def test_what_most_contacts_lack(known: dict[str, int], inputs: Collection[str], stored: bool, said: list[str]) -> None:
    sentences = Unknowns.of(people(10, **known)).sentences(inputs, stored=stored)
    assert len(sentences) == len(said)
    for sentence, begin in zip(sentences, said, strict=True):
        assert sentence.startswith(begin)
        assert sentence.endswith(f"see docs/{'state' if stored else 'contacts'}.md")


@given(st.lists(st.integers(0, 6), min_size=4, max_size=4), st.integers(0, 10))
def test_blocks_add_up(known: list[int], cut: int) -> None:
    batch = people(10, **dict(zip(("consent", "zone", "suppressed", "sends"), known, strict=True)))
    rows = np.arange(10)
    parts = Unknowns.of(batch.take(rows[:cut])) + Unknowns.of(batch.take(rows[cut:]))
    assert parts == Unknowns.of(batch)


def test_rules_that_leave_nothing_are_named() -> None:
    rules = {"C1": RuleCount("consent", 9, 3), "Q1": RuleCount("quiet_hours", 4, 1), "F1": RuleCount("frequency", 1, 0)}
    said = nothing_left(RemovalCounts(3, 3, 9, 3, rules), {"C1": "consent: removes", "Q1": "quiet_hours: removes"})
    why = "C1 consent: removes (3 contacts); Q1 quiet_hours: removes (1 contacts)"
    assert said == (f"the rules leave no send to any of 3 contacts: {why}",)
    assert nothing_left(RemovalCounts(3, 3, 8, 2, rules), {}) == ()
    assert nothing_left(RemovalCounts(), {}) == ()


@pytest.mark.parametrize("pack", ["default", "full"])
def test_every_rule_of_a_pack_has_words(pack: str) -> None:
    guardrails = Guardrails(load_pack(pack), CATALOG)
    words = guardrails.words
    assert set(words) == {entry.id for entry, _ in guardrails.rules}
    for entry, _ in guardrails.rules:
        name, _, rest = words[entry.id].partition(": ")
        assert name == entry.rule
        assert len(rest.split()) >= 4
    assert words["C1"] == "consent: removes every action whose channel and purpose lack a granted consent record"


def with_features(n: int, **states: Sequence[int]) -> ContactBatch:
    """n contacts of whom everything but some features is known; the features have the given states."""
    words = {"unit": "u", "source": "s", "collected_where": "w", "customer_benefit": "something good for people"}
    schema = schema_from({"features": [{"name": name, "type": "numeric", **words} for name in states]})
    columns = {
        name: numeric_column(spec, np.ones(n), np.array(states[name], dtype=np.uint8))
        for name, spec in zip(states, schema.features, strict=True)
    }
    known = people(n, consent=n, zone=n, suppressed=n, sends=n)
    return replace(known, context=ContextBatch(schema, columns, n))


@pytest.mark.parametrize("stored", [False, True])
def test_a_feature_that_every_contact_lacks_is_said(stored: bool) -> None:
    """Two of three contacts without `some` are every day's business; `none` and `old` are columns that went astray."""
    batch = with_features(
        3, some=[PRESENT, MISSING, MISSING], none=[MISSING] * 3, old=[STALE, MISSING, STALE], more=[MISSING] * 3
    )
    parts = Unknowns.of(batch.take(np.array([0]))) + Unknowns.of(batch.take(np.array([1, 2])))
    assert parts == Unknowns.of(batch)
    assert parts.sentences(CORE, stored=stored) == (
        "3 of 3 contacts have no value of the features 'none', 'more': see docs/contacts.md",
        "3 of 3 contacts have no value of the feature 'old' that is dated and new enough: see docs/contacts.md",
    )


def test_strangers_of_a_store_have_their_features_from_the_file() -> None:
    batch = replace(people(2), context=with_features(2, none=[MISSING] * 2).context)
    strangers, features = Unknowns.of(batch).sentences(CORE, stored=True)
    assert strangers.startswith("none of 2 contacts is known")
    assert features.startswith("2 of 2 contacts have no value of the feature 'none'")
