"""What must hold of the estimators on any log."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.ope.estimators.weighting import Ips, Snips
from engine.ope.support import SupportRule
from engine.ope.target import LoggedTarget, PolicyTarget
from tests.engine.ope.asking import estimate_of, evaluate

FLOATS = st.floats(-100, 100, allow_subnormal=False)
LOGS = st.lists(st.tuples(st.floats(0.01, 50), FLOATS), min_size=3, max_size=40)
ANY = SupportRule(min_ess=0, min_clusters=0, max_weight_share=1, max_square_share=1, mean_weight_slack=99)


def _rounding(*rewards: np.ndarray) -> float:
    """What rounding leaves of an error that is 0: the root of the last bit of a squared sum of so large rewards."""
    return 1e-7 * max(1.0, *(float(np.abs(values).max()) for values in rewards))


@settings(max_examples=80, deadline=None)
@given(LOGS, st.floats(-50, 50))
def test_snips_moves_with_a_constant_and_its_error_does_not(rows, shift) -> None:
    weight, reward = np.array(rows).T
    plain, moved = (estimate_of(Snips(), weight, r) for r in (reward, reward + shift))
    assert moved.value == pytest.approx(plain.value + shift, abs=1e-9)
    assert moved.stderr == pytest.approx(plain.stderr, abs=_rounding(reward, reward + shift))
    assert reward.min() - 1e-9 <= plain.value <= reward.max() + 1e-9


@settings(max_examples=80, deadline=None)
@given(LOGS, st.floats(0.1, 100))
def test_scaled_rewards_scale_everything(rows, factor) -> None:
    weight, reward = np.array(rows).T
    for estimator in (Ips(), Snips()):
        plain, scaled = (estimate_of(estimator, weight, r) for r in (reward, reward * factor))
        assert scaled.value == pytest.approx(plain.value * factor, rel=1e-9, abs=1e-9)
        assert scaled.stderr == pytest.approx(plain.stderr * factor, rel=1e-9, abs=_rounding(reward * factor))


@settings(max_examples=50, deadline=None)
@given(st.lists(FLOATS, min_size=2, max_size=40))
def test_weights_of_one_give_the_mean_and_its_textbook_error(rewards) -> None:
    reward = np.array(rewards)
    for estimator in (Ips(), Snips()):
        found = estimate_of(estimator, np.ones_like(reward), reward)
        assert found.value == pytest.approx(reward.mean(), abs=1e-9)
        assert found.stderr == pytest.approx(reward.std(ddof=1) / np.sqrt(len(reward)), abs=_rounding(reward))


@pytest.mark.parametrize("interval", ["delta", "bootstrap"])
def test_dr_with_a_perfect_model_has_no_variance(ope, interval) -> None:
    """Reward = 2 * action without noise, the model exact: each term is the target's value."""
    rng = np.random.default_rng(0)
    action = rng.integers(3, size=500)
    batches = ope.batches(action, np.full(500, 1 / 3), {"r": 2.0 * action}, k=3, rows_per_chunk=100)
    target = PolicyTarget(ope.TablePolicy("t", [0.25, 0.25, 0.5]))
    found = evaluate(
        batches,
        [target],
        metric="r",
        reward_range=(0, 4),
        estimators=("ips", "dr"),
        interval=interval,
        reward_model_factory=lambda: ope.Ridge("r", 3, penalty=1e-12),
    )
    ips_found, dr_found = found.results
    assert dr_found.value == pytest.approx(2.5, abs=1e-9)
    assert dr_found.stderr < 1e-9
    assert dr_found.high - dr_found.low < 1e-8
    assert ips_found.stderr > 0.01


def test_the_difference_is_paired_not_two_intervals(ope) -> None:
    """Two nearly equal policies: the interval of the difference is far narrower than either's own."""
    rng = np.random.default_rng(1)
    n = 3000
    batches = ope.batches(rng.integers(2, size=n), np.full(n, 0.5), {"r": rng.random(n)}, k=2)
    a = PolicyTarget(ope.TablePolicy("a", [0.10, 0.90]))
    b = PolicyTarget(ope.TablePolicy("b", [0.11, 0.89]))
    (found,) = evaluate(batches, [a], metric="r", reward_range=(0, 1), estimators=("ips",), baseline=b).results
    assert found.difference.stderr < 0.05 * found.stderr
    assert found.difference.baseline == "b"


def test_the_baseline_against_itself_is_no_difference(ope) -> None:
    rng = np.random.default_rng(2)
    batches = ope.batches(rng.integers(2, size=400), np.full(400, 0.5), {"r": rng.random(400)}, k=2)
    for interval in ("delta", "bootstrap"):
        (found,) = evaluate(
            batches, [LoggedTarget()], metric="r", reward_range=(0, 1), estimators=("snips",), interval=interval
        ).results
        assert (found.difference.value, found.difference.low, found.difference.high) == (0.0, 0.0, 0.0)
        assert found.verdict == "no difference"
        assert found.value == pytest.approx(np.concatenate([b.rewards["r"] for b in batches]).mean())


@pytest.mark.parametrize("effect", [0.3, -0.3])
def test_a_clear_effect_has_its_verdict(ope, effect) -> None:
    rng = np.random.default_rng(3)
    action = rng.integers(2, size=2000)
    reward = 0.5 + effect * action + 0.1 * rng.normal(size=2000)
    batches = ope.batches(action, np.full(2000, 0.5), {"r": reward}, k=2)
    target = PolicyTarget(ope.TablePolicy("one", [0, 1]))
    found = evaluate(batches, [target], metric="r", reward_range=(-5, 5), rule=ANY)
    assert {estimate.verdict for estimate in found.results} == {"better" if effect > 0 else "worse"}
