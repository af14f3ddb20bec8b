"""Off-policy metrics against what happens where the policy really decides; the long version is a study."""

from __future__ import annotations

import pytest

from experiments.study.simulated_metrics import (
    bound_to,
    replicate,
    report,
    shipped_stack,
    shipped_study,
    summarise,
    truth,
)

RATES = (
    "inbox_placement",
    "open_rate",
    "click_rate",
    "read_rate",
    "purchases",
    "unsubscribe_rate",
    "sends_per_decision",
)


def test_a_few_logs_agree_with_the_truth() -> None:
    """6 logs x 7 metrics: with 93 % coverage each, fewer than 33 of the 42 intervals hold with P < 0.001."""
    study = shipped_study()
    bound = bound_to(study, shipped_stack())
    known = truth(study, bound, 24_000)
    results = {one.metric: one for one in summarise([replicate(study, bound, seed, 4000) for seed in range(6)], known)}
    assert set(RATES) <= set(results)
    assert sum(results[name].covered for name in RATES) >= 33
    assert "| open_rate |" in report(list(results.values()), 6)


@pytest.mark.study
def test_many_logs_agree_with_the_truth() -> None:
    """120 logs: an interval that covers 93 % holds in fewer than 101 of them with P < 0.001."""
    study = shipped_study()
    bound = bound_to(study, shipped_stack())
    known = truth(study, bound, 400_000)
    results = summarise([replicate(study, bound, seed, 8000) for seed in range(120)], known)
    for one in results:
        assert one.covered >= 0.84 * one.said, one
