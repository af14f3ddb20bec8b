"""Observations: the eight signals and more, noisy, dated, sometimes missing or stale, never ahead of their arrival."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml

from engine.errors import ConfigError
from engine.features import MISSING, PRESENT, STALE, Column, FeatureSchema, schema_from
from engine.types import FloatArray
from simulator.people.people import MOTIVES, NEVER
from simulator.world.observe import SHOWN_STAGES, Observer
from simulator.world.world import World
from tests.simulator.worlds import CONF, days, moment, neutral, send, world

# R14, in the schema's words.
EIGHT = (
    "subscription_source",
    "days_since_engagement",
    "purchases_365d",
    "browse_depth_7d",
    "product_affinity",
    "cart_value_usd",
    "days_to_renewal",
    "support_contacts_30d",
)


def seen(batch: World, feature: str) -> Column:
    return batch.contacts(np.arange(batch.n)).context.columns[feature]


def values(batch: World, feature: str) -> FloatArray:
    column = seen(batch, feature)
    return np.where(column.state == PRESENT, column.values, np.nan)


def clear(n: int = 200, **changes: Any) -> World:
    """A sender who sees everything."""
    observation = {"missing": {}, "stale": 0.0, "right": 1.0, "unknown_history": 0.0, "intent_noise": 0.0}
    missing = dict.fromkeys(("motive", "channel_preference", "product_affinity", "region", "purchase_intent"), 0.0)
    return world("newsletter", n, observation=observation | {"missing": missing}, calibration=[], **changes)


def test_the_eight_signals_are_there_with_unit_source_and_age() -> None:
    schema = world().scenario.features
    for name in EIGHT:
        spec = next(spec for spec in schema.features if spec.name == name)
        assert spec.unit
        assert spec.source
        assert spec.customer_benefit


def test_signals_by_hand() -> None:
    """Known 3 steps ago, two orders of 50, three visits, due in 4 days: what the features say."""
    batch = clear(3, population={"due": "date"})
    neutral(batch)
    known, state = batch.state.known, batch.state
    known.engaged[:] = [-3, 0, -NEVER]
    known.ordered[:] = [-10, -NEVER, -1]
    known.orders[:], known.spend_usd[:], known.visits[:] = 2.0, 100.0, 1.5
    known.unopened[:] = [0, 4, 9]
    state.due_day[:] = [4.0, -2.0, np.nan]
    state.cart_usd[:] = [0.0, 12.345, 3.0]
    np.testing.assert_array_equal(values(batch, "days_since_engagement"), [3.0, 0.0, np.nan])
    np.testing.assert_array_equal(values(batch, "days_since_purchase"), [10.0, np.nan, 1.0])
    np.testing.assert_array_equal(values(batch, "purchases_365d"), [2.0, 2.0, 2.0])
    np.testing.assert_array_equal(values(batch, "spend_365d_usd"), [100.0, 100.0, 100.0])
    np.testing.assert_allclose(values(batch, "cart_value_usd"), [0.0, 12.34, 3.0], atol=0.01)
    np.testing.assert_array_equal(values(batch, "days_to_renewal"), [4.0, -2.0, np.nan])
    np.testing.assert_array_equal(values(batch, "unopened_streak"), [0.0, 4.0, 9.0])
    stage = seen(batch, "lifecycle_stage")
    assert [SHOWN_STAGES[code] for code in stage.values] == ["renewal", "renewal", "active"]


def test_sends_of_the_week_are_counted() -> None:
    batch = clear(50)
    for step in range(9):
        np.testing.assert_array_equal(values(batch, "sends_7d"), np.full(50, min(step, 7)))
        batch.advance(send(batch, "email", "social_proof"))


def test_a_clear_view_shows_the_truth_and_a_noisy_one_as_often_as_it_says() -> None:
    batch = clear(2000)
    np.testing.assert_array_equal(seen(batch, "motive").values, batch.people.motive)
    np.testing.assert_array_equal(seen(batch, "product_affinity").values, batch.people.category)
    noisy = world("newsletter", 20_000, observation={"right": 0.6, "missing": {"motive": 0.0}})
    right = (seen(noisy, "motive").values == noisy.people.motive).mean()
    assert right == pytest.approx(0.6 + 0.4 / len(MOTIVES), abs=0.015)


def test_what_is_missing_stays_missing_and_what_is_stale_does_not() -> None:
    batch = world("newsletter", 5000, observation={"missing": {"motive": 0.3}, "stale": 0.1})
    first = seen(batch, "motive").state == MISSING
    assert first.mean() == pytest.approx(0.3, abs=0.03)
    stale = seen(batch, "visits_7d").state == STALE
    assert stale.mean() == pytest.approx(0.1, abs=0.02)
    assert not (seen(batch, "subscription_source").state == STALE).any()
    for _ in days(batch, 8, sends=False):
        pass
    np.testing.assert_array_equal(seen(batch, "motive").state == MISSING, first)
    again = seen(batch, "visits_7d").state == STALE
    assert 0 < (again & stale).mean() < 0.03


def test_the_intent_score_tells_intent_noisily() -> None:
    batch = world("newsletter", 4000, observation={"missing": {"purchase_intent": 0.0}, "stale": 0.0})
    score = values(batch, "purchase_intent")
    assert ((score >= 0) & (score <= 1)).all()
    assert score[batch.state.intent].mean() - score[~batch.state.intent].mean() > 0.25
    assert score[~batch.state.intent].max() > score[batch.state.intent].min()


def test_nothing_is_seen_before_it_has_arrived() -> None:
    """What the sender knows of orders never exceeds what happened, and comes later."""
    batch = clear(2000)
    neutral(batch, order_rate=np.full(2000, 0.2))
    batch.state.known.ordered[:] = -NEVER
    happened, late = np.zeros(2000, dtype=np.bool_), 0
    for _ in range(6):
        known = batch.state.known.ordered != -NEVER
        assert not (known & ~happened).any()
        late += int((happened & ~known).sum())
        happened |= batch.advance(np.zeros(2000, dtype=np.int32)).organic
    assert late > 0


def test_a_frozen_feed_is_stale_once_it_is_too_old() -> None:
    batch = clear(20)
    rows = np.arange(20)
    fresh = batch._observer.context(batch.state, moment(), rows, 2.0)
    old = batch._observer.context(batch.state, moment(), rows, 2.5)
    assert not (fresh.columns["visits_7d"].state == STALE).any()
    # Purchases may be seven days old, visits two.
    assert (old.columns["visits_7d"].state != PRESENT).all()
    assert not (old.columns["purchases_365d"].state == STALE).any()


def schema(**change: Any) -> FeatureSchema:
    data = yaml.safe_load((CONF / "features" / "simulated.yaml").read_text())
    data["features"] = [one | change if one["name"] == "motive" else one for one in data["features"]]
    return schema_from(data)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"name": "shoe_size"}, "shoe_size"), ({"levels": ["price", "trust"]}, "motive")],
    ids=["a feature that nobody observes", "levels that are not allowed"],
)
def test_what_cannot_be_observed_is_refused(change: dict[str, Any], named: str) -> None:
    batch = world()
    settings = batch.scenario.spec.observation
    with pytest.raises(ConfigError, match=named):
        Observer(settings, schema(**change), batch.people, "none", batch.catalog.channels)
