"""Planned sample sizes: by hand, and whether a log of that size sees what it was planned for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.errors import DataError, ParameterError
from engine.ope.intervals.asymptotic import boundary
from engine.ope.plan import Need, PilotSums, Terms, needed, of_moments
from engine.ope.support import SupportRule
from engine.ope.target import LoggedTarget, PolicyTarget
from tests.engine.ope.asking import evaluate

NO_RULE = SupportRule(min_ess=0, min_outcomes=0, max_weight_share=0, max_square_share=0)
ASKED = {"alpha": 0.05, "power": 0.9, "interval": "delta", "kurtosis": math.nan, "rule": NO_RULE}


def test_moments_by_hand() -> None:
    """e = 0.2, k = 4, sd 0.5, d = 0.3: weights 4 / 0.2 = 20 and 1 / (0.8 + 0.05) = 1 / 0.85.

    var = 0.3 * 0.25 * (20 + 1.17647); E w^2 = 0.3 * 20 + 0.7 / 0.85.
    """
    terms = of_moments(0.2, actions=4, sd=0.5, disagreement=0.3)
    assert terms.variance == pytest.approx(0.075 * (20 + 1 / 0.85))
    assert terms.weight_squares == pytest.approx(6 + 0.7 / 0.85)
    assert terms.largest_weight == pytest.approx(20)


def test_decisions_by_hand() -> None:
    """sd 2, difference 0.1: (2 (1.959964 + 1.281552) / 0.1)^2 = 64.83032^2 = 4202.97, so 4203."""
    assert needed(Terms(1.0, 4.0, 2.0, 2.0), 0.1, **ASKED).decisions == 4203
    assert needed(Terms(1.0, 4.0, 2.0, 2.0), -0.1, **ASKED).decisions == 4203


def test_a_sequence_needs_more_and_exactly_enough() -> None:
    """At the number found, boundary sd + 1.2816 sd / sqrt(n) is at most the difference; one decision less is not."""
    found = needed(Terms(1.0, 4.0, 2.0, 2.0), 0.1, **(ASKED | {"interval": "asymptotic_sequence"}))
    n = found.for_power
    assert n > 4203

    def reach(count: int) -> float:
        return 2 * (float(boundary(np.array([float(count)]), 0.05)[0]) + 1.281552 / math.sqrt(count))

    assert reach(n) <= 0.1 + 1e-9 < reach(n - 2)
    tiny = needed(Terms(1.0, 4.0, 2.0, 2.0), 1e-9, **(ASKED | {"interval": "asymptotic_sequence"}))
    assert tiny.decisions is None


def test_support_can_ask_for_more_than_the_power() -> None:
    """E w^2 = 10: ESS 30 needs 300 rows; 5 rare outcomes of kurtosis 98 need 4,900; 15^2 / (10 * 0.1) = 225."""
    terms = Terms(0.5, 1.0, 10.0, 15.0)
    asked = ASKED | {"rule": SupportRule()}
    assert needed(terms, 1.0, **asked) == Need(
        exploration=0.5,
        decisions=300,
        for_power=11,
        for_support=300,
        sd=1.0,
        effective_share=0.1,
        largest_weight=15.0,
    )
    assert needed(terms, 1.0, **(asked | {"kurtosis": 98.0})).decisions == 4900


def test_without_exploration_nothing_is_enough() -> None:
    terms = of_moments(0.0, actions=2, sd=1.0, disagreement=0.5)
    assert needed(terms, 0.1, **ASKED) == Need(exploration=0.0)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"difference": 0.0}, "difference"),
        ({"difference": math.inf}, "difference"),
        ({"power": 0.4}, "power"),
        ({"power": 1.0}, "power"),
        ({"alpha": 0.0}, "alpha"),
        ({"interval": "catoni"}, "interval"),
    ],
    ids=["none", "infinite", "low-power", "certain", "no-error", "interval"],
)
def test_wrong_questions_are_refused(change, named) -> None:
    asked = {"difference": 0.1, **ASKED} | change
    with pytest.raises(ParameterError, match=named):
        needed(Terms(1.0, 1.0, 2.0, 2.0), asked.pop("difference"), **asked)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"exploration": 1.2}, "exploration"),
        ({"actions": 1}, "actions"),
        ({"sd": 0.0}, "sd"),
        ({"sd": math.nan}, "sd"),
        ({"disagreement": 0.0}, "disagreement"),
    ],
    ids=["exploration", "actions", "no-sd", "nan-sd", "disagreement"],
)
def test_wrong_moments_are_refused(change, named) -> None:
    asked = {"exploration": 0.5, "actions": 2, "sd": 1.0, "disagreement": 1.0} | change
    with pytest.raises(ParameterError, match=named):
        of_moments(asked.pop("exploration"), **asked)


def world(ope, rng, n, lift, exploration, rows_per_chunk=4096):
    """Two arms worth 1 and 1 + lift, noise 0.3; arm 0 is today's, but for a share drawn uniformly."""
    uniform = rng.random(n) < exploration
    action = np.where(uniform, rng.integers(2, size=n), 0)
    propensity = np.where(action == 0, 1 - exploration / 2, exploration / 2)
    reward = 1.0 + lift * action + 0.3 * rng.normal(size=n)
    return ope.batches(action, propensity, {"r": reward}, k=2, rows_per_chunk=rows_per_chunk)


