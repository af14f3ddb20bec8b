"""Differences per contact (intention to treat), and rows on which the policies agree."""

from __future__ import annotations

import numpy as np
import pytest

from engine.ope.target import PolicyTarget
from tests.engine.ope.asking import evaluate

CONTACTS = 400


def assigned(ope, *, seed=0, extra=0.0):
    """Each contact is in group 0 or 1 for good; those in group 1 bring 0.5 more a decision, and each has a level.

    Contacts come up 1 to 5 times.
    """
    rng = np.random.default_rng(seed)
    often = rng.integers(1, 6, CONTACTS)
    who = np.repeat(np.arange(CONTACTS), often)
    group, level = rng.integers(2, size=CONTACTS), rng.normal(5.0, 1.0, CONTACTS)
    reward = level[who] + 0.5 * group[who] + rng.normal(0.0, 0.3, len(who)) + extra
    batches = ope.batches(group[who], np.full(len(who), 0.5), {"r": reward}, k=2, cluster=who)
    return batches, who, group[who], reward


def arm(ope, a, k=2):
    return PolicyTarget(ope.TablePolicy(f"arm {a}", np.eye(k)[a]))


def ask(ope, batches, **options):
    return evaluate(
        batches,
        [arm(ope, 1)],
        metric="r",
        reward_range=(-50.0, 60.0),
        estimators=options.pop("estimators", ("ips", "snips", "dr")),
        baseline=arm(ope, 0),
        clustered=True,
        reward_model_factory=lambda: ope.Ridge("r", 2),
        **options,
    ).results


def test_the_figure_per_contact_by_hand(ope) -> None:
    """Sums of w r over the decisions of a contact, their mean and its standard error over contacts."""
    batches, who, group, reward = assigned(ope)
    ips, snips, dr = ask(ope, batches)
    each = np.bincount(who, np.where(group == 1, 2.0, -2.0) * reward, CONTACTS)
    assert ips.per_contact.value == pytest.approx(each.mean())
    assert ips.per_contact.stderr == pytest.approx(each.std(ddof=1) / np.sqrt(CONTACTS))
    # t(399) at 97.5 % is 1.9659.
    assert ips.per_contact.high - ips.per_contact.value == pytest.approx(1.9659 * ips.per_contact.stderr, rel=1e-4)
    assert ips.per_contact.value == pytest.approx(ips.difference.value * len(who) / CONTACTS)
    assert dr.per_contact.low < 1.5 < dr.per_contact.high
    assert snips.per_contact is None


def test_without_clusters_there_is_no_figure_per_contact(ope) -> None:
    batches, *_ = assigned(ope)
    rows = evaluate(batches, [arm(ope, 1)], metric="r", reward_range=(-50.0, 60.0), estimators=("ips",)).results
    assert rows[0].per_contact is None


def test_where_groups_were_assigned_the_verdict_is_by_contact(ope) -> None:
    """Contacts of unequal numbers of decisions: the ratio form by decision may be surer than the sum by contact."""
    batches, *_ = assigned(ope)
    by_decision, by_contact = (ask(ope, batches, estimators=("ips",), assigned=flag)[0] for flag in (False, True))
    assert by_decision.difference == by_contact.difference
    assert by_decision.per_contact == by_contact.per_contact
    gap = by_contact.per_contact
    expected = "better" if gap.low > 0 else "worse" if gap.high < 0 else "no difference"
    assert by_contact.verdict == expected


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("estimator", ["ips", "clipped", "dr"])
def test_rows_on_which_policies_agree_add_no_variance(ope, estimator, clustered) -> None:
    """Nine rows of ten are treated alike by both policies: noise of 1,000 times the effect there changes nothing.

    Simester, Timoshenko & Zoumpoulis (2020), "Efficiently evaluating targeting policies", section 3: where policies
    prescribe the same action they are worth the same, so these rows only add noise to a difference of two means.
    """
    n = 5000
    rng = np.random.default_rng(11)
    apart = np.arange(n) % 10 == 0
    action = rng.integers(2, size=n)
    quiet = 1.0 + 0.5 * action + rng.normal(0.0, 0.2, n)
    loud = np.where(apart, quiet, quiet + rng.normal(0.0, 500.0, n))

    def policy(name: str, elsewhere: int) -> PolicyTarget:
        rule = lambda context: np.where(context.columns["x"].values > 0, elsewhere, 1)  # noqa: E731 - one line
        return PolicyTarget(ope.RulePolicy(name, rule))

    def gap(reward: np.ndarray) -> tuple[float, float]:
        batches = ope.batches(
            action,
            np.full(n, 0.5),
            {"r": reward},
            k=2,
            features={"x": apart.astype(float)},
            cluster=np.arange(n) // 20 if clustered else None,
        )
        (row,) = evaluate(
            batches,
            [policy("new", 0)],
            metric="r",
            reward_range=(-1e4, 1e4),
            estimators=(estimator,),
            baseline=policy("today", 1),
            clustered=clustered,
            # A model that learnt nothing of the noise: what the rows add, not what a model makes of them.
            reward_model_factory=lambda: ope.Ridge("r", 2, penalty=1e15),
        ).results
        return row.difference.value, row.difference.stderr

    (value, error), (loud_value, loud_error) = gap(quiet), gap(loud)
    assert loud_value == pytest.approx(value, rel=1e-3)
    # The mean of each policy's own noise would have an error of 500 x sqrt(2) / sqrt(5000) = 10; this is 0.03.
    assert loud_error == pytest.approx(error, rel=1e-3)
    assert error < 0.05
