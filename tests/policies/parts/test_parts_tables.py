"""policies/parts/tables.py, terms.py and policies/explain.py: sums by hand, and parts that add up for any weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from engine.catalog import Arm, Catalog
from engine.encoder import fit_encoder
from engine.sampling import draw
from engine.types import HOLD
from policies.check import check_policy, random_factors
from policies.explain import compare, in_words
from policies.exploring.config import ExplorationConfig
from policies.parts.frequency.waiting import Rule, encoded
from policies.parts.tables import Loss, PartTables, logistic, zero_tables
from policies.parts.terms import Terms, matches
from policies.prices.priced import priced
from policies.vw.scoring import kernels
from policies.vw.scoring.compiled import CompiledPolicy
from policies.vw.scoring.tables import ScoreTables
from tests.policies.parts.parts_worlds import SCHEMA, catalog, context

ENCODER = fit_encoder(SCHEMA, [context(500, 1)])
GREEDY = ExplorationConfig(kind="greedy")
KINDS = [
    GREEDY,
    ExplorationConfig(kind="epsilon_greedy", epsilon=0.05),
    ExplorationConfig(kind="softmax", inverse_temperature=3.0),
    ExplorationConfig(kind="squarecb", gamma_scale=5.0, ceiling=0.3, floor=0.01),
]


def random_tables(rng: np.random.Generator, scale: float) -> ScoreTables:
    shapes = ScoreTables.shapes(catalog(), ENCODER.d)
    made = {name: (scale * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}
    return ScoreTables(**{**made, "limits": np.array([-np.inf, np.inf], dtype=np.float32)})


def random_parts(seed: int, scale: float = 0.5, *, held: bool = True) -> PartTables:
    rng = np.random.default_rng(seed)
    chance, worth, money, odds, unasked = (random_tables(rng, scale) for _ in range(5))
    losses = (Loss("unsubscribed", odds, np.array([0.5, 3.0])), Loss("complained", chance, np.zeros(2)))
    return PartTables(chance, worth, money, losses, unasked if held else None, "clicked").less(
        rng.uniform(size=(2, 3)), "sending"
    )


def policy_of(tables: PartTables, exploration: ExplorationConfig = GREEDY, *, fast: bool = True) -> CompiledPolicy:
    return CompiledPolicy(catalog(), ENCODER, tables, exploration, rounds=500, fast=fast)


def flat(value: float) -> ScoreTables:
    tables = zero_tables(random_tables(np.random.default_rng(0), 1.0))
    tables.base[-1] = value
    return tables


def test_by_hand() -> None:
    """log odds 0 -> 1/2, worth 4, money 0.3; a loss of log odds log(1/9) -> 1/10 at 0.5 USD by e-mail and 2 by SMS."""
    loss = Loss("unsubscribed", flat(float(np.log(1 / 9))), np.array([0.5, 2.0]))
    tables = PartTables(flat(0.0), flat(4.0), flat(0.3), (loss,))
    scores = tables.scores(ENCODER.encode(context(2, 3)))
    np.testing.assert_allclose(scores[:, HOLD], 0.3, atol=1e-6)
    np.testing.assert_allclose(scores[:, 1:7], 2.0 + 0.3 - 0.05, atol=1e-6)
    np.testing.assert_allclose(scores[:, 7:], 2.0 + 0.3 - 0.2, atol=1e-6)


def test_a_stage_that_hold_reaches_too_is_counted_against_it() -> None:
    tables = PartTables(flat(0.0), flat(4.0), flat(0.0), (), flat(float(np.log(1 / 3))))
    np.testing.assert_allclose(tables.scores(ENCODER.encode(context(2, 3)))[:, :2], [[1.0, 2.0]] * 2, atol=1e-6)


@pytest.mark.parametrize("worth", [-5.0, 0.0])
def test_a_stage_is_never_worth_less_than_nothing(worth: float) -> None:
    tables = PartTables(flat(2.0), flat(worth), flat(0.0), (), flat(2.0))
    assert (tables.scores(ENCODER.encode(context(3, 3))) == 0.0).all()
    assert (tables.parts(ENCODER.encode(context(3, 3)), 1)["worth"] == 0.0).all()


@given(
    seed=st.integers(0, 10_000), action=st.integers(0, 12), scale=st.sampled_from([0.01, 0.5, 5.0]), held=st.booleans()
)
@settings(max_examples=60)
def test_the_parts_of_a_score_add_up(seed: int, action: int, scale: float, held: bool) -> None:
    tables = random_parts(seed, scale, held=held)
    x = ENCODER.encode(context(4, seed))
    parts = tables.parts(x, action)
    product = parts.pop("chance") * parts.pop("worth") if "chance" in parts else 0.0
    np.testing.assert_allclose(product + sum(parts.values()), tables.scores(x)[:, action], atol=1e-4 * max(1.0, scale))
    assert ("sending" in parts) == ("unsubscribed" in parts) == (action != HOLD)


@given(seed=st.integers(0, 10_000), action=st.integers(0, 12), other=st.integers(0, 12), held=st.booleans())
@settings(max_examples=60)
def test_the_parts_of_a_difference_add_up(seed: int, action: int, other: int, held: bool) -> None:
    policy, row = policy_of(random_parts(seed, held=held)), context(1, seed)
    found = compare(policy, row, action, other)
    scores = policy.scores(row)[0]
    assert found.difference == pytest.approx(scores[action] - scores[other], abs=1e-9)
    assert sum(part.value for part in found.parts) == pytest.approx(found.difference, abs=1e-5)


def test_a_score_in_words() -> None:
    """0.5 x 4 + 0.3 in all, of which 0.02 is the price of sending and 0.05 what an unsubscribed contact costs."""
    loss = Loss("unsubscribed", flat(float(np.log(1 / 9))), np.array([0.5, 2.0]))
    tables = PartTables(flat(0.0), flat(4.0), flat(0.0), (loss,), None, "clicked")
    fees = np.array([[0.02, 0.02, 0.02], [0.1, 0.1, 0.1]])
    policy = policy_of(tables.less(fees, "sending").less(np.zeros((2, 3)), "discount"))
    said = in_words(policy, context(1, 2), 1)
    assert said == "0.5000 chance of clicked x 4.0000 - 0.0200 sending - 0.0500 unsubscribed = 1.9300"
    assert in_words(policy, context(1, 2), HOLD) == "0.0000 expected money = 0.0000"
    assert (
        in_words(policy_of(PartTables(None, None, flat(-0.3))), context(1, 2), 3) == "-0.3000 expected money = -0.3000"
    )
    assert in_words(replace(policy, tables=flat(1.0)), context(1, 2), 1) is None


@pytest.mark.parametrize("exploration", KINDS, ids=lambda one: one.kind)
def test_the_contract_of_policies(exploration: ExplorationConfig) -> None:
    check_policy(policy_of(random_parts(3), exploration), catalog(), SCHEMA)


@pytest.mark.parametrize("exploration", KINDS, ids=lambda one: one.kind)
@pytest.mark.parametrize("fast", [True, False])
def test_choosing_is_drawing_from_the_distribution(exploration: ExplorationConfig, fast: bool) -> None:
    """The same action and, but for rounding, its propensity; the same bytes in one batch or many."""
    policy, n = policy_of(random_parts(4), exploration, fast=fast), 300
    rng = np.random.default_rng(5)
    left, shown, uniform = random_factors(catalog(), n, rng), context(n, 6), rng.random(n)
    eligible = left.dense()
    assert (eligible.sum(axis=1) == 1).any()
    action, propensity = policy.choose(shown, left, uniform)
    expected, share = draw(policy.distribution(shown, eligible), uniform)
    assert policy.fused == (fast and kernels.AVAILABLE)
    assert (action == expected).all()
    np.testing.assert_allclose(propensity, share, rtol=1e-12)
    pieces = [slice(0, 1), slice(1, 120), slice(120, n)]
    cut = [policy.choose(shown.take(rows), left.take(np.arange(n)[rows]), uniform[rows]) for rows in pieces]
    assert np.concatenate([one for one, _ in cut]).tobytes() == action.tobytes()
    assert np.concatenate([one for _, one in cut]).tobytes() == propensity.tobytes()
    other = replace(policy, fast=not fast).choose(shown, left, uniform)
    assert other[0].tobytes() == action.tobytes()
    np.testing.assert_allclose(other[1], propensity, rtol=1e-12)


SHAPES = {
    "all": random_parts(7),
    "hold reaches no stage": random_parts(7, held=False),
    "no loss": replace(random_parts(7), losses=()),
    "money alone": PartTables(None, None, random_parts(7).money),
    "money and a loss": replace(random_parts(7), chance=None, worth=None),
    "waiting": replace(
        random_parts(7),
        waiting=encoded(Rule("rests", (0.0, 40.0, 60.0), (2.0, 0.5, 0.0), (0.1, 0.3, 0.0)), "age", ENCODER),
    ),
    "far out": random_parts(7, 300.0),
}


@pytest.mark.parametrize("tables", SHAPES.values(), ids=SHAPES)
def test_scores_do_not_depend_on_the_batch_nor_on_the_kernel(tables: PartTables) -> None:
    """The same bytes, whichever parts there are."""
    policy, shown = policy_of(tables), context(5000, 8)
    whole = policy.scores(shown)
    cut = np.concatenate([policy.scores(shown.take(slice(start, start + 777))) for start in range(0, 5000, 777)])
    assert whole.tobytes() == cut.tobytes()
    assert replace(policy, fast=False).scores(shown).tobytes() == whole.tobytes()


def test_waiting_counts_sends_that_are_not_eligible() -> None:
    """The best gain that the charge is a share of is the same whatever is eligible, in the kernel too."""
    policy, n = policy_of(SHAPES["waiting"]), 400
    left, shown = random_factors(catalog(), n, np.random.default_rng(2)), context(n, 3)
    scores = np.where(left.dense(), replace(policy, fast=False).scores(shown), -np.inf)
    action, propensity = policy.choose(shown, left, np.full(n, 0.5))
    assert (action == scores.argmax(axis=1)).all()
    assert (propensity == 1.0).all()
    assert (replace(policy, tables=SHAPES["all"]).choose(shown, left, np.full(n, 0.5))[0] != action).any()


def test_the_logistic_function() -> None:
    """Within three units in the last place of SciPy's, and in [0, 1] at any odds."""
    odds = np.concatenate([np.linspace(-690.0, 690.0, 40_001), np.random.default_rng(0).normal(size=40_000) * 3.0])
    np.testing.assert_allclose(logistic(odds), expit(odds), rtol=7e-16)
    ends = logistic(np.array([-np.inf, -1e6, 0.0, 1e6, np.inf]))
    assert (ends[2:] == [0.5, 1.0, 1.0]).all()
    assert (ends[:2] < 1e-300).all()