def arms(ope):
    return [PolicyTarget(ope.TablePolicy(f"arm {a}", np.eye(2)[a])) for a in (0, 1)]


def pilot_of(ope, batches, explorations, baseline=None):
    base, target = arms(ope)
    sums = PilotSums(target, baseline or base, metric="r", reward_range=(-9.0, 9.0), explorations=explorations)
    for batch in batches:
        sums.add(batch)
    return sums


def test_a_policy_in_the_place_of_a_share_decides_the_log_to_come(ope) -> None:
    """Today's arm but for 30 % drawn uniformly is (0.85, 0.15): the very same terms, but for the name of the share."""
    batches = world(ope, np.random.default_rng(2), 5_000, 0.03, 0.3)
    mixed = PolicyTarget(ope.TablePolicy("mixed", (0.85, 0.15)))
    share, policy = pilot_of(ope, batches, (0.3, mixed)).result().terms
    assert policy.variance == pytest.approx(share.variance, rel=1e-12)
    assert policy.largest_weight == pytest.approx(share.largest_weight)
    assert math.isnan(policy.exploration)
    never = PolicyTarget(ope.TablePolicy("today", (1.0, 0.0)))
    assert pilot_of(ope, batches, (never,)).result().terms[0].variance == math.inf


def test_a_pilot_tells_of_logs_that_explore_more_or_less(ope) -> None:
    """From a log at 30 %: variances at 5, 30 and 100 % as the moments give them, within 5 % of 60,000 rows."""
    pilot = pilot_of(ope, world(ope, np.random.default_rng(1), 60_000, 0.03, 0.3), (0.05, 0.3, 1.0)).result()
    assert pilot.baseline == pytest.approx(1.0, abs=0.01)
    assert pilot.target == pytest.approx(1.03, abs=0.02)
    for terms in pilot.terms:
        expected = of_moments(terms.exploration, actions=2, sd=0.3, disagreement=1.0)
        assert terms.variance == pytest.approx(expected.variance, rel=0.05)
        assert terms.weight_squares == pytest.approx(expected.weight_squares, rel=0.05)
        assert terms.largest_weight == pytest.approx(expected.largest_weight)


def test_a_pilot_knows_the_error_of_its_variance(ope) -> None:
    """Over 150 pilots the variances spread as each pilot says of its own, within a quarter."""
    found = [
        pilot_of(ope, world(ope, np.random.default_rng([9, seed]), 1_500, 0.03, 0.3), (0.3,)).result().terms[0]
        for seed in range(150)
    ]
    spread = np.std([terms.variance for terms in found], ddof=1)
    assert np.mean([terms.variance_stderr for terms in found]) == pytest.approx(spread, rel=0.25)


def test_an_uncertain_variance_asks_for_more_decisions() -> None:
    known, unsure = Terms(1.0, 4.0, 2.0, 2.0), Terms(1.0, 4.0, 2.0, 2.0, variance_stderr=0.4)
    assert known.assured_variance(0.8) == 4.0
    assert unsure.assured_variance(0.8) == pytest.approx(4.0 + 0.8416212 * 0.4)
    assert unsure.assured_variance(0.5) == pytest.approx(4.0)
    assert needed(unsure, 0.1, **ASKED).decisions > needed(known, 0.1, **ASKED).decisions == 4203
    with pytest.raises(ParameterError, match="assurance"):
        needed(unsure, 0.1, **ASKED, assurance=0.3)


