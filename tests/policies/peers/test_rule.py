"""Rules that people write and read: who gets what, by hand; tuned segments decide as their rule does, by property."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.catalog import one_axis_catalog
from engine.errors import DataError
from engine.features import MISSING, PRESENT, STALE, Column, ContextBatch, FeatureSchema, FeatureSpec
from policies.check import check_policy
from policies.peers.rule import RulePolicy, in_words, read_rule, rule_yaml, segments_rule
from policies.peers.segmentation import Cut, Segmentation
from policies.peers.segments import StaticSegments

BENEFIT = {"source": "test", "collected_where": "test", "customer_benefit": "fewer messages that do not fit"}
LEVELS = ("gold", "silver", "missing", "plain")
SCHEMA = FeatureSchema(
    features=(
        FeatureSpec(name="recency", type="numeric", unit="days", **BENEFIT),
        FeatureSpec(name="tier", type="categorical", unit="level", levels=LEVELS, **BENEFIT),
    )
)
CATALOG = one_axis_catalog("test", ["a", "b", "c"])
RULE = """
name: ours
rules:
  - when: {tier: gold, recency: {from: 30, below: 90}}
    then: [c, b]
  - when: {recency: {from: 90}}
    then: hold
  - when: {tier: [gold, silver]}
    then: b
  - when: {recency: missing}
    then: c
