"""The audit on healthy logs, and on logs that were spoilt in one way each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.audit.evidence import count_p, upper_p
from engine.audit.windows import day_name
from tests.engine.audit.audited_worlds import FIRST_DAY, World, healthy, named

TESTS = ("mean_weight", "sample_ratio", "leaked_features")


def test_a_healthy_log_passes_every_check(logged: World) -> None:
    audit = logged.audit(uniform_share=0.2)
    assert audit.verdict == "pass"
    assert {found.check: found.verdict for found in audit.findings if found.verdict != "n/a"} == dict.fromkeys(
        (
            *("propensities", "mean_weight", "sample_ratio", "group_ratio", "missing_decisions", "undispatched"),
            *("leaked_features", "explained_outcome", "future_features", "feature_drift", "propensity_drift"),
            *("maturity", "logged_action"),
        ),
        "pass",
    )
    assert named(audit, "mean_weight").details["full_support"]


@pytest.mark.parametrize("uniform", [False, True], ids=["slice", "even"])
def test_healthy_logs_pass_in_every_seed(uniform: bool) -> None:
    """An error of 0.1 % each: 10 logs fail with a probability below 1 %, and these seeds do not."""
    verdicts = [healthy(2000, seed, uniform=uniform).audit().verdict for seed in range(10)]
    assert verdicts.count("fail") == 0


def test_shuffled_propensities_fail(logged: World) -> None:
    shuffled = np.random.default_rng(0).permutation(logged.propensity)
    audit = replace(logged, propensity=shuffled).audit()
    found = named(audit, "mean_weight")
    assert (audit.verdict, found.verdict) == ("fail", "fail")
    assert found.value is not None
    assert found.value < 1e-10
    assert named(audit, "leaked_features").verdict == "n/a"


def test_shuffled_propensities_fail_without_a_uniform_slice_too() -> None:
    """Nothing is known of the support then: only means above 1 are faults, and they are there."""
    log = healthy(12_000, 3)
    log = replace(log, group=np.full(log.n, "treatment", dtype=object))
    assert log.audit().verdict == "pass"
    shuffled = replace(log, propensity=np.random.default_rng(0).permutation(log.propensity))
    assert named(shuffled.audit(), "mean_weight").verdict == "fail"


def test_randomisation_that_broke_in_one_month_is_found_and_dated(randomised: World) -> None:
    """In April every draw leans to the first eligible actions, as with squared random numbers."""
    april = np.datetime64("2026-04-01").astype("datetime64[D]").astype(int)
    broken, rng = randomised.action.copy(), np.random.default_rng(5)
    rows = np.flatnonzero(randomised.day >= april)
    cumulated = np.cumsum(randomised.distribution[rows], axis=1)
    broken[rows] = (rng.random((len(rows), 1)) ** 2 > cumulated).sum(axis=1)
    propensity = randomised.distribution[np.arange(randomised.n), broken]
    audit = replace(randomised, action=broken, propensity=propensity).audit()
    for check in ("mean_weight", "sample_ratio"):
        assert named(audit, check).verdict == "fail"
    windows = named(audit, "mean_weight").details["windows"]
    assert "2026-04" in windows
    assert "2026-03" not in windows
    assert not any(window.startswith("2026-03") for window in windows)


def test_rows_lost_by_arm_fail_the_ratio(randomised: World) -> None:
    """Every tenth row with an offer by e-mail is lost on its way into the log."""
    lost = (randomised.action == 2) & (np.arange(randomised.n) % 10 == 0)
    found = named(randomised.take(~lost).audit(error=0.05, warn_error=0.05), "sample_ratio")
    assert found.value is not None
    half = (randomised.action == 2) & (np.arange(randomised.n) % 2 == 0)
    assert named(randomised.take(~half).audit(), "sample_ratio").verdict == "fail"


def test_a_slice_that_is_not_as_large_as_declared_fails(logged: World) -> None:
    assert named(logged.audit(uniform_share=0.2), "group_ratio").verdict == "pass"
    assert named(logged.audit(uniform_share=0.25), "group_ratio").verdict == "fail"
    assert named(logged.audit(), "group_ratio").verdict == "n/a"


def test_control_that_is_sent_to_or_crosses_over_fails(logged: World) -> None:
    control = logged.contact % 10 == 0
    group = np.where(control, "control", logged.group)
    held = replace(logged, group=group, action=np.where(control, 0, logged.action))
    held = replace(held, propensity=np.where(control, 1.0, logged.propensity))
    assert named(held.audit(control_share=0.1), "control_kept").verdict == "pass"
    assert named(held.audit(control_share=0.1), "group_ratio").verdict == "pass"
    assert named(replace(held, action=logged.action).audit(), "control_kept").verdict == "fail"
    crossed = replace(held, contact=np.where(np.arange(held.n) < 50, 10, held.contact))
    assert named(crossed.audit(), "control_kept").verdict == "fail"


def test_a_feature_that_was_read_after_the_send_is_a_leak(logged: World) -> None:
    """Spend is three times as high for those who got a message: nothing that the outcome would show."""
    later = logged.context["spend"] * np.where(logged.action > 0, 3.0, 1.0)
    audit = replace(logged, context={**logged.context, "spend": later}).audit()
    found = named(audit, "leaked_features")
    assert (audit.verdict, found.verdict, named(audit, "mean_weight").verdict) == ("fail", "fail", "pass")
    assert all(name.startswith("spend") for name in found.details["indicators"])


def test_a_feature_that_is_the_outcome_is_a_leak(logged: World) -> None:
    seen = np.where(logged.click > 0, "town", "country")
    found = named(replace(logged, context={**logged.context, "zip": seen}).audit(), "explained_outcome")
    assert found.verdict == "fail"
    assert found.value == pytest.approx(1.0)
    assert "zip of click" in found.what


def test_an_age_below_zero_is_newer_than_the_decision(logged: World) -> None:
    ages = logged.context["days_since_order"].copy()
    ages[7] = -1.0
    found = named(replace(logged, context={**logged.context, "days_since_order": ages}).audit(), "future_features")
    assert (found.verdict, found.value) == ("fail", 1 / logged.n)


def test_rewards_known_for_sends_only_are_found(logged: World) -> None:
    """Holds have no reward: a usual way to lose them."""
    click = np.where(logged.action == 0, np.nan, logged.click)
    audit = replace(logged, click=click).audit()
    assert named(audit, "outcomes_by_action").verdict == "fail"
    recent = np.where(logged.day > FIRST_DAY + 50, np.nan, logged.click)
    assert named(replace(logged, click=recent).audit(), "outcomes_by_action").verdict == "pass"


def test_what_did_not_leave_is_counted(logged: World) -> None:
    usable = (logged.action == 0) | (np.arange(logged.n) % 3 > 0)
    found = named(replace(logged, usable=usable).audit(), "undispatched")
    assert found.verdict == "fail"
    assert found.value == pytest.approx((~usable).mean())


def test_missing_days_and_drift_are_warned_of(logged: World) -> None:
    gone = (logged.day >= FIRST_DAY + 20) & (logged.day < FIRST_DAY + 30)
    audit = logged.take(~gone).audit()
    assert (named(audit, "missing_decisions").verdict, audit.verdict) == ("warn", "warn")
    assert day_name(FIRST_DAY + 20) in named(audit, "missing_decisions").what
    late = logged.day >= FIRST_DAY + 30
    moved = {**logged.context, "zip": np.where(late, "city", logged.context["zip"])}
    found = named(replace(logged, context=moved).audit(), "feature_drift")
    assert found.verdict == "warn"
    assert "zip" in found.what


def test_merged_parts_say_what_one_pass_says(logged: World) -> None:
    whole, parts = logged.audit(uniform_share=0.2), logged.audit(parts=3, uniform_share=0.2)
    for one, other in zip(whole.findings, parts.findings, strict=True):
        assert (one.check, one.verdict, one.what) == (other.check, other.verdict, other.what)
        assert one.value == pytest.approx(other.value)


def test_nothing_was_explored(logged: World) -> None:
    audit = replace(logged, propensity=np.ones(logged.n)).audit()
    assert named(audit, "propensities").verdict == "warn"


def test_p_values_by_hand() -> None:
    """Ten of ten where one in two is expected: 2 / 1024 from both sides. No deviation is no evidence.

    Fifty terms of 1: the stake 1/2 alone gives exp(50 (1/2 - ln 2 + 1/2)) / 14, the others add 1 %.
    """
    assert count_p(np.array([10]), np.array([10]), np.array([5.0]))[0] == pytest.approx(2 / 1024)
    assert upper_p(np.array([0.0]), np.array([5.0]))[0] == 1.0
    by_hand = 14.0 * np.exp(-50.0 * (1.0 - np.log(2.0)))
    assert upper_p(np.array([50.0]), np.array([50.0]))[0] == pytest.approx(by_hand, rel=0.02)


def test_the_evidence_errs_no_more_often_than_it_says() -> None:
    """1,000 martingales of heavy weights looked at after each 20 of 400 rows: below 0.05 at any time in at most 5 %."""
    rng = np.random.default_rng(8)
    hit = rng.random((1000, 400)) < 0.02
    x = np.where(hit, 50.0, 0.0) - 1.0
    looks = slice(19, None, 20)
    p_values = upper_p(np.cumsum(x, axis=1)[:, looks], np.cumsum(x * x, axis=1)[:, looks])
    assert (p_values.min(axis=1) < 0.05).mean() <= 0.05
