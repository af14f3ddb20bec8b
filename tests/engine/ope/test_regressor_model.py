"""The model of a regressor, with scikit-learn where it is installed and with least squares of our own everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from engine.catalog import one_axis_catalog
from engine.errors import LearnError, ParameterError
from engine.ope.models.regressor import RegressorModel
from engine.ope.target import PolicyTarget
from engine.records.rounds import SAMPLE_WEIGHT
from tests.engine.ope.asking import evaluate

N = 900
CATALOG = one_axis_catalog("c", ["a", "b"])


class LeastSquares:
    """Weighted least squares with an intercept."""

    def __init__(self):
        self.fits = 0

    def fit(self, X, y, sample_weight=None):
        root = np.sqrt(np.ones(len(y)) if sample_weight is None else sample_weight)
        design = np.column_stack([np.ones(len(y)), X]) * root[:, None]
        self.coefficients, *_ = np.linalg.lstsq(design, y * root, rcond=None)
        self.fits += 1
        return self

    def predict(self, X):
        return np.column_stack([np.ones(len(X)), X]) @ self.coefficients


class Constant:
    """Predicts one value; takes no weights."""

    def __init__(self, value=0.5):
        self.value = value

    def fit(self, X, y):
        if self.value == "fails":
            raise ValueError("will not")
        return self

    def predict(self, X):
        return np.full(len(X), self.value)


def log(ope, **changes):
    rng = np.random.default_rng(0)
    x = rng.normal(size=N)
    action = rng.integers(3, size=N)
    given = {"r": 1.0 + x + np.array([0.0, 2.0, 5.0])[action]} | changes.pop("rewards", {})
    return ope.batches(action, np.full(N, 1 / 3), given, k=3, features={"x": x}, rows_per_chunk=250, **changes)


def model_of(batches, regressor, low=-50.0, high=50.0):
    return RegressorModel(regressor, CATALOG, batches[0].context.schema, "r", (low, high))


def test_it_learns_the_context_and_the_arm(ope) -> None:
    """The reward is linear in x and the arm, hold is 1 + x: all of it is found for actions taken or not."""
    batches = log(ope)
    blank = LeastSquares()
    model = model_of(batches, blank)
    model.fit(batches)
    x = batches[0].context.columns["x"].values
    expected = 1.0 + x[:, None] + np.array([0.0, 2.0, 5.0])
    assert model.predict(batches[0].context) == pytest.approx(expected, abs=1e-5)
    assert blank.fits == 0
    narrow = model_of(batches, LeastSquares(), high=6.0)
    narrow._fitted = model._fitted
    assert narrow.predict(batches[0].context) == pytest.approx(np.minimum(expected, 6.0), abs=1e-5)


def test_weights_of_rows_reach_the_regressor(ope) -> None:
    """Rows of the second half say 3 more; weight 0 on them takes that out."""
    shifted = log(ope)[0].rewards["r"] * 0
    batches = log(ope, extra={SAMPLE_WEIGHT: [1.0] * 500 + [0.0] * 400})
    for batch in batches[2:]:
        batch.rewards["r"][:] += 3.0
    assert shifted.sum() == 0
    model = model_of(batches, LeastSquares())
    model.fit(batches)
    truth = batches[0].rewards["r"]
    found = model.predict(batches[0].context)[np.arange(batches[0].n), batches[0].action]
    assert found == pytest.approx(truth, abs=1e-5)


def test_only_regressors_that_take_weights_serve_mrdr(ope) -> None:
    batches = log(ope)
    assert model_of(batches, LeastSquares()).weighs_rounds
    assert not model_of(batches, Constant()).weighs_rounds
    weighted = log(ope, extra={SAMPLE_WEIGHT: [1.0] * N})
    with pytest.raises(LearnError, match="Constant cannot be fitted"):
        model_of(weighted, Constant()).fit(weighted)


@pytest.mark.parametrize(
    ("regressor", "low", "high", "parameter"),
    [(LeastSquares(), 1.0, 1.0, "reward_range"), ("no regressor", 0.0, 1.0, "regressor")],
    ids=["empty range", "no methods"],
)
def test_arguments_are_checked(ope, regressor, low, high, parameter) -> None:
    with pytest.raises(ParameterError, match=parameter):
        model_of(log(ope), regressor, low, high)


def test_what_cannot_be_learnt_is_refused_and_changes_nothing(ope) -> None:
    batches = log(ope)
    model = model_of(batches, Constant())
    with pytest.raises(LearnError, match="not fitted"):
        model.predict(batches[0].context)
    with pytest.raises(LearnError, match="no usable round"):
        model.fit([])
    with pytest.raises(LearnError, match="no usable round"):
        model.fit(log(ope, rewards={"r": np.full(N, np.nan)}))
    model.fit(batches)
    with pytest.raises(LearnError, match="must be finite and in"):
        model.fit(log(ope, rewards={"r": np.full(N, 60.0)}))
    with pytest.raises(LearnError, match="will not"):
        model_of(batches, Constant("fails")).fit(batches)
    assert (model.predict(batches[0].context) == 0.5).all()
    wild = model_of(batches, Constant(np.nan))
    wild.fit(batches)
    with pytest.raises(LearnError, match="not finite"):
        wild.predict(batches[0].context)


def estimates(ope, regressor):
    batches = log(ope)
    found = evaluate(
        batches,
        [PolicyTarget(ope.TablePolicy("t", [0.2, 0.3, 0.5]))],
        metric="r",
        reward_range=(-50, 50),
        estimators=("ips", "dr", "mrdr"),
        reward_model_factory=lambda: model_of(batches, regressor),
        weighted_model_factory=lambda: model_of(batches, regressor),
        folds=2,
    )
    return found.results


def test_cross_fitted_by_the_front_door(ope) -> None:
    """1 + x + 0.6 + 2.5 on average, without noise: DR and MRDR with the right model have no error of weights."""
    ips, dr, mrdr = estimates(ope, LeastSquares())
    mean_x = np.concatenate([batch.context.columns["x"].values for batch in log(ope)]).mean()
    for found in (dr, mrdr):
        assert found.value == pytest.approx(4.1 + mean_x, abs=1e-4)
        assert found.stderr < 0.6 * ips.stderr


@pytest.mark.parametrize("name", ["Ridge", "DecisionTreeRegressor", "RandomForestRegressor", "Pipeline"])
def test_any_regressor_of_scikit_learn(ope, name) -> None:
    pytest.importorskip("sklearn")
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import Ridge
    from sklearn.tree import DecisionTreeRegressor

    regressors = {
        "Ridge": Ridge(),
        "DecisionTreeRegressor": DecisionTreeRegressor(max_depth=4, random_state=0),
        "RandomForestRegressor": RandomForestRegressor(n_estimators=10, random_state=0, n_jobs=1),
    }
    if name == "Pipeline":
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        batches = log(ope)
        model = model_of(batches, make_pipeline(StandardScaler(), Ridge()))
        model.fit(batches)
        assert not model.weighs_rounds
        assert model.predict(batches[0].context).shape == (250, 3)
        return
    ips, dr, mrdr = estimates(ope, regressors[name])
    assert 0 < dr.stderr < ips.stderr
    assert abs(dr.value - mrdr.value) < 3 * dr.stderr
