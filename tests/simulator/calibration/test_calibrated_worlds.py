"""The plays that are measured: identities of the trial, the test, the cohort and the delays."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import ParameterError
from simulator.calibration.campaign import frequency_moments, value_curve
from simulator.calibration.content import own_category, simulate_test
from simulator.calibration.delays import DELAY_IDS, delay_moments
from simulator.calibration.flows import flow_moments
from simulator.calibration.organic import moments_of, numbers_of, regulars, simulate_cohort
from simulator.calibration.push_fatigue import DAYS, SENT, push_moments, simulate_trial
from simulator.calibration.targets.baskets import LogNormalBaskets
from simulator.calibration.targets.bg_nbd import BgNbd
from simulator.calibration.targets.neyman import SegmentEffects
from simulator.scenario import load_scenario

SEED = 3


def test_the_trial_is_the_published_one() -> None:
    contacts = 200
    trial = simulate_trial(load_scenario("heartsteps"), contacts, SEED)
    n = contacts * 5 * DAYS
    assert len(trial.day) == n
    assert trial.day.min() == 0
    assert trial.day.max() == DAYS - 1
    assert np.bincount(trial.day.astype(int)).tolist() == [5 * contacts] * DAYS
    assert set(trial.probability[trial.available]) == {SENT}
    assert not trial.probability[~trial.available].any()
    assert not trial.treated[~trial.available].any()
    # Four standard errors of a share of n draws.
    assert trial.available.mean() == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / n))
    assert trial.treated[trial.available].mean() == pytest.approx(SENT, abs=4 * np.sqrt(0.24 / (0.8 * n)))
    # As many half-hours without a step as in the real trial, 39 %.
    still = trial.outcome[~trial.treated] == np.log(0.5)
    assert 0.33 < still.mean() < 0.45


def test_a_push_that_nobody_follows_has_no_effect() -> None:
    changes = {"response": {"order": {"push": 1e-9}}}
    effect = push_moments(changes, 300, SEED)
    assert abs(effect["push_effect_average"]) < 0.08


def test_fatigue_is_what_bends_the_line() -> None:
    """Without fatigue the effect is as large on the last day as on the first."""
    tired = push_moments({}, 400, SEED)
    fresh = push_moments({"response": {"fatigue_drop": {"push": 0.0}, "fatigue_bend": {"push": 0.0}}}, 400, SEED)
    assert tired["push_effect_average"] < 0.5 * fresh["push_effect_average"]
    assert abs(fresh["push_effect_slope"]) < 0.4 * abs(tired["push_effect_slope"])


def test_an_e_mail_that_nobody_clicks_changes_nothing_at_all() -> None:
    """The same contacts live all three arms with the same luck: no difference is exactly none."""
    silent = simulate_test(load_scenario("hillstrom", {"response": {"click": {"email": 1e-12}}}), 500, SEED)
    assert not silent.effect.any()
    assert (silent.mean[:, 0] > 0).all()
    assert silent.rows.sum() == 3 * 500
    assert (silent.rows == silent.rows[:, :1]).all()


def test_e_mail_only_adds_visits() -> None:
    assert (simulate_test(load_scenario("hillstrom"), 3000, SEED).effect >= 0).all()


def test_own_category_by_hand() -> None:
    """Equal errors: means of own 6 and 8, of other 1 and 3 -> log(7 / 2)."""
    effect = np.array([[[6.0], [1.0]], [[3.0], [8.0]], [[50.0], [50.0]]])
    shape = (3, 3, 1)
    table = SegmentEffects(
        segments=("m", "w", "b"),
        arms=("n", "m", "w"),
        outcomes=("visit",),
        rows=np.full((3, 3), 10),
        mean=np.zeros(shape),
        mean_se=np.ones(shape),
        effect=effect,
        effect_se=np.ones((3, 2, 1)),
    )
    assert own_category(table) == pytest.approx(np.log(3.5))


def test_units_of_the_cohort_by_hand() -> None:
    """r = 0.5, alpha = 10 weeks: 0.05 a week. a = 1, b = 3: a quarter leaves, 1 / (1 + 4) is the spread."""
    numbers = numbers_of(BgNbd(0.5, 10.0, 1.0, 3.0), LogNormalBaskets(3.0, 0.4, 0.6, 100, 50))
    assert numbers["population"]["order_shape"] == 0.5
    assert numbers["population"]["order_rate_per_day"] == pytest.approx(0.05 / 7, rel=1e-4)
    assert numbers["population"]["basket_sd"] == 0.4
    # The median between customers; orders of a customer are spread about the mean.
    assert numbers["population"]["basket_usd"] == pytest.approx(np.exp(3.0 + 0.18), rel=1e-4)
    assert numbers["dynamics"] == {"gone_per_order": 0.25, "gone_spread": 0.2}


def test_a_cohort_follows_the_law_that_it_was_given() -> None:
    """Repeat purchases within 30 weeks of the first are those of BG/NBD, by its own formula."""
    model = BgNbd(0.6, 6.0, 0.8, 2.0)
    changes = numbers_of(model, LogNormalBaskets(3.0, 0.4, 0.6, 100, 50))
    contacts, weeks = 4000, 42
    cohort = simulate_cohort(load_scenario("organic", changes), contacts, SEED, weeks)
    first = cohort.day[cohort.first]
    within = (cohort.day > first) & (cohort.day <= first + 30 * 7)
    repeats = np.bincount(cohort.customer[within], minlength=contacts)
    expected = float(model.expected(np.array([30.0]))[0])
    error = repeats.std() / np.sqrt(contacts)
    # Orders of one day are one, which costs a little; the rest is luck.
    assert repeats.mean() == pytest.approx(expected, abs=4 * error + 0.01 * expected)
    none = float(model.probability(np.array([0]), 30.0)[0])
    assert (repeats == 0).mean() == pytest.approx(none, abs=4 * np.sqrt(none * (1 - none) / contacts))


def test_one_dropout_for_all_loses_the_loyal() -> None:
    """The reason for `gone_spread`: late repeat purchases come from those who never leave."""
    alike, differing = (
        moments_of(simulate_cohort(load_scenario("organic", {"dynamics": {"gone_spread": spread}}), 3000, SEED))
        for spread in (0.0, 0.257)
    )
    late = "organic_repeats_weeks_40_to_78"
    assert alike[late] < 0.75 * differing[late]


def test_regulars_buy_more_often_and_leave_less() -> None:
    model = BgNbd(0.25, 4.8, 0.72, 2.16)
    found = regulars(model, 39.0, 20_000, SEED)
    assert found["order_shape"] > model.r
    assert found["order_rate_per_day"] > model.r / model.alpha / 7
    assert found["gone_per_order"] < model.a / (model.a + model.b)
    assert 0.0 < found["share"] < 1.0
    assert regulars(model, 39.0, 20_000, SEED) == found


@pytest.mark.parametrize(("weeks", "draws"), [(0.0, 5000), (float("nan"), 5000), (39.0, 10)])
def test_regulars_of_no_time_or_nobody(weeks: float, draws: int) -> None:
    with pytest.raises(ParameterError, match="draws"):
        regulars(BgNbd(0.25, 4.8, 0.72, 2.16), weeks, draws, SEED)


def test_delays_are_read_off_the_curves() -> None:
    """A curve that has everything within half an hour: all shares are 1, and the median is 30 minutes at most."""
    fast = ((0.25, 0.5), (0.5, 1.0))
    curves = dict.fromkeys(("seen/email", "clicked/email", "clicked/push"), fast)
    shipped = dict(load_scenario("newsletter").delay.curves)  # type: ignore[attr-defined]
    found = delay_moments(load_scenario("newsletter", {"delay": {"curves": {**shipped, **curves}}}), 500, SEED)
    assert set(found) == set(DELAY_IDS)
    median = found.pop("push_open_median_delay_leanplum")
    assert set(found.values()) == {1.0}
    assert median == pytest.approx(15.0, rel=0.3)


def test_a_flow_is_read_more_than_the_same_message_without_its_fit() -> None:
    with_fit = flow_moments({}, 300, SEED)
    without = flow_moments({"calibration": ["base"]}, 300, SEED)
    for name, value in with_fit.items():
        assert value > without[name]


def test_the_best_frequency_by_hand() -> None:
    """2 sqrt(f) - f / 2 has its peak at f = 4, where it is 2; at 10 it is 6.3246 - 5 = 1.3246."""
    at = np.array([2.0, 3.0, 4.0, 6.0, 10.0, 14.0])
    best, at_4, at_10 = value_curve(at, 2 * np.sqrt(at) - at / 2)
    assert best == pytest.approx(4.0, abs=0.01)
    assert at_4 == pytest.approx(1.0)
    assert at_10 == pytest.approx((2 * np.sqrt(10.0) - 5.0) / 2.0)


@pytest.mark.slow
def test_more_irritation_means_fewer_e_mails() -> None:
    best = [
        frequency_moments({"dynamics": {"irritation": irritation}}, 200, SEED)["email_optimum_zhang_2017"]
        for irritation in (0.0, 0.01)
    ]
    assert best[1] < best[0]
