"""policies/wrappers/safe.py: the practice stays unless the bags agree, with exact propensities around either."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest

from engine.eligibility import Eligibility
from engine.encoder import fit_encoder
from engine.errors import ParameterError
from engine.sampling import draw
from engine.types import PURPOSES
from policies.check import check_policy
from policies.exploring.config import ExplorationConfig
from policies.parts.tables import Loss, PartTables, zero_tables
from policies.peers.constant import AlwaysPolicy, UniformPolicy
from policies.prices.priced import priced
from policies.vw.scoring.tables import ScoreTables
from policies.wrappers.safe import SafePolicy

# Student's t with 3 degrees of freedom, one-sided 0.9; from a table.
T_3 = 1.6377


@pytest.fixture(scope="module")
def small(make_world):
    """One channel, one hour, two arms: hold, a and b."""
    return make_world(1, 1, 2)


def tables_of(world, a: float, b: float) -> ScoreTables:
    """Scores 0, a and b for everybody."""
    d = fit_encoder(world.schema, [world.context(50, seed=1)], 8).d
    shapes = ScoreTables.shapes(world.catalog, d)
    empty = ScoreTables(**{name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()})
    plain = zero_tables(empty)
    arm = plain.arm.copy()
    arm[:, -1] = (a, b)
    return replace(plain, arm=arm)


def safe(world, bags, *, practice="a", kind="greedy", mean=(1.0, 2.0), **more) -> SafePolicy:
    encoder = fit_encoder(world.schema, [world.context(50, seed=1)], 8)
    names = dict(zip(("hold", "a", "b"), world.catalog.action_names, strict=True))
    today = AlwaysPolicy(world.catalog, names[practice]) if isinstance(practice, str) else practice
    return SafePolicy(
        world.catalog,
        encoder,
        PartTables(None, None, tables_of(world, *mean)),
        ExplorationConfig(kind=kind, **more.pop("explored", {})),
        100,
        bags=tuple(PartTables(None, None, tables_of(world, *one)) for one in bags),
        practice=today,
        **more,
    )


AGREED = [(1.0, 1.8), (1.0, 2.2), (1.0, 1.9), (1.0, 2.1)]
SPLIT = [(1.0, 0.0), (1.0, 4.0), (1.0, 1.0), (1.0, 3.0)]


def test_the_bound_by_hand(small) -> None:
    """b over a: gain 1; bags 0.8, 1.2, 0.9, 1.1: sd sqrt(0.1 / 3) = 0.1826. Hold over a: -1 in every bag, sd 0."""
    context = small.context(3, seed=2)
    today = np.tile([0.0, 1.0, 0.0], (3, 1))
    lower = safe(small, AGREED).lower(context, today)
    np.testing.assert_allclose(lower, np.tile([-1.0, 0.0, 1.0 - T_3 * 0.182574], (3, 1)), atol=1e-4)


@pytest.mark.parametrize(
    ("bags", "practice", "chosen"),
    [(AGREED, "a", 2), (SPLIT, "a", 1), (SPLIT, "b", 2), (AGREED, "hold", 2), (SPLIT, "hold", 1)],
)
def test_only_what_the_bags_agree_on_is_changed(small, bags, practice, chosen) -> None:
    """Over hold, a is worth 1 in every bag of both kinds; b is worth 2, but in SPLIT with sd 1.83."""
    context, every = small.context(5, seed=3), np.ones((5, 3), dtype=bool)
    policy = safe(small, bags, practice=practice)
    found = policy.distribution(context, every)
    assert (found.argmax(axis=1) == chosen).all()
    assert (found.max(axis=1) == 1.0).all()
    kept = chosen == {"hold": 0, "a": 1, "b": 2}[practice]
    assert (policy.kept(context, every) == kept).all()


def test_an_action_that_only_ties_with_the_practice_is_not_taken(small) -> None:
    same = safe(small, [(1.0, 1.0)] * 4, mean=(1.0, 1.0))
    found = same.distribution(small.context(2, seed=3), np.ones((2, 3), dtype=bool))
    assert found.tolist() == [[0.0, 1.0, 0.0]] * 2


def test_more_confidence_keeps_more(small) -> None:
    context, every = small.context(5, seed=3), np.ones((5, 3), dtype=bool)
    bags = [(1.0, 1.6), (1.0, 2.4), (1.0, 1.7), (1.0, 2.3)]
    assert not safe(small, bags, confidence=0.9).kept(context, every).any()
    assert safe(small, bags, confidence=0.99).kept(context, every).all()


def test_the_practice_falls_back_where_its_action_is_not_eligible(small) -> None:
    eligible = np.array([[True, False, True]])
    assert safe(small, SPLIT).distribution(small.context(1, seed=3), eligible).tolist() == [[1.0, 0.0, 0.0]]


@pytest.mark.parametrize("kind", ["greedy", "epsilon_greedy", "softmax", "squarecb"])
@pytest.mark.parametrize("practice", ["a", "hold", UniformPolicy()], ids=["a", "hold", "uniform"])
def test_it_is_a_policy(small, kind, practice) -> None:
    check_policy(safe(small, SPLIT, practice=practice, kind=kind), small.catalog, small.schema)


def test_exploration_is_around_the_safe_choice(small) -> None:
    context, every = small.context(4, seed=3), np.ones((4, 3), dtype=bool)
    found = safe(small, SPLIT, kind="epsilon_greedy", explored={"epsilon": 0.3}).distribution(context, every)
    np.testing.assert_allclose(found, np.tile([0.1, 0.8, 0.1], (4, 1)), atol=1e-12)


def test_a_practice_by_chance_keeps_its_own_probabilities(small) -> None:
    context, every = small.context(4, seed=3), np.ones((4, 3), dtype=bool)
    # Worth is the same everywhere, so nothing is better than a draw among all.
    level = safe(small, [(0.0, 0.0)] * 4, practice=UniformPolicy(), mean=(0.0, 0.0), kind="epsilon_greedy")
    np.testing.assert_array_equal(level.distribution(context, every), UniformPolicy().distribution(context, every))
    # b beats a draw among 0, 1 and 2 by one, in every bag.
    assert (safe(small, AGREED, practice=UniformPolicy()).distribution(context, every)[:, 2] == 1.0).all()


def test_draws_are_those_of_the_distribution(small) -> None:
    context, rng = small.context(700, seed=4), np.random.default_rng(1)
    policy, uniform = safe(small, SPLIT, kind="squarecb"), rng.random(700)
    by_hour = np.ones((700, len(PURPOSES), 1, 1), dtype=bool)
    may = Eligibility(rng.random((700, 1, 2)) < 0.7, by_hour, small.catalog.purpose_codes)
    action, propensity = policy.choose(context, may, uniform)
    expected = draw(policy.distribution(context, may.dense()), uniform)
    np.testing.assert_array_equal(action, expected[0])
    np.testing.assert_array_equal(propensity, expected[1])


def test_slow_and_fast_paths_agree_and_it_can_be_pickled(small) -> None:
    context, every = small.context(90, seed=5), np.ones((90, 3), dtype=bool)
    policy = safe(small, AGREED, kind="squarecb")
    first = policy.distribution(context, every)
    np.testing.assert_array_equal(replace(policy, fast=False).distribution(context, every), first)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(policy)).distribution(context, every), first)


def test_a_price_counts_in_every_bag(small) -> None:
    """At a price of 3 a send neither a (1) nor b (2) is worth it any more, surely: hold is left."""
    context, every = small.context(4, seed=3), np.ones((4, 3), dtype=bool)
    dear = priced(safe(small, AGREED), np.full((1, 1, 2), 3.0), small.catalog)
    assert isinstance(dear, SafePolicy)
    assert (dear.distribution(context, every)[:, 0] == 1.0).all()


def test_losses_count_in_the_gain(small) -> None:
    """A loss of half of 4 USD by every send, the same in all bags: hold is better than a by 1."""
    policy = safe(small, AGREED)
    even = Loss("left", zero_tables(policy.tables.money), np.array([4.0]))
    lossy = replace(policy, tables=replace(policy.tables, losses=(even,)))
    found = lossy.lower(small.context(1, seed=3), np.array([[0.0, 1.0, 0.0]]))
    assert found[0, 0] == pytest.approx(1.0, abs=1e-6)


@dataclass
class Wrong:
    """Answers with no numbers."""

    name: str = "wrong"

    def distribution(self, context, eligible):
        return eligible


def test_refusals(small) -> None:
    with pytest.raises(ParameterError, match="`bags` of SafePolicy must be at least 4, got 3"):
        safe(small, AGREED[:3])
    for confidence in (0.5, 1.0, 2.0, float("nan")):
        with pytest.raises(ParameterError, match="confidence"):
            safe(small, AGREED, confidence=confidence)
    with pytest.raises(ParameterError, match="an array of floats"):
        safe(small, AGREED, practice=Wrong()).distribution(small.context(1, seed=3), np.ones((1, 3), dtype=bool))