def test_the_pilots_own_exploration_gives_its_own_standard_error(ope) -> None:
    """With the baseline as it was logged, the plan's variance over n is the squared error of the evaluation."""
    batches = world(ope, np.random.default_rng(2), 8_000, 0.05, 0.4)
    base, target = arms(ope)
    error = (
        evaluate(batches, [target], metric="r", reward_range=(-9, 9), estimators=("snips",), baseline=base)
        .results[0]
        .difference.stderr
    )
    planned = pilot_of(ope, batches, (0.4,)).result().terms[0].variance
    assert math.sqrt(planned / 8_000) == pytest.approx(error, rel=0.02)


def test_pilots_merge_in_any_order(ope) -> None:
    batches = world(ope, np.random.default_rng(3), 2_000, 0.1, 0.4, rows_per_chunk=150)
    whole = pilot_of(ope, batches, (0.1, 0.5))
    left, right = pilot_of(ope, batches[::2], (0.1, 0.5)), pilot_of(ope, batches[1::2], (0.1, 0.5))
    right.merge(left)
    assert right.result() == whole.result()
    with pytest.raises(DataError, match="came twice"):
        right.merge(left)


def test_the_logged_choices_can_go_on(ope) -> None:
    """The baseline is what was logged, mixed with more uniform decisions: weights fall, so fewer are needed."""
    batches = world(ope, np.random.default_rng(4), 20_000, 0.05, 0.1)
    rare, often = pilot_of(ope, batches, (0.0, 0.5), LoggedTarget()).result().terms
    assert rare.largest_weight == pytest.approx(20)
    assert often.variance < rare.variance


def test_what_is_never_logged_needs_infinitely_many(ope) -> None:
    pilot = pilot_of(ope, world(ope, np.random.default_rng(5), 2_000, 0.05, 0.5), (0.0, 0.5)).result()
    assert pilot.terms[0].variance == math.inf
    assert math.isfinite(pilot.terms[1].variance)


def test_a_pilot_that_never_did_it_tells_nothing(ope) -> None:
    batches = ope.batches([0] * 50, [0.9] * 50, {"r": [1.0] * 50}, k=2)
    with pytest.raises(DataError, match="no row on which the policy"):
        pilot_of(ope, batches, (0.5,)).result()


@pytest.mark.parametrize("explorations", [(), (0.5, 1.5), (-0.1,)], ids=["none", "above-1", "below-0"])
def test_wrong_explorations_are_refused(ope, explorations) -> None:
    with pytest.raises(ParameterError, match="exploration"):
        pilot_of(ope, [], explorations)


def verdicts(ope, n, lift, exploration, seeds, interval="delta"):
    rng = np.random.default_rng(42)
    base, target = arms(ope)
    return [
        evaluate(
            world(ope, rng, n, lift, exploration),
            [target],
            metric="r",
            reward_range=(-9, 9),
            estimators=("snips",),
            baseline=base,
            interval=interval,
        )
        .results[0]
        .verdict
        for _ in range(seeds)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("interval", ["delta", "asymptotic_sequence"])
def test_a_lift_of_3_percent_is_found_at_the_planned_size_and_none_is_not(ope, interval) -> None:
    """100 seeds at the size that a pilot of 4,000 rows plans for a power of 0.9: better in at least 80.

    Without a lift in under 5 % of 400: an exact two-sided interval has 2.5 %, and 20 or more with 0.3 %.
    """
    exploration = 0.5
    pilot = pilot_of(ope, world(ope, np.random.default_rng(8), 4_000, 0.03, exploration), (exploration,)).result()
    plan = needed(
        pilot.terms[0], 0.03, alpha=0.05, power=0.9, interval=interval, kurtosis=pilot.kurtosis, rule=SupportRule()
    )
    assert plan.decisions == plan.for_power
    found = verdicts(ope, plan.decisions, 0.03, exploration, 100, interval)
    assert found.count("better") >= 80
    assert found.count("worse") == 0
    nothing = verdicts(ope, plan.decisions, 0.0, exploration, 400, interval)
    assert nothing.count("better") < 20
    assert nothing.count("insufficient") == 0


@pytest.mark.slow
def test_the_power_is_the_one_asked_for(ope) -> None:
    """300 seeds at a power of 0.8: within 4 standard errors (0.8 +- 0.09), neither too few decisions nor too many."""
    terms = of_moments(0.5, actions=2, sd=0.3, disagreement=1.0)
    plan = needed(terms, 0.05, **(ASKED | {"power": 0.8}))
    share = verdicts(ope, plan.decisions, 0.05, 0.5, 300).count("better") / 300
    assert 0.71 <= share <= 0.89
