"""Estimates on real logs against independent figures."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import numpy as np
import pandas as pd
import pytest
import yaml

from engine.ope.target import ColumnTarget, LoggedTarget, PolicyTarget
from tests.engine.ope.asking import evaluate

RANGES = {
    "visit": (0, 1),
    "conversion": (0, 1),
    "spend": (0, 1000),
    "viewed": (0, 1),
    "completed": (0, 1),
    "spend72": (0, 5000),
    "click": (0, 1),
    "y_log": (-1, 12),
}


def run(batches, targets, metric, **options):
    return evaluate(batches, targets, metric=metric, reward_range=RANGES[metric], **options)


def check_against(reference, found, prefix):
    checked = 0
    for estimate in found.results:
        entry = reference[prefix][f"{estimate.policy}|{estimate.metric}"]
        assert estimate.n == entry["n"]
        assert estimate.value == pytest.approx(entry[estimate.estimator], abs=1e-6)
        assert estimate.stderr == pytest.approx(entry[f"{estimate.estimator}_se"], rel=0.01, abs=1e-6)
        checked += 1
    return checked


@pytest.fixture(scope="module")
def reference(shared_data):
    return json.loads((shared_data / "reference.json").read_text())


def hillstrom_policies(ope):
    def by_mens(context):
        return np.where(context.columns["mens"].values == 1, 1, 2)

    def by_womens_only(context):
        womens_only = (context.columns["womens"].values == 1) & (context.columns["mens"].values == 0)
        return np.where(womens_only, 2, 1)

    return [
        PolicyTarget(ope.TablePolicy("none", [1, 0, 0])),
        PolicyTarget(ope.TablePolicy("all_mens", [0, 1, 0])),
        PolicyTarget(ope.TablePolicy("all_womens", [0, 0, 1])),
        PolicyTarget(ope.RulePolicy("mens_if_bought_mens_else_womens", by_mens)),
        PolicyTarget(ope.RulePolicy("womens_only_womens_buyers_else_mens", by_womens_only)),
    ]


def test_hillstrom_equals_the_reference(ope: SimpleNamespace, hillstrom, reference) -> None:
    checked = 0
    for metric in ("visit", "conversion", "spend"):
        found = run(hillstrom, hillstrom_policies(ope), metric)
        checked += check_against(reference, found, "hillstrom_dev")
        assert all(estimate.trustworthy for estimate in found.results)
    assert checked == 2 * len(reference["hillstrom_dev"])


@pytest.mark.parametrize("metric", ["viewed", "completed", "spend72"])
def test_starbucks_equals_the_reference_clustered_by_person(ope, starbucks, reference, metric) -> None:
    batches, arms = starbucks
    targets = [PolicyTarget(ope.TablePolicy(arm, np.eye(len(arms))[i])) for i, arm in enumerate(arms)]
    found = run(batches, targets, metric, clustered=True)
    assert check_against(reference, found, "starbucks_dev") == 2 * len(arms)
    assert found.clusters == 17_000
    assert not any(found.reasons)


@pytest.mark.parametrize("campaign", ["all", "men", "women"])
def test_uniform_on_a_uniform_log_is_the_click_rate_exactly(ope, open_bandit, campaign) -> None:
    batches = open_bandit("random", campaign)
    clicks = np.concatenate([batch.rewards["click"] for batch in batches])
    uniform = PolicyTarget(ope.TablePolicy("uniform", np.ones(batches[0].k)))
    for estimate in run(batches, [uniform, LoggedTarget()], "click").results:
        assert estimate.value == clicks.mean()
        assert estimate.ess == estimate.n == 10_000
        assert estimate.mean_weight == estimate.max_weight == 1.0
        assert estimate.verdict == "no difference"
        assert estimate.difference is not None
        assert estimate.difference.value == estimate.difference.stderr == 0.0


def test_thompson_on_the_uniform_log_is_the_published_figure(open_bandit, shared_data) -> None:
    """obp's own example scores its Bernoulli Thompson sampling on this log: IPW 0.004553 (Saito et al. 2020)."""
    folder = shared_data / "open_bandit"
    prior = yaml.safe_load((folder / "prior_bts.yaml").read_text())["all"]
    rng, draws = np.random.default_rng(0), 20_000
    # The three items with the largest draws are shown, the best one first.
    shown = np.argsort(-rng.beta(prior["alpha"], prior["beta"], (draws, 80)), axis=1)[:, :3]
    chance = np.stack([np.bincount(shown[:, place], minlength=80) / draws for place in range(3)], axis=1)
    frame = pd.read_csv(folder / "random" / "all" / "all.csv.gz", index_col=0)
    target = chance[frame["item_id"], frame["position"] - 1].astype(object)
    batches, start = [], 0
    for batch in open_bandit("random", "all"):
        batches.append(replace(batch, extra={"bts": target[start : start + batch.n]}))
        start += batch.n
    (ips,) = run(batches, [ColumnTarget("bts", "bts")], "click", estimators=("ips",)).results
    # Three times the spread of the estimate over seeds of the simulated chances.
    assert ips.value == pytest.approx(0.004553, abs=0.00012)
    assert ips.stderr > 0.001


@pytest.mark.parametrize(
    ("campaign", "ess", "largest", "square_share"),
    [("all", 340.378, 277.778, "25.7%"), ("men", 655.710, 178.253, "23.4%"), ("women", 2.07782, 21739.13, "100.0%")],
)
def test_uniform_on_thompson_logs_is_insufficient(ope, open_bandit, campaign, ess, largest, square_share) -> None:
    batches = open_bandit("bts", campaign)
    uniform = PolicyTarget(ope.TablePolicy("uniform", np.ones(batches[0].k)))
    found = run(batches, [uniform], "click")
    for estimate, reasons in zip(found.results, found.reasons, strict=True):
        assert estimate.ess == pytest.approx(ess, rel=1e-5)
        assert estimate.max_weight == pytest.approx(largest, rel=1e-5)
        assert estimate.verdict == "insufficient"
        assert not estimate.trustworthy
        assert any(square_share in reason for reason in reasons)
        assert msgspec.to_builtins(estimate)["value"] == estimate.value


def test_heartsteps_effect_of_sending(ope, heartsteps) -> None:
    """Published +14 % on average: +0.131 on the log scale; DR halves the error of IPS."""
    send = PolicyTarget(ope.TablePolicy("always", [0, 1]))
    never = PolicyTarget(ope.TablePolicy("never", [1, 0]))
    found = run(
        heartsteps,
        [send],
        "y_log",
        baseline=never,
        clustered=True,
        estimators=("ips", "snips", "dm", "dr"),
        reward_model_factory=lambda: ope.Ridge("y_log", 2),
    )
    ips, snips, dm, dr = (estimate.difference for estimate in found.results)
    assert found.clusters == 37
    assert abs(snips.value - 0.131) < snips.stderr
    assert abs(dr.value - 0.131) < dr.stderr
    assert dr.stderr <= 0.08
    assert dr.stderr < ips.stderr
    assert dm.stderr is None
    assert not any(found.reasons)
