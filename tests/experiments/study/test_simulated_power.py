"""A small seeded version of the study of power on simulated logs."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.study.simulated_ope import shipped_study
from experiments.study.simulated_power import LIFT, mixtures, report, run, worths


def test_the_mixtures_have_the_lifts_that_they_are_made_for() -> None:
    """On the population that they were mixed on the values are exact: one decision is linear in the mixture."""
    study = shipped_study()
    lifted, same, worth = mixtures(study, 4096)
    assert worths(study, [lifted, same], 4096) == pytest.approx([(1 + LIFT) * worth, worth], rel=1e-9)
    for mixture in (lifted, same):
        assert np.sum(mixture.shares) == pytest.approx(1.0)
        assert min(mixture.shares) > 0.0


def test_a_lift_is_found_more_often_than_none() -> None:
    found = run(6, population=8192, n=9000)
    assert found.better >= 0.5
    assert found.false_better <= 1 / 6
    assert f"| 3% | {found.better:.1%}" in report(found)
