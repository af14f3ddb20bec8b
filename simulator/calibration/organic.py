"""Orders that nobody asked for: CDNOW's cohort played in a world without messages, and measured like the real one.

A BG/NBD customer buys at a gamma rate and is gone after each repeat purchase with a beta chance; `ShopperPopulation`
and `ShopperDynamics` hold the same four numbers, so that fitting them is a change of units, and the play is the check.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.errors import ParameterError
from engine.types import FloatArray
from simulator.calibration.fit import Changes, Goal
from simulator.calibration.targets.baskets import LogNormalBaskets, fit_log_normal
from simulator.calibration.targets.bg_nbd import BgNbd, fit_bg_nbd
from simulator.calibration.targets.cdnow import CALIBRATION_WEEKS, WEEKS, Purchases, cumulative_repeats, repeat_summary
from simulator.scenario import Scenario, load_scenario
from simulator.world.world import World

SCENARIO: Final = "organic"
SOURCE: Final = "CDNOW 1997-98 (Fader, Hardie & Lee 2005), recomputed by simulator.calibration.targets.cdnow"
TRACKED: Final = (13, 26, 52, WEEKS)
# Tolerances. Relative ones cover that BG/NBD itself is 15 % low in the first weeks and in those that were not fitted.
NO_REPEAT: Final = 0.02
REPEATS: Final = 0.07
TRACKING: Final = 0.12
AFTER: Final = 0.2
BASKET: Final = 0.1
# Draws for what the customers who came back are like.
REGULARS: Final = 400_000


def numbers_of(model: BgNbd, baskets: LogNormalBaskets) -> Changes:
    """The fitted models in our units: orders a day, chance to be gone per order, median and spread of mean baskets."""
    drop = model.a + model.b
    return {
        "population": {
            "order_shape": _short(model.r),
            "order_rate_per_day": _short(model.r / model.alpha / 7.0),
            "basket_usd": _short(baskets.mean_usd * np.exp(-(baskets.between_sd**2) / 2.0)),
            "basket_sd": _short(baskets.between_sd),
        },
        "dynamics": {"gone_per_order": _short(model.a / drop), "gone_spread": _short(1.0 / (1.0 + drop))},
    }


def simulate_cohort(scenario: Scenario, contacts: int, seed: int, weeks: int = WEEKS) -> Purchases:
    """Play the cohort: who joins buys on that day, and every later order is a repeat purchase."""
    world = World(scenario, contacts, seed)
    first = world.people.join_day.astype(np.int64)
    hold = np.zeros(contacts, dtype=np.int32)
    customer, day, value = [np.arange(contacts)], [first], [world.people.basket_usd]
    for step in range(7 * weeks + int(first.min())):
        happened = world.advance(hold)
        # Orders of the first day would be one purchase with the first.
        rows = np.flatnonzero(happened.organic & (first < step))
        customer.append(rows)
        day.append(np.full(len(rows), step))
        value.append(happened.organic_usd[rows])
    who, when, usd = np.concatenate(customer), np.concatenate(day), np.concatenate(value)
    order = np.lexsort((when, who))
    origin = int(first.min())
    return Purchases(
        who[order], np.arange(contacts), when[order] - origin, np.ones(len(order), dtype=np.int64), usd[order]
    )


def moments_of(purchases: Purchases) -> dict[str, float]:
    """The figures of a cohort, real or simulated; repeat purchases are per customer."""
    summary = repeat_summary(purchases)
    customers = len(purchases.ids)
    by_week = cumulative_repeats(purchases) / customers
    repeats = purchases.day != purchases.day[purchases.first]
    baskets = fit_log_normal(purchases.customer[repeats], purchases.value_usd[repeats])
    return {
        "organic_no_repeat_39w": float((summary.x == 0).mean()),
        "organic_repeats_39w": float(summary.x.mean()),
        **{f"organic_repeats_by_week_{week}": float(by_week[week - 1]) for week in TRACKED},
        "organic_repeats_weeks_40_to_78": float(by_week[WEEKS - 1] - by_week[CALIBRATION_WEEKS - 1]),
        "organic_basket_between_sd": baskets.between_sd,
    }


def goals(purchases: Purchases) -> tuple[Goal, ...]:
    """What the real cohort did, with the stated tolerances."""

    def tolerance(name: str, value: float) -> float:
        if name == "organic_no_repeat_39w":
            return NO_REPEAT
        share = {
            "organic_repeats_39w": REPEATS,
            "organic_repeats_weeks_40_to_78": AFTER,
            "organic_basket_between_sd": BASKET,
        }
        return share.get(name, TRACKING) * value

    units = {"organic_no_repeat_39w": "share", "organic_basket_between_sd": "log usd"}
    return tuple(
        Goal(name, name, value, tolerance(name, value), units.get(name, "orders per customer"), SOURCE)
        for name, value in moments_of(purchases).items()
    )


def organic_moments(changes: Changes, contacts: int, seed: int) -> dict[str, float]:
    """The figures of the simulated cohort under a scenario's changes."""
    return moments_of(simulate_cohort(load_scenario(SCENARIO, changes), contacts, seed))


def fit_organic(purchases: Purchases, seed: int) -> tuple[Changes, Changes]:
    """Fit rate, dropout and baskets by maximum likelihood.

    Returns:
        The numbers of the cohort, and those that a shop scenario takes over: the spread of baskets, and the spread of
        rates among the customers who came back. Its rate and its dropout are those of people who once bought a CD, not
        of a list.
    """
    summary = repeat_summary(purchases)
    model = fit_bg_nbd(summary.x, summary.t_x, summary.t_cal).model
    baskets = fit_log_normal(purchases.customer, purchases.value_usd)
    shape = regulars(model, float(CALIBRATION_WEEKS), REGULARS, seed)["order_shape"]
    carried = {"population": {"order_shape": float(f"{shape:.2g}"), "basket_sd": float(f"{baskets.between_sd:.2g}")}}
    return numbers_of(model, baskets), carried


def regulars(model: BgNbd, weeks: float, draws: int, seed: int) -> dict[str, float]:
    """How rates and dropout lie among customers who bought again within some weeks and are still there.

    Those are nearer to a list than all first-time buyers are: what a shop scenario may take over of CDNOW.

    Returns:
        order_shape: gamma shape with the same spread of rates (mean squared over variance); order_rate_per_day: their
        mean; gone_per_order: mean chance to be gone after the next order; share: of all customers.

    Raises:
        ParameterError: weeks not above 0, or fewer than 1,000 draws.
    """
    if not weeks > 0 or draws < 1000:
        raise ParameterError("draws", "regulars", allowed="at least 1,000, with weeks above 0", got=(draws, weeks))
    rng = np.random.default_rng(seed)
    rate = rng.gamma(model.r, 1.0 / model.alpha, draws)
    gone = rng.beta(model.a, model.b, draws)
    orders = rng.poisson(rate * weeks)
    # Still there: none of the orders was the last.
    stays = orders > 0
    stays &= rng.random(draws) < np.power(1.0 - gone, orders)
    return {
        "order_shape": _shape(rate[stays]),
        "order_rate_per_day": float(rate[stays].mean() / 7.0),
        "gone_per_order": float(gone[stays].mean()),
        "share": float(stays.mean()),
    }


def _shape(rate: FloatArray) -> float:
    return float(rate.mean() ** 2 / rate.var())


def _short(value: float) -> float:
    return float(f"{value:.5g}")
