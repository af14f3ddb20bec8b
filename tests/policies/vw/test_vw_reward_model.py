"""policies/vw/reward_model.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from engine.catalog import one_axis_catalog
from engine.errors import LearnError, ParameterError
from engine.features import ContextBatch, FeatureSchema, FeatureSpec, categorical_column, numeric_column
from engine.records.rounds import RoundBatch
from policies.vw.arguments import VwConfig
from policies.vw.reward_model import VwRewardModel

SGD = VwConfig(regression="sgd", learning_rate=0.1, regression_passes=20)


def residual_variance(model, batch, metric):
    predicted = model.predict(batch.context)[np.arange(batch.n), batch.action]
    return float(((batch.rewards[metric] - predicted) ** 2).mean())


@pytest.fixture(scope="module")
def heartsteps(shared_data):
    frame = pd.read_csv(shared_data / "heartsteps" / "heartsteps_decisions.csv.gz")
    frame = frame[(frame["avail"] == 1) & frame["y_log"].notna() & frame["prelog"].notna()]

    def spec(name, kind):
        return FeatureSpec(
            name=name,
            type=kind,
            unit="u",
            source="trial",
            collected_where="phone",
            customer_benefit="better timed pushes",
        )

    schema = FeatureSchema(features=(spec("prelog", "numeric"), spec("day", "numeric"), spec("slot", "categorical")))
    n = len(frame)
    present = np.zeros(n, dtype=np.uint8)
    slots = pd.Categorical(frame["slot"].astype(str))
    columns = {
        "prelog": numeric_column(schema.features[0], frame["prelog"].to_numpy(float), present),
        "day": numeric_column(schema.features[1], frame["day"].to_numpy(float), present),
        "slot": categorical_column(schema.features[2], slots.codes.astype(np.int32), tuple(slots.categories), present),
    }
    send = frame["send"].to_numpy(np.int32)
    return schema, RoundBatch(
        chunk=0,
        decision_id=np.array([str(i) for i in range(n)], dtype=object),
        context=ContextBatch(schema, columns, n),
        action=send,
        propensity=np.where(send == 1, 0.6, 0.4),
        eligible=np.full((n, 1), 3, dtype=np.uint8),
        k=2,
        cluster=np.arange(n, dtype=np.uint64),
        rewards={"y_log": frame["y_log"].to_numpy(float)},
        usable=np.ones(n, dtype=bool),
        decided_at=np.zeros(n, dtype=np.int64),
        extra={},
    )


@pytest.mark.parametrize("config", [VwConfig(), SGD])
def test_close_to_least_squares_on_heartsteps(heartsteps, config):
    """Least squares on the same columns, fitted and judged on the same rows, is the smallest that is possible."""
    schema, batch = heartsteps
    model = VwRewardModel(one_axis_catalog("heartsteps", ("send",)), schema, "y_log", (-1.0, 12.0), config)
    model.fit([batch])
    x = model.fitted.encoder.encode(batch.context).astype(np.float64)
    design = np.column_stack([np.ones(len(x)), x, batch.action, x * batch.action[:, None]])
    y = batch.rewards["y_log"]
    least = float(((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) ** 2).mean())
    assert least <= residual_variance(model, batch, "y_log") < least * 1.002


@pytest.mark.parametrize("config", [VwConfig(), SGD])
def test_learns_the_interaction_of_context_and_arm(world, config):
    model = VwRewardModel(world.catalog, world.schema, "y", (0.0, 1.0), config)
    model.fit([world.rounds(2000, seed=61), world.rounds(2000, seed=62)])
    context = world.context(500, seed=63)
    predicted = model.predict(context)
    assert predicted.shape == (500, world.catalog.k)
    assert predicted.dtype == np.float64
    assert np.sqrt(((predicted - world.means(context)) ** 2).mean()) < 0.05


def test_the_scale_of_rewards_does_not_matter(world):
    batch = world.rounds(500, seed=64)
    context = world.context(50, seed=65)
    small = VwRewardModel(world.catalog, world.schema, "y", (0.0, 1.0))
    small.fit([batch])
    large = VwRewardModel(world.catalog, world.schema, "y", (0.0, 1e4))
    large.fit([replace(batch, rewards={"y": batch.rewards["y"] * 1e4})])
    np.testing.assert_allclose(large.predict(context) / 1e4, small.predict(context), atol=1e-3)


def test_predictions_stay_in_the_declared_range(world):
    batch = world.rounds(100, seed=66)
    model = VwRewardModel(world.catalog, world.schema, "y", (0.0, 1.0), VwConfig(ridge=0.001))
    model.fit([replace(batch, rewards={"y": (np.arange(100) % 2).astype(float)})])
    context, tables = world.context(500, seed=67), model.fitted.tables
    free = replace(tables, limits=np.array([-np.inf, np.inf], dtype=np.float32))
    raw = free.scores(model.fitted.encoder.encode(context))
    assert raw.min() < 0.0
    np.testing.assert_array_equal(model.predict(context), np.clip(raw, 0.0, 1.0))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_very_few_rows(world, n):
    batch = world.rounds(n, seed=68)
    model = VwRewardModel(world.catalog, world.schema, "y", (0.0, 1.0))
    model.fit(iter([batch]))
    assert np.isfinite(model.predict(batch.context)).all()


def test_equal_rewards_predict_that_reward(world):
    batch = world.rounds(50, seed=69)
    model = VwRewardModel(world.catalog, world.schema, "y", (0.0, 1.0))
    model.fit([replace(batch, rewards={"y": np.full(50, 0.25)})])
    np.testing.assert_allclose(model.predict(batch.context), 0.25)


def test_weighting(world):
    """Without features and interactions the model is one mean per arm: the weighted one where `weighted`."""
    catalog = one_axis_catalog("t", ("a",))
    schema = FeatureSchema(features=())
    n = 400
    batch = RoundBatch(
        chunk=0,
        decision_id=np.array([str(i) for i in range(n)], dtype=object),
        context=ContextBatch(schema, {}, n),
        action=np.ones(n, dtype=np.int32),
        propensity=np.where(np.arange(n) % 2, 0.25, 0.75),
        eligible=np.full((n, 1), 3, dtype=np.uint8),
        k=2,
        cluster=np.arange(n, dtype=np.uint64),
        rewards={"y": (np.arange(n) % 2).astype(float)},
        usable=np.ones(n, dtype=bool),
        decided_at=np.zeros(n, dtype=np.int64),
        extra={},
    )
    for weighted, expected in ((False, 0.5), (True, 0.75)):
        model = VwRewardModel(catalog, schema, "y", (0.0, 1.0), VwConfig(ridge=1e-6), weighted=weighted)
        model.fit([batch])
        np.testing.assert_allclose(model.predict(batch.context)[:, 1], expected, atol=5e-3)


def test_refusals_leave_the_model_as_it_was(world):
    batch = world.rounds(60, seed=70)
    model = VwRewardModel(world.catalog, world.schema, "y", (0.0, 1.0))
    with pytest.raises(LearnError, match="not fitted"):
        model.predict(batch.context)
    model.fit([batch])
    before = model.fitted
    bad = batch.rewards["y"].copy()
    bad[3] = np.inf
    with pytest.raises(LearnError, match="`y` of a logged round"):
        model.fit([replace(batch, rewards={"y": bad})])
    with pytest.raises(LearnError, match="no usable round"):
        model.fit([replace(batch, usable=np.zeros(60, dtype=bool))])
    assert model.fitted is before
    with pytest.raises(ParameterError, match="reward_range"):
        VwRewardModel(world.catalog, world.schema, "y", (1.0, 0.0))
    # Propensities do not matter to an unweighted model, and do to a weighted one.
    without = replace(batch, propensity=np.full(60, np.nan))
    model.fit([without])
    with pytest.raises(LearnError, match="propensity"):
        VwRewardModel(world.catalog, world.schema, "y", (0.0, 1.0), weighted=True).fit([without])
