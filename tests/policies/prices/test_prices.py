"""Prices: by hand, what holds for any budget."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax

from engine.catalog import Arm, Catalog
from engine.errors import ParameterError
from engine.sampling import check_distribution
from policies.check import check_policy, random_eligible
from policies.exploring.config import ExplorationConfig
from policies.peers.constant import UniformPolicy
from policies.peers.segmentation import Cut
from policies.prices.config import BudgetSpec, FloorSpec, PriceConfig
from policies.prices.priced import priced
from policies.prices.pricing import Costs, Problem, Term, find_prices, prices_from
from policies.prices.problem import allowance, campaign_use, day_problem, group_cut
from policies.prices.solve import Dual
from policies.prices.use import Contacts, ContactSample, cell_sends, expected_use, no_use
from policies.vw.scoring.compiled import CompiledPolicy, EnsemblePolicy, mean_tables
from tests.policies.prices.priced_worlds import KINDS, contacts_of, policy_for, solved, tables_for, total, use_at

# By hand.


@pytest.mark.parametrize("zone", ["localtime", "GMT+2", "Europe/Berlni", ""])
def test_the_days_of_a_campaign_begin_in_a_zone(zone: str) -> None:
    with pytest.raises(ParameterError, match="`zone` of prices must be a zone"):
        PriceConfig(zone=zone)


def test_a_small_linear_programme_has_its_known_duals() -> None:
    """Three contacts with gains 5, 3, 1, budget 1.5 of 1 message each, at temperature 1/50: the price is about 3.

    max sum p_i g_i s.t. sum p_i <= 1.5: contact 1 whole, contact 2 half; the dual is the gain of the marginal one.
    """
    gains = np.array([5.0, 3.0, 1.0])

    def evaluate(price: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        send = expit(50.0 * (gains - price[0]))
        return np.array([send.sum()]), np.array([1.5])

    found = Dual(("all",), np.array([1.5]), evaluate, tolerance=1e-6).solve()
    assert found.price[0] == pytest.approx(3.0, abs=1e-4)
    assert 1.5 * (1 - 1e-6) <= found.use[0] <= 1.5


def test_two_budgets_share_one_price_where_both_bind() -> None:
    """sms gains 4, e-mail gains 3; one of each wanted, budgets: 1/2 sms and 1/2 in all: p_all = 3 and p_sms = 1.

    At the optimum nobody is indifferent between another split: sms pays 4 = p_all + p_sms, e-mail 3 = p_all.
    """

    def evaluate(price: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        share = softmax(40.0 * np.array([4.0 - price[0] - price[1], 3.0 - price[0], 0.0]))
        return np.array([share[0] + share[1], share[0]]), np.array([2 / 3, 1 / 3])

    found = Dual(("all", "sms"), np.array([2 / 3, 1 / 3]), evaluate, tolerance=1e-5).solve()
    assert found.price == pytest.approx([3.0, 1.0], abs=1e-3)


def test_a_jump_is_met_from_below() -> None:
    def evaluate(price: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.array([10.0 if price[0] < 2.0 else 4.0]), np.array([7.0])

    found = Dual(("all",), np.array([7.0]), evaluate).solve()
    assert found.use[0] == 4.0
    assert found.price[0] == pytest.approx(2.0, abs=1e-6)


def test_a_budget_that_does_not_bind_costs_nothing_and_changes_nothing(world: Any) -> None:
    found = solved(world, total(1e6))
    assert found.price == (0.0,)
    policy = policy_for(world)
    assert priced(policy, found.table(world.catalog), world.catalog) is policy


def test_amounts_by_hand() -> None:
    arms = (Arm(id="a", approved=True), Arm(id="t", approved=True, purpose="transactional"))
    catalog = Catalog(name="two", channels=("email", "sms"), hours=(9, 18), arms=arms)
    costs = Costs(channel={"sms": 0.04}, arm={"a": 1.0}, charged=True)
    usd = Term(name="m", unit="usd", budget=1.0, purposes=("promotional", "transactional"))
    assert usd.amounts(catalog, costs, 1).tolist() == [[[1.0, 0.0], [1.04, 0.04]]]
    one = Term(name="e", unit="messages", budget=1.0, channels=("email",))
    assert one.amounts(catalog, costs, 1).tolist() == [[[1.0, 0.0], [0.0, 0.0]]]
    share = Term(name="f", unit="share", budget=0.0, group=1, share=0.25)
    assert share.amounts(catalog, costs, 2).tolist() == [[[0.25, 0.0], [0.25, 0.0]], [[-0.75, 0.0], [-0.75, 0.0]]]
    problem = Problem(catalog, (usd, one), costs)
    # What is charged anyway, 2 per dollar, 0.5 per e-mail.
    assert problem.table([2.0, 0.5])[0] == pytest.approx(np.array([[3.5, 0.0], [3.12, 0.12]]))


def test_sends_are_summed_over_hours_by_hand() -> None:
    """2 channels x 2 hours x 1 arm: the cells (c, h) hold .1, .2, .3, .1, hold the rest."""
    assert cell_sends(np.array([[0.3, 0.1, 0.2, 0.3, 0.1]]), (2, 2, 1))[0] == pytest.approx(np.array([[0.3], [0.4]]))


@pytest.mark.parametrize(
    ("today", "used", "left"),
    [("2026-12-22", 0.0, 30.0), ("2026-12-24", 0.0, 90.0), ("2026-12-23", 60.0, 15.0), ("2026-12-24", 120.0, 0.0)],
    ids=["three days", "last day", "two days", "all used"],
)
def test_a_campaign_is_paced_over_the_days_that_are_left(today: str, used: float, left: float) -> None:
    spec = BudgetSpec(name="c", messages=90, per="campaign", ends="2026-12-24")
    assert allowance(spec, date.fromisoformat(today), used) == left


def test_what_a_campaign_has_used_counts_its_own_sends(world: Any) -> None:
    config = PriceConfig(
        budgets=(
            BudgetSpec(name="c", usd=9, per="campaign", ends="2026-12-24", used=0.5),
            BudgetSpec(name="day", messages=3),
        ),
        channel_cost_usd={"sms": 0.1},
    )
    sent = np.array([[5, 5, 5], [2, 7, 1]])
    # Arms 0 and 2 are promotional: 3 sends by sms at 0.1 each.
    assert campaign_use(config, world.catalog, sent) == {"c": pytest.approx(0.8)}


# What holds for any policy and budget.


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_smaller_budget_has_a_higher_price_and_fewer_sends(kind: str, world: Any) -> None:
    free = solved(world, total(1e9), exploration=KINDS[kind]).expected[0]
    found = [solved(world, total(share * free), exploration=KINDS[kind]) for share in (0.9, 0.6, 0.3)]
    prices = [one.price[0] for one in found]
    assert 0.0 < prices[0] < prices[1] < prices[2]
    for share, one in zip((0.9, 0.6, 0.3), found, strict=True):
        # The choice of a single contact is a jump of up to a message.
        assert share * free - 1.0 <= one.expected[0] <= share * free


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_priced_policy_passes_the_conformance_suite(kind: str, world: Any) -> None:
    table = np.random.default_rng(5).uniform(0.0, 0.3, size=(1, 2, 3))
    check_policy(priced(policy_for(world, KINDS[kind]), table, world.catalog), world.catalog, world.schema)


def test_grouped_thinned_and_voting_policies_pass_it_too(world: Any) -> None:
    cut = Cut("value", edges=(0.0,))
    table = np.random.default_rng(6).uniform(-0.2, 0.4, size=(cut.cells, 2, 3))
    encoder, tables = tables_for(world, 1)
    members = (tables, tables_for(world, 2)[1])
    bag = EnsemblePolicy(
        world.catalog, encoder, mean_tables(members), ExplorationConfig(kind="bag"), 9, fast=False, members=members
    )
    for policy in (policy_for(world), UniformPolicy(), bag):
        check_policy(priced(policy, table, world.catalog, cut), world.catalog, world.schema)


def test_prices_lower_every_score_by_what_they_say(world: Any) -> None:
    policy, context = policy_for(world), world.context(40, 2)
    table = np.arange(6.0).reshape(1, 2, 3) / 10
    under = priced(policy, table, world.catalog)
    assert isinstance(under, CompiledPolicy)
    channel, _, arm = world.catalog.split(np.arange(1, world.catalog.k))
    lowered = policy.scores(context) - under.scores(context)
    assert lowered[:, 0] == pytest.approx(0.0)
    assert lowered[:, 1:] == pytest.approx(np.tile(table[0][channel, arm], (40, 1)), abs=1e-6)


@given(seed=st.integers(0, 1000), price=st.floats(0.0, 3.0), uniform=st.sampled_from([0.0, 0.2]))
def test_use_is_the_same_in_blocks_of_any_size_and_order(world: Any, seed: int, price: float, uniform: float) -> None:
    policy = priced(policy_for(world), np.full((1, 2, 3), price), world.catalog)
    whole = contacts_of(world, 97, seed)
    expected = expected_use(policy, whole, uniform=uniform)
    order = np.random.default_rng(seed).permutation(97)
    found = no_use(world.catalog.shape, 1)
    for rows in np.array_split(order, 1 + seed % 7):
        part = Contacts(whole.context.take(rows), whole.packed[rows], whole.shape, len(rows))
        found = found + expected_use(policy, part, uniform=uniform)
    assert found.cells.tobytes() == expected.cells.tobytes()
    assert (found.sendable.tolist(), found.rows) == (expected.sendable.tolist(), expected.rows)


@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_the_sample_does_not_depend_on_blocks(world: Any, sizes: list[int], seed: int) -> None:
    n = sum(sizes)
    keys, whole = np.random.default_rng(seed).random(n), contacts_of(world, max(n, 3), seed)
    sample = ContactSample(7, world.catalog.shape)
    start = 0
    for size in sizes:
        at = np.arange(start, start + size)
        rows = at[sample.wanted(keys[at])]
        sample.add(keys[rows], np.ones(len(rows), dtype=np.bool_), whole.context.take(rows), whole.packed[rows])
        start += size
    taken = np.concatenate([batch.packed for batch in sample.batches()] or [whole.packed[:0]])
    smallest = np.sort(np.argsort(keys)[:7])
    assert sample.seen == n
    assert taken.tobytes() == whole.packed[smallest].tobytes()


def test_several_budgets_hold_together_and_slack_ones_are_free(world: Any) -> None:
    free = solved(world, total(1e9)).expected[0]
    terms = (
        total(0.7 * free),
        Term(name="sms", unit="messages", budget=0.1 * free, channels=("sms",)),
        Term(name="email", unit="messages", budget=free, channels=("email",)),
        Term(name="money", unit="usd", budget=0.02 * free),
    )
    found = solved(world, *terms, costs=Costs(channel={"email": 0.02, "sms": 0.3}))
    for term, price, use in zip(terms, found.price, found.expected, strict=True):
        assert use <= term.budget
        assert price == 0.0 or use >= 0.99 * term.budget
    assert found.price[2] == 0.0
    assert found.price[3] > 0.0


def test_a_least_volume_is_bought_by_a_subsidy(world: Any) -> None:
    free = solved(world, total(1e9)).expected[0]
    found = solved(world, total(1.02 * free, least=True))
    assert found.price[0] > 0.0
    assert -found.expected[0] == pytest.approx(1.02 * free, rel=0.01)


def test_a_floor_moves_sends_to_the_group_at_equal_volume(world: Any) -> None:
    """Contacts with a low value are sent to less; with the floor they get their share, and the volume stays."""
    config = PriceConfig(floor=FloorSpec(feature="value", edges=(0.0,), least=0.95))
    groups = group_cut(config, world.schema)
    assert groups is not None
    policy, contacts = policy_for(world, KINDS["softmax"]), contacts_of(world, 300)
    free = use_at(policy, contacts, world.catalog, groups.cut)(np.zeros((groups.cut.cells, 2, 3)))
    budget = float(free.sends.sum()) / 2
    problem = day_problem(config, world.catalog, groups, 300, date(2026, 1, 1), free, budget)
    found = find_prices(problem, use_at(policy, contacts, world.catalog, groups.cut))
    sends = use_at(policy, contacts, world.catalog, groups.cut)(found.table(world.catalog)).sends
    counted = problem.terms[0].counted(world.catalog)
    by_group = (sends * counted).sum(axis=(1, 2))
    fair = 0.95 * free.sendable / free.sendable.sum()
    assert (by_group >= fair * by_group.sum() - 1e-6).all()
    assert by_group.sum() <= budget
    assert max(found.price[1:]) > 0.0


def test_prices_come_back_from_plain_data(world: Any) -> None:
    found = solved(world, total(50.0))
    again = prices_from(msgspec.json.decode(msgspec.json.encode(found.to_builtins())))
    assert again == found
    assert again.version == found.version
    assert again.table(world.catalog).tobytes() == found.table(world.catalog).tobytes()


def test_a_thinned_policy_keeps_a_share_of_its_sends(world: Any) -> None:
    context, eligible = world.context(30, 1), random_eligible(world.catalog, 30, np.random.default_rng(1))
    eligible[5, 0] = False
    eligible[5, 1] = True
    before = UniformPolicy().distribution(context, eligible)
    after = priced(UniformPolicy(), np.full((1, 2, 3), np.log(4.0)), world.catalog).distribution(context, eligible)
    check_distribution(after, eligible, "thinned")
    rows = eligible[:, 0]
    assert after[rows, 1:] == pytest.approx(before[rows, 1:] / 4)
    assert after[5].tobytes() == before[5].tobytes()
