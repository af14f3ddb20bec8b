"""The response: by hand for the average contact, directions, bounds, and wrong tables."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from engine.catalog import Arm, Catalog
from engine.errors import ConfigError, ParameterError
from simulator.people.people import MOTIVES, NEVER, STAGES
from simulator.scenario import make_part
from simulator.world.response import Cells, Chances
from simulator.world.shopper_response import ShopperResponse
from simulator.world.world import World
from tests.simulator.worlds import moment, neutral, world

PLAIN = {
    "seen": {"email": 0.2},
    "click": {"email": 0.1},
    "order": {"email": 0.05},
    "hour_log_odds": 0.0,
    "appeal": 0.5,
    "mismatch": -0.2,
    "category_match": 0.3,
    "category_mismatch": -0.3,
    "urgency": {"email": 0.0},
    "richness": {"email": 0.0},
    "fatigue_drop": {"email": 0.5},
    "fatigue_bend": {"email": 1.5},
}


@pytest.fixture
def batch() -> World:
    one = world("newsletter", 4, calibration=[], response=PLAIN)
    neutral(one, category=np.array([0, 0, 1, 1], dtype=np.int32))
    one.state.motive[:] = [MOTIVES.index(name) for name in ("price", "trust", "price", "trust")]
    return one


def chances(batch: World, arm: str, channel: str = "email", hour: int = 12, step: int = 0) -> Chances:
    rows = np.arange(batch.n)
    wide = np.ones(batch.n, dtype=np.int64)
    catalog = batch.catalog
    cells = Cells(rows, wide * catalog.channels.index(channel), wide * hour, wide * catalog.arm_ids.index(arm))
    return batch._response.chances(batch.people, batch.state, cells, moment(step))


def test_the_average_contact_by_hand(batch: World) -> None:
    """Seen 0.2; click sigmoid(logit 0.1 + 0.5) for trust, sigmoid(logit 0.1 - 0.2) else; order 0.05; 0.004 bounce."""
    found = chances(batch, "social_proof")
    np.testing.assert_allclose(found.seen, 0.2)
    np.testing.assert_allclose(found.clicked, expit(logit(0.1) + np.array([-0.2, 0.5, -0.2, 0.5])))
    np.testing.assert_allclose(found.ordered, 0.05)
    np.testing.assert_allclose(found.delivered, 1.0 - 0.004 - 0.0061)
    np.testing.assert_allclose(found.unsubscribed, 0.0022)
    np.testing.assert_allclose(found.orders, found.delivered * 0.2 * found.clicked * 0.05)


def test_fatigue_pressure_and_stage_by_hand(batch: World) -> None:
    """A stock of 2: 4^(-1/3); a pressure of 3, 2 above the free: 1 + 0.35 * 2 = 1.7 hazards; lapsed: logit - 0.9."""
    batch.state.fatigue[0, 0] = 2.0
    batch.state.pressure[1] = 3.0
    batch.state.stage[2] = STAGES.index("lapsed")
    found = chances(batch, "social_proof")
    assert found.seen[0] == pytest.approx(0.2 * 4.0 ** (-1 / 3))
    assert found.unsubscribed[1] == pytest.approx(0.0022 * 1.7)
    assert found.complained[1] == pytest.approx(0.00012 * 1.7)
    assert found.seen[2] == pytest.approx(expit(logit(0.2) - 0.9))


def test_category_novelty_and_intent_by_hand(batch: World) -> None:
    """Own category + 0.3, another - 0.3; sent 15 days ago: half of 0.2 is lost; intent + 0.3 and + 0.6."""
    batch.state.intent[1] = True
    batch.state.arm_step[3, batch.catalog.arm_ids.index("new_arrivals")] = 0
    found = chances(batch, "new_arrivals", step=15)
    assert batch.people.categories[0] == "fashion"
    base = logit(0.1) - 0.2
    expected = base + np.array([0.3, 0.3 + 0.3, -0.3, -0.3 - 0.1])
    np.testing.assert_allclose(found.clicked, expit(expected))
    assert found.ordered[1] == pytest.approx(expit(logit(0.05) + 0.6))


def test_a_discount_pulls_the_price_sensitive_and_costs_the_others(batch: World) -> None:
    """Depth 0.1, pull 4: + 0.4 * (0.7 - 0.3) = + 0.16 and 0.4 * (0.1 - 0.3) = - 0.08."""
    batch.people.price_sensitivity[:] = [0.7, 0.1, 0.3, 0.3]
    found = chances(batch, "ten_percent_off").ordered
    np.testing.assert_allclose(found, expit(logit(0.05) + np.array([0.16, -0.08, 0.0, 0.0])))


def test_near_a_due_day_more_is_ordered_and_after_the_end_nothing(batch: World) -> None:
    batch.state.due_day[:] = [7.0, 8.0, -7.0, np.nan]
    found = chances(batch, "social_proof").ordered
    np.testing.assert_allclose(found, expit(logit(0.05) + 0.8 * np.array([1, 0, 1, 0])))
    batch.state.finished[:] = True
    assert not chances(batch, "social_proof").ordered.any()


def test_a_dead_address_bounces_hard(batch: World) -> None:
    batch.state.reachable[0, 0] = False
    found = chances(batch, "social_proof")
    assert found.hard_bounced[0] == 1.0
    assert found.soft_bounced[0] == found.delivered[0] == 0.0
    assert found.delivered[1] > 0.9


def test_the_hour_acts_through_the_contacts_own_habit() -> None:
    """R26: an evening reader sees more at 19 than at 9, a work-hours reader less; over all the hour hardly counts."""
    one = world("newsletter", 3000)
    morning, evening = (chances(one, "social_proof", hour=hour).seen for hour in (9, 19))
    late, desk = (one.people.hour_kind == kind for kind in (1, 0))
    assert (evening > morning)[late].all()
    assert (evening < morning)[desk].all()
    assert abs(evening.mean() / morning.mean() - 1.0) < 0.15


def test_urgent_news_fit_texts_and_long_ones_mail() -> None:
    """R6: the text's advantage grows with urgency, the e-mail's with richness."""
    one = world("newsletter", 200)
    advantage = {
        arm: float(np.mean(logit(chances(one, arm, "sms").clicked) - logit(chances(one, arm, "email").clicked)))
        for arm in ("new_arrivals", "ten_percent_off")
    }
    assert advantage["ten_percent_off"] > advantage["new_arrivals"]


@settings(max_examples=25)
@given(
    st.floats(0, 50), st.floats(0, 100), st.floats(0, 1), st.integers(0, 23), st.integers(0, 4), st.integers(-5, 400)
)  # fmt: skip
def test_chances_are_chances(
    stock: float, pressure: float, sensitivity: float, hour: int, stage: int, last: int
) -> None:
    one = world("newsletter", 30, seed=9)
    one.state.fatigue[:] = stock
    one.state.pressure[:] = pressure
    one.state.stage[:] = stage
    one.state.arm_step[:] = -NEVER if last < 0 else 400 - last
    one.people.price_sensitivity[:] = sensitivity
    for channel in one.catalog.channels:
        for arm in one.catalog.arm_ids:
            found = chances(one, arm, channel, hour, 400)
            for field in fields(Chances):
                values = np.asarray(getattr(found, field.name))
                assert ((values >= 0.0) & (values <= 1.0)).all(), field.name
            assert (found.delivered >= -1e-12).all()


def test_chances_do_not_depend_on_who_else_is_asked() -> None:
    one = world("newsletter", 40)
    rows = np.array([7, 3, 3, 39])
    cells = Cells(rows, np.array([0, 1, 1, 2]), np.array([9, 12, 12, 20]), np.array([0, 1, 1, 3]))
    together = one.chances(cells)
    for position, row in enumerate(rows):
        alone = one.chances(
            Cells(np.array([row]), *(getattr(cells, name)[[position]] for name in ("channel", "hour", "arm")))
        )
        assert alone.clicked[0] == together.clicked[position]
        assert alone.seen[0] == together.seen[position]


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"seen": {"email": 0.0}}, "seen"),
        ({"seen": {"email": 1.0}}, "seen"),
        ({"click": {"email": "often"}}, "click"),
        ({"order": {"email": -0.1}}, "order"),
        ({"hard_bounce": {"email": 2}}, "hard_bounce"),
        ({"unsubscribe": {"sms": -1}}, "unsubscribe"),
        ({"fatigue_drop": {"email": -1}}, "fatigue_drop"),
        ({"appeal": -1}, "appeal"),
        ({"mismatch": 1}, "mismatch"),
        ({"discount_pivot": 3}, "discount_pivot"),
        ({"novelty_half_life_days": 0}, "novelty_half_life_days"),
        ({"stage_attention": {"new": 1.0}}, "stage_attention"),
        ({"pressure_slope": -1}, "pressure_slope"),
        ({"charm": 1}, "charm"),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(map(str, value.values())),
)
def test_a_wrong_response_is_named(params: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        make_part("response", params)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("attributes", "named"),
    [({"motive": "greed"}, "motive"), ({"urgency": 2.0}, "urgency"), ({"richness": "much"}, "richness")],
    ids=["motive", "urgency", "richness"],
)
def test_an_arm_that_means_nothing_is_named(attributes: dict[str, Any], named: str) -> None:
    catalog = Catalog(
        name="x", channels=("email",), hours=(9,), arms=(Arm(id="a", approved=True, attributes=attributes),)
    )
    with pytest.raises(ParameterError, match=named):
        ShopperResponse().bind(catalog)


def test_what_the_catalog_does_not_have_is_named() -> None:
    fax = Catalog(name="x", channels=("fax",), hours=(9,), arms=(Arm(id="a", approved=True),))
    with pytest.raises(ParameterError, match="fax"):
        ShopperResponse().bind(fax)
    mail = Catalog(name="x", channels=("email",), hours=(9,), arms=(Arm(id="a", approved=True),))
    with pytest.raises(ParameterError, match="content"):
        ShopperResponse(content={"b": {"fashion": 1.0}}).bind(mail)
