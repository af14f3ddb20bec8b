"""The population: shares, ties between traits, and the same contact in any batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.catalog import Arm, Catalog
from engine.errors import ConfigError, ParameterError
from simulator.people.people import DEVICES, HOUR_KINDS, MOTIVES, STAGES, Draws, People, contact_ids, pick
from simulator.people.population import ShopperPopulation
from simulator.scenario import make_part

CATALOG = Catalog(name="p", channels=("email", "sms"), hours=(9,), arms=(Arm(id="a", approved=True),))
N = 20_000


def people(n: int = N, first: int = 0, seed: int = 1, **params: Any) -> People:
    population: ShopperPopulation = make_part("population", params)
    return population.people(contact_ids(first, n), CATALOG, seed)


def close(found: float, share: float, n: int = N) -> bool:
    """Within four standard errors."""
    return abs(found - share) <= 4.0 * np.sqrt(share * (1.0 - share) / n) + 1e-12


def test_shares_are_those_of_the_configuration() -> None:
    one = people(motives={"price": 2, "assortment": 1, "convenience": 1, "trust": 0}, unknown_zone=0.1)
    for position, share in enumerate((0.5, 0.25, 0.25, 0.0)):
        assert close(float((one.motive == position).mean()), share)
    assert close(float((one.zone_code == -1).mean()), 0.1)
    assert close(float((one.consent[:, 1, 0] == 1).mean()), 0.45 * 0.99)
    assert close(float((one.consent[:, 0] == -1).all(axis=1).mean()), 0.01)
    assert close(float((one.join_day > 0).mean()), 0.1)


def test_rates_have_their_mean_and_shape() -> None:
    """Gamma with shape r: mean m and variance m^2 / r; the order in the middle is 55 and its log spread 0.4."""
    one = people(order_shape=0.5, order_rate_per_day=0.02, basket_usd=55.0, basket_sd=0.4)
    assert one.order_rate.mean() == pytest.approx(0.02, rel=0.06)
    assert one.order_rate.var() == pytest.approx(0.02**2 / 0.5, rel=0.2)
    assert np.median(one.basket_usd) == pytest.approx(55.0, rel=0.02)
    assert np.log(one.basket_usd).std() == pytest.approx(0.4, rel=0.03)


def test_traits_that_are_tied() -> None:
    """Nobody reads late on a desktop; who allows advertising allows service; price motives are price sensitive."""
    one = people()
    desktop = one.device == DEVICES.index("desktop")
    assert not (desktop & (one.hour_kind == HOUR_KINDS.index("late_mobile"))).any()
    assert not ((one.consent[..., 0] == 1) & (one.consent[..., 1] != 1)).any()
    by_price = one.motive == MOTIVES.index("price")
    assert one.price_sensitivity[by_price].mean() - one.price_sensitivity[~by_price].mean() > 0.3
    assert ((one.price_sensitivity >= 0) & (one.price_sensitivity <= 1)).all()
    assert (one.stage[one.join_day > 0] == STAGES.index("onboarding")).all()


def test_a_field_tells_the_motive_as_often_as_it_says() -> None:
    """Without a tie a quarter has the motive trust; told with 0.6: 0.6 + 0.4 / 4 = 0.7."""
    even = dict.fromkeys(MOTIVES, 0.25)
    told = people(
        motives=even, fields={"role": {"dev": 0.5, "other": 0.5}}, tells={"role": {"dev": "trust"}}, tells_share=0.6
    )
    dev = told.fields["role"] == 0
    trust = told.motive == MOTIVES.index("trust")
    assert close(float(trust[dev].mean()), 0.7, int(dev.sum()))
    assert close(float(trust[~dev].mean()), 0.25, int((~dev).sum()))


def test_levels_move_rates_and_attention() -> None:
    base = people(fields={"plan": {"a": 0.5, "b": 0.5}})
    moved = people(
        fields={"plan": {"a": 0.5, "b": 0.5}}, order_rate_by={"plan": {"a": 3.0}}, engagement_by={"plan": {"b": -1.0}}
    )
    a = base.fields["plan"] == 0
    np.testing.assert_allclose(moved.order_rate, base.order_rate * np.where(a, 3.0, 1.0))
    np.testing.assert_allclose(moved.engagement, base.engagement - np.where(a, 0.0, 1.0))
    with pytest.raises(ParameterError, match="plan"):
        people(10, order_rate_by={"plan": {"a": 3.0}})


def test_due_days_of_each_kind() -> None:
    assert np.isnan(people(50).due_day).all()
    trial = people(due="trial", due_days=14)
    np.testing.assert_array_equal(trial.due_day, trial.join_day + 14)
    date = people(due="date", due_days=60, arriving=0.0)
    assert ((date.due_day >= 0) & (date.due_day < 60)).all()
    assert np.isnan(date.cycle_days).all()
    cycle = people(due="cycle", due_days=30, due_sd=0.2, arriving=0.0)
    assert np.median(cycle.cycle_days) == pytest.approx(30, rel=0.01)
    assert (cycle.due_day < cycle.cycle_days).all()


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(0, 50), st.integers(0, 2**31 - 1))
def test_a_contact_is_the_same_in_any_block(first: int, n: int, skip: int, seed: int) -> None:
    whole = people(n + skip, first, seed, fields={"f": {"x": 0.5, "y": 0.5}})
    part = people(n, first + skip, seed, fields={"f": {"x": 0.5, "y": 0.5}})
    for name in ("contact_id", "keys", "zone_code", "motive", "engagement", "affinity", "consent", "join_day"):
        np.testing.assert_array_equal(getattr(whole, name)[skip:], getattr(part, name))
    np.testing.assert_array_equal(whole.fields["f"][skip:], part.fields["f"])


def test_another_seed_is_another_population_and_another_luck_the_same_one() -> None:
    assert (people(500).motive != people(500, seed=2).motive).any()
    keys = people(500).keys
    np.testing.assert_array_equal(Draws(keys, 1)("trait"), Draws(keys)("trait"))
    assert (Draws(keys, 1)("event", 3) != Draws(keys)("event", 3)).all()
    rows = np.array([4, 1])
    np.testing.assert_array_equal(Draws(keys)("event", 3)[rows], Draws(keys)("event", 3, rows))


@given(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=6).filter(lambda shares: sum(shares) > 1e-6))
def test_pick_inverts_the_shares(shares: list[float]) -> None:
    """The share of a fine grid of uniforms that picks a position is the position's."""
    named = {str(position): share for position, share in enumerate(shares)}
    grid = (np.arange(2000) + 0.5) / 2000
    found = np.bincount(pick(grid, named), minlength=len(shares)) / 2000
    np.testing.assert_allclose(found, np.array(shares) / sum(shares), atol=1.5e-3)


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"motives": {"price": 1.0}}, "motives"),
        ({"stages": {"new": 1.0}}, "stages"),
        ({"devices": {"watch": 1.0}}, "devices"),
        ({"hour_kinds": {}}, "hour_kinds"),
        ({"zones": {}}, "zones"),
        ({"sources": {"web": -1.0}}, "sources"),
        ({"categories": {"x": 0.0}}, "categories"),
        ({"fields": {"f": {}}}, "`f` of"),
        ({"tells": {"f": {"x": "price"}}}, "tells"),
        ({"fields": {"f": {"x": 1.0}}, "tells": {"f": {"x": "greed"}}}, "tells"),
        ({"order_shape": 0.0}, "order_shape"),
        ({"order_rate_per_day": -1}, "order_rate_per_day"),
        ({"basket_usd": 0}, "basket_usd"),
        ({"reach": {"email": 1.2}}, "reach"),
        ({"tenure_days": 0}, "tenure_days"),
        ({"due": "someday"}, "due"),
        ({"tells_share": 2}, "tells_share"),
        ({"colour": "red"}, "colour"),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_a_wrong_population_is_named(params: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        make_part("population", params)
    assert caught.value.hint


def test_a_channel_without_a_reach_is_named() -> None:
    fax = Catalog(name="f", channels=("fax",), hours=(9,), arms=CATALOG.arms)
    with pytest.raises(ParameterError, match="reach"):
        ShopperPopulation().people(contact_ids(0, 3), fax, 1)
