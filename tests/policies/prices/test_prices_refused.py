"""Bad budgets are refused, with their names and what is possible."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from engine.errors import ConfigError, LearnError, ParameterError
from policies.peers.constant import UniformPolicy
from policies.prices.config import BudgetSpec, FloorSpec, PriceConfig
from policies.prices.priced import priced
from policies.prices.problem import BASELINE, allowance, day_problem, group_cut
from policies.prices.solve import Dual
from policies.prices.use import Use, expected_use, no_use
from tests.policies.prices.priced_worlds import KINDS, contacts_of, policy_for, solved, total


@pytest.mark.parametrize(
    ("budget", "named"),
    [
        ({"messages": 1.0, "usd": 1.0}, "messages"),
        ({}, "messages"),
        ({"messages": -1.0}, "messages"),
        ({"messages": float("nan")}, "messages"),
        ({"usd": float("inf")}, "usd"),
        ({"messages": 1.0, "per": "campaign"}, "ends"),
        ({"messages": 1.0, "ends": "2026-12-24"}, "ends"),
        ({"messages": 1.0, "per": "campaign", "ends": "Christmas"}, "ends"),
        ({"messages": 1.0, "used": -2.0}, "used"),
        ({"messages": 1.0, "purposes": ()}, "purposes"),
        ({"messages": 1.0, "purposes": ("urgent",)}, "purposes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(f"{key}" for key in value) or "nothing",
)
def test_a_bad_budget_is_named(budget: dict[str, Any], named: str) -> None:
    with pytest.raises(ParameterError) as caught:
        BudgetSpec(name="b", **budget)
    assert f"`{named}`" in caught.value.message


@pytest.mark.parametrize(
    "config",
    [
        {"budgets": (BudgetSpec(name="b", messages=1), BudgetSpec(name="b", usd=1))},
        {"budgets": (BudgetSpec(name=BASELINE, messages=1),)},
        {"baseline": -1.0},
        {"channel_cost_usd": {"sms": -0.1}},
        {"sample": 0},
        {"tolerance": 0.0},
    ],
    ids=["twice", "reserved", "baseline", "cost", "sample", "tolerance"],
)
def test_a_bad_configuration_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        PriceConfig(**config)


@pytest.mark.parametrize(
    "floor",
    [{}, {"edges": (1.0,), "levels": ("a",)}, {"edges": (2.0, 1.0)}, {"edges": (1.0,), "least": 0.0}],
    ids=["no groups", "both", "descending", "nothing"],
)
def test_a_bad_floor_is_refused(floor: dict[str, Any], world: Any) -> None:
    with pytest.raises(ParameterError):
        FloorSpec(feature="value", **floor)
    for wrong in (FloorSpec(feature="other", edges=(1.0,)), FloorSpec(feature="value", levels=("a",))):
        with pytest.raises(ConfigError):
            group_cut(PriceConfig(floor=wrong), world.schema)


def test_unknown_channels_and_arms_are_refused(world: Any) -> None:
    for config in (
        PriceConfig(budgets=(BudgetSpec(name="b", messages=1, channels=("fax",)),)),
        PriceConfig(budgets=(BudgetSpec(name="b", usd=1),), arm_cost_usd={"nothing": 1.0}),
    ):
        with pytest.raises(ParameterError, match=r"fax|nothing"):
            day_problem(config, world.catalog, None, 5, date(2026, 1, 1), no_use(world.catalog.shape, 1), None)


def test_a_campaign_that_is_over_is_refused() -> None:
    with pytest.raises(ParameterError, match="ends"):
        allowance(BudgetSpec(name="c", messages=9, per="campaign", ends="2026-12-24"), date(2026, 12, 25))


def test_a_budget_below_what_exploration_sends_is_refused_with_the_figure(world: Any) -> None:
    """A twentieth of all decisions is uniform whatever the price; one contact may get nothing but one message."""
    contacts = contacts_of(world, 600)
    least = float(expected_use(UniformPolicy(), contacts).sends.sum()) * 0.05 + 0.95
    with pytest.raises(ParameterError, match=f"at least {least:.3g}"[:-1]) as caught:
        solved(world, total(least / 2), exploration=KINDS["epsilon_greedy"])
    assert "epsilon" in caught.value.hint
    assert solved(world, total(1.05 * least), exploration=KINDS["epsilon_greedy"]).expected[0] <= 1.05 * least


def test_budgets_that_no_prices_meet_together_are_refused() -> None:
    def evaluate(price: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        send = 3.0 * expit(price[1] - price[0])
        return np.array([send, -send]), np.ones(2)

    with pytest.raises((LearnError, ParameterError)):
        Dual(("most", "least"), np.array([1.0, -2.0]), evaluate).solve()


def test_clipped_scores_have_no_prices(world: Any) -> None:
    policy = policy_for(world)
    bounded = replace(policy.tables, limits=np.array([0.0, 1.0], dtype=np.float32))
    made = replace(policy, tables=bounded)
    with pytest.raises(ParameterError, match="clipped"):
        priced(made, np.full((1, 2, 3), 0.1), world.catalog)


def test_volume_terms_bound_all_and_each_channel(world: Any) -> None:
    baseline = Use(np.array([[[2, 9, 1], [4, 9, 0]]]) * 10**9, np.array([3]), 10)
    config = PriceConfig(per_channel=True)
    problem = day_problem(config, world.catalog, None, 20, date(2026, 1, 1), baseline, baseline)
    # Twice as many contacts as looked at; arm 1 is transactional.
    assert {term.name: term.budget for term in problem.terms} == {
        BASELINE: 14.0,
        f"{BASELINE} email": 6.0,
        f"{BASELINE} sms": 8.0,
    }
    more = PriceConfig(allow_more_volume=True)
    assert not day_problem(more, world.catalog, None, 20, date(2026, 1, 1), baseline, baseline).terms
