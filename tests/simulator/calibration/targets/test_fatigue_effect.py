"""Weighted and centred least squares: by hand, on HeartSteps, on simulated trials, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DataError, ParameterError
from simulator.calibration.targets.excursion import Excursion, excursion_effects
from simulator.calibration.targets.heartsteps import (
    FatigueEffect,
    Trial,
    fatigue_effect,
    heartsteps_effect,
    read_heartsteps,
)

HEARTSTEPS = "heartsteps/heartsteps_decisions.csv.gz"


def few() -> dict[str, Any]:
    """Two persons with two rows each, one treated and one not; level as only moderator and control."""
    return {
        "outcome": np.array([1.0, 3.0, 2.0, 8.0]),
        "treated": np.array([False, True, False, True]),
        "probability": np.full(4, 0.5),
        "available": np.ones(4, dtype=bool),
        "cluster": np.array([7, 7, 9, 9]),
        "moderators": np.ones((4, 1)),
        "controls": np.ones((4, 1)),
    }


def test_by_hand() -> None:
    """Means 5.5 and 1.5: effect 4. Residuals -0.5, -2.5, 0.5, 2.5 with a - 1/2 = -+1/2.

    Scores per person, second column: 0.25 - 1.25 = -1 and -0.25 + 1.25 = 1. Bread of it: 1 / (4 x 1/4) = 1.
    Variance 1 x (1 + 1) x 1 = 2; the columns are orthogonal, so the level adds nothing.
    """
    found = excursion_effects(**few())
    assert found.effect == pytest.approx([4.0])
    assert found.se == pytest.approx([np.sqrt(2.0)])
    assert (found.rows, found.clusters) == (4, 2)


def test_weights_by_hand() -> None:
    """Treated with 0.25 and 0.75, p~ = 1/2: weights 2 for the rare, 2/3 for the frequent.

    Weighted means: treated (2 x 3 + 2/3 x 8) / (8/3) = 4.25; untreated (1 x 2/3 + 2 x 2) / (8/3) = 1.75.
    """
    found = excursion_effects(**few() | {"probability": np.array([0.25, 0.25, 0.75, 0.75])})
    assert found.effect == pytest.approx([2.5])


def test_unavailable_rows_do_not_count() -> None:
    """Whatever stands in them, even what cannot be computed with."""
    plain = excursion_effects(**few())
    more = {name: np.concatenate([values, values[:1]]) for name, values in few().items()}
    more["available"][-1] = False
    more["probability"][-1] = 0.0
    more["outcome"][-1] = np.nan
    found = excursion_effects(**more)
    assert (found.effect, found.se, found.rows) == (plain.effect, plain.se, 4)


@given(
    scale=st.floats(0.01, 100),
    shift=st.floats(-50, 50),
    seed=st.integers(0, 10_000),
)
def test_follows_units_and_order(scale: float, shift: float, seed: int) -> None:
    """Another unit scales effect and error, another zero changes nothing, nor does the order of the rows."""
    rng = np.random.default_rng(seed)
    data = trial(rng, users=6, days=8)
    order = rng.permutation(len(data.outcome))
    plain = measured(data)
    moved = measured(replace(data, outcome=scale * data.outcome + shift))
    shuffled = measured(Trial(*(getattr(data, name)[order] for name in Trial.__dataclass_fields__)))
    assert moved.day_0 == pytest.approx(scale * plain.day_0, rel=1e-6, abs=1e-8)
    assert moved.slope_se == pytest.approx(scale * plain.slope_se, rel=1e-6)
    assert shuffled.average == pytest.approx(plain.average, rel=1e-9, abs=1e-12)
    assert shuffled.day_0_se == pytest.approx(plain.day_0_se, rel=1e-9)


def trial(
    rng: np.random.Generator, users: int, days: int, day_0: float = 0.5, slope: float = -0.02, varying: bool = False
) -> Trial:
    """A simulated trial with 5 decision points a day, a level per person and a memory of the outcome before."""
    user, day, _ = (part.ravel() for part in np.meshgrid(range(users), range(days), range(5), indexing="ij"))
    n = len(user)
    before = rng.normal(size=n)
    available = rng.random(n) < 0.8
    probability = np.where(available, 0.3 + 0.4 / (1 + np.exp(-before)) if varying else 0.6, 0.0)
    treated = rng.random(n) < probability
    level = rng.normal(size=users)[user]
    outcome = level + 0.6 * before - 0.01 * day + treated * (day_0 + slope * day) + rng.normal(size=n)
    return Trial(day.astype(float), user, treated, probability, available, outcome, before)


def measured(data: Trial) -> FatigueEffect:
    return fatigue_effect(
        data.day, data.user, data.treated, data.probability, data.available, data.outcome, data.before
    )


@pytest.mark.parametrize("varying", [False, True], ids=["constant p", "varying p"])
def test_finds_the_line_of_a_simulated_trial(varying: bool) -> None:
    """400 trials: the mean estimate lies within 4 Monte Carlo errors of the truth, intervals cover in 91 to 98 %."""
    rng = np.random.default_rng(11)
    found = [measured(trial(rng, users=50, days=14, varying=varying)) for _ in range(400)]
    for name, truth in (("day_0", 0.5), ("slope", -0.02)):
        estimate = np.array([getattr(one, name) for one in found])
        se = np.array([getattr(one, f"{name}_se") for one in found])
        assert abs(estimate.mean() - truth) < 4 * estimate.std() / np.sqrt(len(found))
        assert 0.91 < (np.abs(estimate - truth) < 1.96 * se).mean() < 0.98


def test_weights_remove_what_the_probability_confounds() -> None:
    """With a send more likely after a busy half-hour and no control for it, the unweighted difference is far off."""
    data = trial(np.random.default_rng(3), users=400, days=14, slope=0.0, varying=True)
    found = fatigue_effect(data.day, data.user, data.treated, data.probability, data.available, data.outcome)
    naive = data.outcome[data.available & data.treated].mean() - data.outcome[data.available & ~data.treated].mean()
    assert abs(found.average - 0.5) < 4 * found.average_se
    assert naive - 0.5 > 4 * found.average_se


def test_published_analysis(shared_data: Path) -> None:
    """Average 0.131 (0.065), day 0 0.507 (0.146), slope -0.0185 (0.0059): + 14 %, + 66 %, zero near day 27."""
    found = heartsteps_effect(shared_data / HEARTSTEPS)
    assert (found.average, found.average_se) == (pytest.approx(0.131, abs=5e-4), pytest.approx(0.065, abs=5e-4))
    assert (found.day_0, found.day_0_se) == (pytest.approx(0.507, abs=5e-4), pytest.approx(0.146, abs=5e-4))
    assert (found.slope, found.slope_se) == (pytest.approx(-0.0185, abs=5e-5), pytest.approx(0.0059, abs=5e-5))
    assert found.zero_day == pytest.approx(27, abs=1)
    assert (found.users, found.rows) == (37, 6_061)
    assert np.exp(found.average) - 1 == pytest.approx(0.14, abs=0.005)
    assert np.exp(found.at(0)) - 1 == pytest.approx(0.66, abs=0.005)


@pytest.mark.parametrize(("day_0", "slope", "zero"), [(0.5, -0.1, 5.0), (0.5, 0.1, np.nan), (-0.5, -0.1, np.nan)])
def test_zero_day_by_hand(day_0: float, slope: float, zero: float) -> None:
    found = FatigueEffect(0.1, 0.1, day_0, 0.1, slope, 0.1, rows=2, users=2)
    np.testing.assert_allclose(found.zero_day, zero)
    assert found.at(1) == pytest.approx(day_0 + slope)


def heartsteps_rows() -> pd.DataFrame:
    rows = [(user, day, 1, (user + day) % 2, 0.6, 1.0 * day, 0.5 * user) for user in range(3) for day in range(4)]
    return pd.DataFrame(rows, columns=["user", "day", "avail", "send", "p_send", "y_log", "prelog"])


def test_rows_by_hand(tmp_path: Path) -> None:
    heartsteps_rows().to_csv(tmp_path / "t.csv", index=False)
    data = read_heartsteps(tmp_path / "t.csv")
    np.testing.assert_array_equal(data.user[:5], [0, 0, 0, 0, 1])
    np.testing.assert_array_equal(data.treated[:3], [False, True, False])
    assert data.available.all()


@pytest.mark.parametrize("column", ["user", "p_send", "prelog"])
def test_missing_column(column: str, tmp_path: Path) -> None:
    heartsteps_rows().drop(columns=column).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=column):
        read_heartsteps(tmp_path / "t.csv")


def test_incomplete_row(tmp_path: Path) -> None:
    table = heartsteps_rows()
    table.loc[5, "y_log"] = np.nan
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match="row 6"):
        heartsteps_effect(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"cluster": np.zeros(4, dtype=int)}, DataError, "1 persons"),
        ({"available": np.zeros(4, dtype=bool)}, DataError, "0 persons"),
        ({"probability": np.array([0.5, 0.5, 0.5, 1.0])}, DataError, "probability"),
        ({"probability": np.array([0.5, 0.5, 0.5, np.nan])}, DataError, "probability"),
        ({"outcome": np.array([1.0, 2.0, np.inf, 4.0])}, DataError, "finite"),
        ({"treated": np.zeros(4, dtype=bool)}, DataError, "apart"),
        ({"moderators": np.ones((4, 2))}, DataError, "apart"),
        ({"treated": np.zeros(3, dtype=bool)}, ParameterError, "treated"),
        ({"available": np.ones(3, dtype=bool)}, ParameterError, "available"),
        ({"probability": np.ones((4, 1))}, ParameterError, "probability"),
        ({"cluster": np.zeros(3, dtype=int)}, ParameterError, "moderators"),
        ({"moderators": np.ones(4)}, ParameterError, "moderators"),
        ({"controls": np.ones((3, 1))}, ParameterError, "moderators"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_bad_trials(change: dict[str, Any], error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        excursion_effects(**few() | change)


@pytest.mark.parametrize("name", ["day", "before"])
def test_bad_shapes(name: str) -> None:
    data = replace(trial(np.random.default_rng(0), users=2, days=3), **{name: np.zeros(2)})
    with pytest.raises(ParameterError, match="day"):
        measured(data)


def test_results_are_frozen() -> None:
    found = excursion_effects(**few())
    with pytest.raises(AttributeError):
        found.rows = 3
    assert isinstance(found, Excursion)
