"""Each estimator on three rows, with the arithmetic."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from engine.ope.estimators.doubly_robust import Dm, Dr
from engine.ope.estimators.weighting import Clipped, Ips, Snips
from engine.ope.support import SupportRule
from engine.ope.target import LoggedTarget, PolicyTarget
from tests.engine.ope.asking import estimate_of, evaluate

WEIGHT = np.array([2.0, 0.0, 4.0])
REWARD = np.array([1.0, 1.0, 0.5])
NO_LIMITS = SupportRule(
    min_ess=0,
    min_clusters=0,
    min_outcomes=0,
    max_weight_share=1,
    max_square_share=1,
    max_error_share=1,
    max_cluster_error_share=1,
    mean_weight_slack=9,
)


def test_ips() -> None:
    """w r = 2, 0, 2; mean 4/3; deviations 2/3, -4/3, 2/3; squares sum to 24/9; var 12/9; stderr sqrt(12/9/3) = 2/3."""
    found = estimate_of(Ips(), WEIGHT, REWARD)
    assert found.value == pytest.approx(4 / 3)
    assert found.stderr == pytest.approx(2 / 3)
    assert found.n == 3


def test_ips_clustered(ope) -> None:
    """Rows 0 and 1 together: cluster sums of the influence -2/3 and 2/3; sqrt(2/1 * 8/9) / 3 = 4/9."""
    batches = ope.batches([1, 0, 1], [0.5, 0.5, 0.25], {"r": REWARD}, k=2, cluster=np.array([7, 7, 9]))
    target = PolicyTarget(ope.TablePolicy("one", [0, 1]))
    (found,) = evaluate(batches, [target], metric="r", reward_range=(0, 1), estimators=("ips",), clustered=True).results
    assert found.value == pytest.approx(4 / 3)
    assert found.stderr == pytest.approx(4 / 9)


def test_clipped() -> None:
    """min(w, 3) r = 2, 0, 1.5; mean 3.5/3; deviations 2.5/3, -3.5/3, 1/3; squares 19.5/9; stderr sqrt(19.5/18/3)."""
    found = estimate_of(Clipped(3.0), WEIGHT, REWARD)
    assert found.value == pytest.approx(3.5 / 3)
    assert found.stderr == pytest.approx(math.sqrt(19.5 / 54))


def test_snips() -> None:
    """4 / 6 = 2/3; mean w = 2; influence w (r - 2/3) / 2 = 1/3, 0, -1/3; stderr sqrt(3/2 * 2/9) / 3 = sqrt(1/3) / 3."""
    found = estimate_of(Snips(), WEIGHT, REWARD)
    assert found.value == pytest.approx(2 / 3)
    assert found.stderr == pytest.approx(math.sqrt(1 / 3) / 3)


def test_snips_without_any_weight_is_not_defined() -> None:
    found = estimate_of(Snips(), np.zeros(3), REWARD)
    assert math.isnan(found.value)
    assert math.isnan(found.stderr)


def test_dm() -> None:
    """(0.6 + 0.3 + 0.9) / 3 = 0.6, without a standard error."""
    found = estimate_of(Dm(), WEIGHT, REWARD, np.array([0.6, 0.3, 0.9]), REWARD)
    assert found.value == pytest.approx(0.6)
    assert not Dm().has_interval


def test_dr() -> None:
    """Terms 0.6 + 2 (1 - 0.5) = 1.6; 0.3; 0.9 + 4 (0.5 - 0.75) = -0.1; mean 0.6.

    Deviations 1, -0.3, -0.7; squares 1.58; stderr sqrt(0.79 / 3).
    """
    found = estimate_of(Dr(), WEIGHT, REWARD, np.array([0.6, 0.3, 0.9]), np.array([0.5, 0.2, 0.75]))
    assert found.value == pytest.approx(0.6)
    assert found.stderr == pytest.approx(math.sqrt(0.79 / 3))


def test_the_stream_gives_the_same_and_a_paired_difference(ope) -> None:
    """Propensity 1/2, target = action 1: w = 2, 0, 2; r = 1, 1, 0: w r = 2, 0, 0, mean 2/3.

    Logged mean 2/3, so the difference is 0; paired terms w r - r = 1, -1, 0: stderr sqrt(2 / 2 / 3) = sqrt(1/3).
    t(0.975, 2) = 4.302653. ess = 16 / 8 = 2, mean weight 4/3.
    """
    batches = ope.batches([1, 0, 1], [0.5] * 3, {"r": [1, 1, 0]}, k=2)
    target = PolicyTarget(ope.TablePolicy("one", [0, 1]))
    found = evaluate(batches, [target], metric="r", reward_range=(0, 1), estimators=("ips",), rule=NO_LIMITS)
    (estimate,) = found.results
    assert estimate.value == pytest.approx(2 / 3)
    assert estimate.stderr == pytest.approx(estimate_of(Ips(), np.array([2.0, 0, 2]), np.array([1.0, 1, 0])).stderr)
    assert estimate.high - estimate.value == pytest.approx(4.302653 * estimate.stderr)
    assert estimate.difference.value == 0.0
    assert estimate.difference.stderr == pytest.approx(math.sqrt(1 / 3))
    assert (estimate.ess, estimate.max_weight) == (2.0, 2.0)
    assert estimate.mean_weight == pytest.approx(4 / 3)
    assert estimate.verdict == "no difference"


def test_json_keeps_every_digit_and_turns_what_is_not_finite_to_none(ope) -> None:
    batches = ope.batches([0, 0, 0], [0.3, 0.5, 0.7], {"r": [1, 1, 0]}, k=2)
    target = PolicyTarget(ope.TablePolicy("one", [0, 1]))
    found = evaluate(batches, [target], metric="r", reward_range=(0, 1), estimators=("snips",))
    entry = msgspec.to_builtins(found)["results"][0]
    assert entry["value"] is None
    assert entry["low"] is None
    assert entry["verdict"] == "insufficient"
    assert entry["difference"]["baseline"] == "logged"
    assert msgspec.to_builtins(found)["baseline"][0]["value"] == 2 / 3
    assert set(entry) >= {
        *("policy", "metric", "estimator", "value", "stderr", "low", "high", "alpha", "n", "ess", "mean_weight"),
        *("max_weight", "unsupported_mass", "verdict", "difference", "exact", "interval", "notes"),
    }


def test_clipping_that_takes_off_more_than_the_interval_gives_no_verdict(ope) -> None:
    """40 actions alike, nothing to tell them apart: at 20 half of every constant's weight is cut, which is no harm."""
    rng, n = np.random.default_rng(3), 40_000
    action = rng.integers(40, size=n)
    batches = ope.batches(action.tolist(), [1 / 40] * n, {"r": (rng.random(n) < 0.4).astype(float)}, k=40)
    target = PolicyTarget(ope.TablePolicy("always", [0.0] * 7 + [1.0] + [0.0] * 32))
    asked = {"metric": "r", "reward_range": (0, 1), "baseline": LoggedTarget(), "clip": 20.0}
    ips, clipped = evaluate(batches, [target], estimators=("ips", "clipped"), **asked).results
    assert clipped.difference.high < 0.0
    assert (ips.verdict, clipped.verdict) == ("no difference", "insufficient")
    assert "clipping cuts 50.0% of the sum of weights" in clipped.notes[0]
    # Where it cuts nothing it may speak.
    whole = evaluate(batches, [target], estimators=("clipped",), **{**asked, "clip": 40.0}).results[0]
    assert whole.verdict == "no difference"


def test_a_value_that_no_reward_can_have_is_never_better(ope) -> None:
    """34 rows of an action where 20 were to be expected, all of them rewarded: IPS says 1.7 of at most 1."""
    action, reward = np.zeros(400, dtype=int), np.zeros(400)
    action[:34], reward[:34] = 1, 1.0
    propensity = np.where(action == 1, 0.05, 0.95)
    batches = ope.batches(action.tolist(), propensity.tolist(), {"r": reward}, k=2)
    target = PolicyTarget(ope.TablePolicy("always", [0.0, 1.0]))
    asked = {"metric": "r", "reward_range": (0, 1), "estimators": ("ips",), "baseline": LoggedTarget()}
    (found,) = evaluate(batches, [target], **asked).results
    assert found.low > 1.0
    assert found.verdict == "insufficient"
    assert "outside the metric's range, 0 to 1" in " ".join(found.notes)