otherwise: a
"""


def context(recency: Any, tier: Any, state: Any = None) -> ContextBatch:
    states = np.full(len(recency), PRESENT, np.uint8) if state is None else np.array(state, np.uint8)
    whole = np.full(len(recency), PRESENT, np.uint8)
    columns = {
        "recency": Column(np.where(states == PRESENT, np.array(recency, float), np.nan), states),
        "tier": Column(np.array(tier, dtype=np.int32), whole, LEVELS),
    }
    return ContextBatch(SCHEMA, columns, len(recency))


def written(path: Path, text: str) -> RulePolicy:
    path.write_text(text, encoding="utf-8")
    return read_rule(path, CATALOG, SCHEMA)


def taken(policy: Any, batch: ContextBatch, eligible: np.ndarray | None = None) -> list[int]:
    allowed = np.ones((batch.n, CATALOG.k), dtype=np.bool_) if eligible is None else eligible
    return policy.distribution(batch, allowed).argmax(axis=1).tolist()


def test_the_first_rule_that_matches_decides(tmp_path: Path) -> None:
    policy = written(tmp_path / "rule.yaml", RULE)
    assert policy.name == "ours"
    batch = context([30, 89.9, 90, 5, 5, 5, 5], [0, 0, 0, 1, 3, 3, 0], [PRESENT] * 5 + [MISSING, STALE])
    assert policy.matched(batch).tolist() == [0, 0, 1, 2, 4, 3, 2]
    assert taken(policy, batch) == [3, 3, 0, 2, 1, 3, 2]


def test_what_may_not_be_sent_gives_way_to_the_next_and_then_to_hold(tmp_path: Path) -> None:
    policy = written(tmp_path / "rule.yaml", RULE)
    batch = context([30, 30, 5], [0, 0, 1])
    allowed = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [0, 1, 0, 1]], dtype=np.bool_)
    # c, then b; neither, so hold; hold is not there either, so the first that is.
    assert taken(policy, batch, allowed) == [2, 0, 1]
    check_policy(policy, CATALOG, SCHEMA)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules: [{when: {recensy: 3}, then: a}]", "recensy"),
        ("rules: [{when: {tier: golden}, then: a}]", "golden"),
        ("rules: [{when: {tier: {from: 3}}, then: a}]", "not"),
        ("rules: [{when: {recency: gold}, then: a}]", "gold"),
        ("rules: [{when: {recency: {from: 9, below: 9}}, then: a}]", "nobody"),
        ("rules: [{when: {recency: {above: 9}}, then: a}]", "above"),
        ("rules: [{when: {recency: true}, then: a}]", "no number"),
        ("rules: [{when: {tier: yes}, then: a}]", "in quotes"),
        ("rules: [{when: {tier: [[gold]]}, then: a}]", "no text"),
        ("rules: [{when: {recency: {is: [gold]}}, then: a}]", "no levels"),
        ("rules: [{when: {}, then: z}]", "'z'"),
        ("rules: [{when: {}, then: []}]", "no action"),
        ("rules: [{if: {}, then: a}]", "if"),
        ("rules: [{when: {tier: {is: [bronze]}}, then: a}]", "bronze"),
        ("rules: []", "no rules"),
        ("rules: [", "no rule"),
        ("[]", "no rule"),
        ("otherwise: z\nrules: []", "'z'"),
    ],
)
def test_what_is_no_rule_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError) as raised:
        written(tmp_path / "rule.yaml", text)
    shown = f"{raised.value.message} {raised.value.hint}"
    assert "rule.yaml" in shown
    assert said in shown


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rule"):
        read_rule(tmp_path / "none.yaml", CATALOG, SCHEMA)


@st.composite
def tuned(draw: st.DrawFn) -> StaticSegments:
    edges = tuple(sorted(draw(st.sets(st.sampled_from([0.1, 1 / 3, 2.0, 7.5, 30.0]), max_size=3))))
    levels = tuple(draw(st.lists(st.sampled_from(LEVELS), unique=True, max_size=3)))
    cuts = draw(
        st.sampled_from(
            [
                (),
                (Cut("recency", edges=edges),),
                (Cut("tier", levels=levels, numeric=False), Cut("recency", edges=edges)),
            ]
        )
    )
    by = Segmentation(cuts)
    # Few values, so that ties are met, and actions that the log never took.
    ranks = st.lists(st.sampled_from([0.0, 1.0, 2.0, -np.inf]), min_size=CATALOG.k, max_size=CATALOG.k)
    return StaticSegments(by, np.array(draw(st.lists(ranks, min_size=by.segments, max_size=by.segments))))


@given(segments=tuned(), seed=st.integers(0, 1000))
def test_tuned_segments_decide_as_their_rule_does(tmp_path_factory: Any, segments: StaticSegments, seed: int) -> None:
    generator, n = np.random.default_rng(seed), 60
    state = generator.choice([PRESENT, PRESENT, PRESENT, MISSING, STALE], n)
    batch = context(generator.choice([0.0, 0.1, 1 / 3, 1.0, 2.0, 7.5, 50.0], n), generator.integers(4, size=n), state)
    tiers = generator.choice([PRESENT, PRESENT, MISSING, STALE], n).astype(np.uint8)
    codes = np.where(tiers == PRESENT, batch.columns["tier"].values, -1).astype(np.int32)
    batch = ContextBatch(SCHEMA, {**batch.columns, "tier": Column(codes, tiers, LEVELS)}, n)
    allowed = generator.random((n, CATALOG.k)) < 0.6
    allowed[np.arange(n), generator.integers(CATALOG.k, size=n)] = True
    path = tmp_path_factory.mktemp("rule") / "segments.yaml"
    policy = written(path, rule_yaml(segments_rule(segments, CATALOG, SCHEMA, "tuned")))
    np.testing.assert_array_equal(policy.distribution(batch, allowed), segments.distribution(batch, allowed))
    alone = read_rule(path)
    assert (alone.catalog.version, alone.schema.version) == (CATALOG.version, SCHEMA.version)


def test_conditions_are_said_in_words() -> None:
    assert in_words({}) == "everybody"
    assert in_words({"recency": {"from": 30.0, "below": 90.0}, "tier": ["gold", "silver"]}) == (
        "recency 30 to 90, tier gold or silver"
    )
    assert in_words({"recency": {"below": 5.0}, "tier": {"is": ["missing"]}}) == "recency below 5, tier missing"
    assert in_words({"tier": {"not": ["gold"]}, "recency": "missing"}) == "tier other than gold, recency missing"
