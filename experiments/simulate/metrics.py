"""The metrics of a simulated log: what the events of a decision are worth within the scenario's attribution window."""

from __future__ import annotations

import numpy as np

from engine.log.join import MetricSpec
from simulator.scenario import Scenario
from simulator.world.metrics import conversion_of

MONEY = ("purchased", "refunded", "sent", "unsubscribed", "complained")
# Range of the money of one decision where the population does not say how large orders are.
WIDE_USD = 10_000.0


def scenario_metrics(scenario: Scenario) -> dict[str, MetricSpec]:
    """Metrics by name: margin (of everything that is credited), then what the stack of metrics is made of."""
    spec = scenario.spec
    days = spec.attribution_window_days
    window_s, within = days * 86_400.0, f"within {days:g} days of the decision"
    bound = largest_money(scenario)
    money = MetricSpec(
        events=MONEY,
        kind="sum",
        window_s=window_s,
        low=-bound,
        high=bound,
        unit="usd",
        description=f"margin of orders {within}, less discounts, refunds, sends and lost permissions",
    )
    shares = {"order": ("purchased", spec.outcome), "clicked": ("clicked", "click")}
    shares |= {
        name: (name, name) for name in ("unsubscribed", "complained", "delivered", "bounced", "opened", "replied")
    }
    shares[conversion_of(spec.outcome)] = ("purchased", spec.outcome)
    turnover = _turnover(largest_order_value(scenario), window_s, within)
    return {"margin": money, **turnover} | {
        name: MetricSpec(events=(event,), kind="any", window_s=window_s, unit="share", description=f"{what} {within}")
        for name, (event, what) in shares.items()
    }


def _turnover(bound: float, window_s: float, within: str) -> dict[str, MetricSpec]:
    """What was paid, what was paid back, and what the sends cost; none of it is what a policy should learn from."""
    said = {
        "revenue": ("ordered", f"what was paid for orders {within}"),
        "refunds": ("returned", f"what was paid back {within}"),
        "send_cost": ("sent", f"cost of the send, below zero, {within}"),
    }
    return {
        name: MetricSpec(
            events=(event,), kind="sum", window_s=window_s, low=-bound, high=bound, unit="usd", description=what
        )
        for name, (event, what) in said.items()
    }


def largest_order_value(scenario: Scenario) -> float:
    """USD that the orders credited to one decision do not exceed: `largest_money` without the margin's share."""
    return largest_money(scenario) / max(scenario.spec.money.margin_share, 1e-3)


def largest_money(scenario: Scenario) -> float:
    """USD that the events of one decision cannot leave, as a round number.

    Two orders in each step of the window, of a contact whose baskets lie six standard deviations above the median.
    """
    population, spec = scenario.population, scenario.spec
    basket = getattr(population, "basket_usd", None)
    if basket is None:
        return WIDE_USD
    largest = 1.6 * basket * float(np.exp(6.0 * getattr(population, "basket_sd", 0.0)))
    orders = 2.0 * (1.0 + spec.attribution_window_days / scenario.step_days)
    lost = spec.money.unsubscribe_usd + spec.money.complaint_usd
    bound = orders * spec.money.margin_share * largest + orders * lost
    scale = 10.0 ** np.floor(np.log10(bound))
    return float(np.ceil(bound / scale) * scale)