def test_a_price_is_taken_from_every_send() -> None:
    policy, shown = policy_of(random_parts(9)), context(50, 9)
    price = np.array([[0.1, 0.2, 0.3], [1.0, 2.0, 3.0]])
    dear = priced(policy, price[None], catalog())
    lowered = policy.scores(shown) - dear.scores(shown)
    expected = np.concatenate([[0.0], np.repeat(price[:, None, :], 2, axis=1).ravel()])
    np.testing.assert_allclose(lowered, np.tile(expected, (50, 1)), atol=1e-6)
    never = priced(policy, np.full((1, 2, 3), 1e6), catalog())
    everything = np.ones((50, catalog().k), dtype=bool)
    assert (never.distribution(shown, everything)[:, HOLD] == 1.0).all()


def test_matches_are_found_by_name_by_alias_and_by_levels() -> None:
    """`motive` is a feature's name, `category` has an alias, `mood` shares two levels with the feature motive."""
    arms = (
        Arm(id="a", approved=True, category="shoes", attributes={"motive": "price", "mood": "trust", "brand": "own"}),
        Arm(id="b", approved=True, category="hats", attributes={"mood": "price", "brand": "own", "tone": "trust"}),
    )
    made = Catalog(name="m", channels=("email",), hours=(9,), arms=arms)
    found = {match.name: match for match in matches(made, ENCODER, {"category": "product_affinity"})}
    assert set(found) == {"motive", "category = product_affinity", "mood = motive"}
    names = ENCODER.column_names
    assert [names[column] for column in found["mood = motive"].columns] == ["motive=trust", "motive=price"]
    assert found["motive"].columns == (names.index("motive=price"), -1)
    # No contact has an affinity to hats: the second arm matches nobody.
    assert found["category = product_affinity"].columns == (names.index("product_affinity=shoes"), -1)
    assert {match.name for match in matches(made, ENCODER, {})} == {"motive", "mood = motive"}


def test_what_all_arms_share_is_no_term() -> None:
    """`brand` is own everywhere; numbers are scaled by the largest."""
    attributes = Terms(catalog(), ENCODER).attributes
    assert all(not name.startswith("brand") for own in attributes for name in own)
    assert [own["length"] for own in attributes] == [0.5, 1.0, 1.0]
    assert [own.get("discount_depth") for own in attributes] == [None, None, 1.0]
    assert [own.get("motive=price") for own in attributes] == [1.0, None, 1.0]


def test_the_text_of_an_action_names_what_it_has() -> None:
    terms = Terms(catalog(), ENCODER, matches(catalog(), ENCODER, {}))
    assert "".join(terms.texts(context(1, 1), np.array([HOLD])).to_pylist()).count("|") == 1
    sent = terms.texts(context(1, 1), np.array([1])).to_pylist()[0]
    assert {part.split()[0] for part in sent.split("|")[1:]} >= {"x", "c", "h", "a", "t"}
    alone = replace(terms, actions=False).texts(context(1, 1), np.array([1])).to_pylist()[0]
    assert alone.count("|") == 1
