"""A shallow tree finds the rule behind a policy's choices, says it as a file of rules, and decides as it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.catalog import one_axis_catalog
from engine.features import MISSING, PRESENT, Column, ContextBatch, FeatureSchema
from policies.peers.rule import RulePolicy, read_rule, rule_yaml
from policies.peers.segmentation import fit_cuts
from policies.peers.tree import DEPTH, LEAVES, grow, rule_of
from tests.logs import categorical_spec, numeric_spec

CATALOG = one_axis_catalog("test", ["a", "b", "c"], hold_name="none")
SCHEMA = FeatureSchema(features=(numeric_spec("age"), categorical_spec("place")))
PLACES = ("coast", "hill", "town", "wood")
N = 4000


def context(seed: int, n: int = N, gaps: float = 0.0) -> ContextBatch:
    rng = np.random.default_rng(seed)
    state = np.where(rng.random(n) < gaps, MISSING, PRESENT).astype(np.uint8)
    columns = {
        "age": Column(rng.uniform(18.0, 80.0, n), state),
        "place": Column(rng.integers(4, size=n).astype(np.int32), np.full(n, PRESENT, dtype=np.uint8), PLACES),
    }
    return ContextBatch(SCHEMA, columns, n)


def worth_of(choice: np.ndarray, gain: float = 1.0) -> np.ndarray:
    return np.eye(CATALOG.k)[choice] * gain


def leaves_of(batch: ContextBatch, worth: np.ndarray, bins: int = 4, **options: float):
    cuts = fit_cuts(SCHEMA, SCHEMA.names, [batch], bins)
    return grow(batch, worth, cuts.cuts, **options)


def decides(leaves, batch: ContextBatch) -> np.ndarray:
    policy = RulePolicy(rule_of(leaves, CATALOG, SCHEMA, "tree"), CATALOG, SCHEMA)
    return policy.distribution(batch, np.ones((batch.n, CATALOG.k), dtype=np.bool_)).argmax(axis=1)


def test_a_policy_that_is_a_tree_is_found_whole() -> None:
    """a for the young (below the median), b for others in town or hill, c for the rest."""
    batch = context(1)
    median = float(np.quantile(batch.columns["age"].values, 0.5))
    place = batch.columns["place"].values
    young = batch.columns["age"].values < median
    choice = np.where(young, 1, np.where((place == 1) | (place == 2), 2, 3))
    leaves = leaves_of(batch, worth_of(choice))
    assert (decides(leaves, batch) == choice).all()
    assert [leaf.action for leaf in leaves] == [1, 2, 3] or sorted(leaf.action for leaf in leaves) == [1, 2, 3]
    assert sum(len(leaf.rows) for leaf in leaves) == N


def test_costly_differences_come_first() -> None:
    """By age almost nothing is at stake, by place a dollar: with one split it is by place."""
    batch = context(2)
    young, coast = batch.columns["age"].values < 50, batch.columns["place"].values == 0
    worth = worth_of(np.where(coast, 1, 2)) + 0.05 * worth_of(np.where(young, 1, 3))
    leaves = leaves_of(batch, worth, leaves=2)
    assert leaves[0].when == {"place": {"is": ["coast"]}}
    assert leaves[1].path in ({"place": {"not": ["coast"]}}, {"place": {"is": list(PLACES[1:])}})


def test_one_action_for_all_is_one_group() -> None:
    batch = context(3)
    (leaf,) = leaves_of(batch, worth_of(np.full(N, 2)))
    assert (leaf.action, leaf.when, leaf.depth) == (2, {}, 0)
    rule = rule_of([leaf], CATALOG, SCHEMA, "all")
    assert (rule.rules, rule.otherwise) == ((), ("b",))


def test_hold_is_named_where_nothing_is_better() -> None:
    batch = context(4)
    coast = batch.columns["place"].values == 0
    worth = np.zeros((N, CATALOG.k))
    worth[:, 1:] = np.where(coast, 1.0, -1.0)[:, None]
    leaves = leaves_of(batch, worth)
    assert {leaf.actions[0] for leaf in leaves} == {0, 1}
    assert (decides(leaves, batch) == np.where(coast, 1, 0)).all()


def test_missing_values_have_their_own_word() -> None:
    batch = context(5, gaps=0.3)
    missing = batch.columns["age"].state == MISSING
    leaves = leaves_of(batch, worth_of(np.where(missing, 1, 2)))
    assert leaves[0].when == {"age": "missing"}
    assert (decides(leaves, batch) == np.where(missing, 1, 2)).all()


def test_small_groups_and_small_gains_are_left_alone() -> None:
    batch = context(6)
    rare = np.zeros(N, dtype=bool)
    rare[:20] = True
    place = batch.columns["place"].values.copy()
    place[rare] = 0
    assert len(leaves_of(batch, worth_of(np.where(rare, 1, 2)))) == 1


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 3))
def test_the_tree_keeps_its_limits_and_its_rule_decides_as_it_does(seed: int, most: int, depth: int) -> None:
    batch = context(seed, 300, gaps=0.1)
    worth = np.random.default_rng(seed).normal(size=(300, CATALOG.k)) + worth_of(batch.columns["place"].values)
    leaves = leaves_of(batch, worth, leaves=most, depth=depth)
    assert 1 <= len(leaves) <= most <= LEAVES
    assert max(leaf.depth for leaf in leaves) <= depth <= DEPTH
    assert sorted(np.concatenate([leaf.rows for leaf in leaves]).tolist()) == list(range(300))
    does = decides(leaves, batch)
    for leaf in leaves:
        assert (does[leaf.rows] == leaf.action).all()
    # No group of contacts is worth less than the best single action for all of them.
    own = sum(worth[leaf.rows].mean(axis=0)[leaf.action] * len(leaf.rows) for leaf in leaves)
    assert own >= worth.sum(axis=0).max() - 1e-9


def test_the_file_is_read_again_and_decides_the_same(tmp_path: Path) -> None:
    batch = context(7, gaps=0.1)
    worth = np.random.default_rng(7).normal(size=(N, CATALOG.k)) * 0.1 + worth_of(batch.columns["place"].values)
    rule = rule_of(leaves_of(batch, worth), CATALOG, SCHEMA, "the learned policy as a rule")
    (tmp_path / "rule.yaml").write_text(rule_yaml(rule))
    again = read_rule(tmp_path / "rule.yaml")
    fresh, may = context(8), np.random.default_rng(8).random((N, CATALOG.k)) < 0.6
    may[:, 0] = True
    assert (RulePolicy(rule, CATALOG, SCHEMA).distribution(fresh, may) == again.distribution(fresh, may)).all()


@pytest.mark.parametrize("n", [0, 1])
def test_hardly_anybody_is_one_group(n: int) -> None:
    batch = context(9, max(n, 1)).take(np.arange(n))
    cuts = fit_cuts(SCHEMA, SCHEMA.names, [context(10)], 4)
    assert len(grow(batch, np.zeros((n, CATALOG.k)), cuts.cuts)) == 1
