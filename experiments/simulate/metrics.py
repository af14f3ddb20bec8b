"""The metrics of a simulated log: what the events of a decision are worth within the scenario's attribution window."""

from __future__ import annotations

import numpy as np

from engine.join import MetricSpec
from simulator.scenario import Scenario

MONEY = ("purchased", "refunded", "sent", "unsubscribed", "complained")
# Range of the money of one decision where the population does not say how large orders are.
WIDE_USD = 10_000.0


def scenario_metrics(scenario: Scenario) -> dict[str, MetricSpec]:
    """Metrics by name: margin (of everything that is credited), order, clicked, unsubscribed, complained."""
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
    shares |= {name: (name, name) for name in ("unsubscribed", "complained")}
    return {"margin": money} | {
        name: MetricSpec(events=(event,), kind="any", window_s=window_s, unit="share", description=f"{what} {within}")
        for name, (event, what) in shares.items()
    }


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
