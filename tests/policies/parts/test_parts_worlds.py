"""The learner of parts in worlds of plain arrays whose truth is exact (experiments/study/stage_worlds.py)."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.study.stage_worlds import LEARNERS, WORLDS, earned
from policies.parts.config import PartsConfig
from policies.vw.arguments import VwConfig

PARTS, MONEY = LEARNERS["parts"], LEARNERS["money"]


@pytest.mark.slow
def test_a_small_log_already_beats_the_best_constant() -> None:
    """8,000 rows: some 430 clicks. Money itself cannot be seen in so few."""
    found = earned(WORLDS["through the click"], PARTS, 8_000, 3)
    assert found.learnt > found.constant + 0.02


# Least share of the way from the best action for all to the best for each, mean of eight seeds.
WAYS = {
    "through the click": 0.65,
    "weak": 0.4,
    "worth differs by arm": 0.1,
    "half beside the click": 0.5,
    "all beside the click": -0.5,
    "beside it, by arm": -0.8,
}


@pytest.mark.study
@pytest.mark.parametrize("name", WAYS)
def test_parts_do_not_lose_to_money(name: str) -> None:
    """Over seeds, 40,000 rows: parts earn at least what the money itself earns, and a share of what there is.

    Where nothing acts through the click, clicks say nothing of the money: it is found in the money or not at all.
    """
    gains, ways = [], []
    for seed in range(1, 9):
        parts, money = (earned(WORLDS[name], config, 40_000, seed) for config in (PARTS, MONEY))
        gains.append(parts.learnt - money.learnt)
        ways.append((parts.learnt - parts.constant) / (parts.oracle - parts.constant))
    error = float(np.std(gains, ddof=1) / np.sqrt(len(gains)))
    assert np.mean(gains) > -2.0 * error - 0.002, (gains, ways)
    assert np.mean(ways) > WAYS[name], (gains, ways)


@pytest.mark.study
@pytest.mark.parametrize(("stage", "least"), [("auto", -0.007), ("", -0.02)])
def test_where_no_message_does_anything_little_is_lost(stage: str, least: float) -> None:
    """The best is hold, at 0, and to send by SMS alone is -0.03. The noise of the money itself picks that at times."""
    config = VwConfig(parts=PartsConfig(stage=stage))
    found = [earned(WORLDS["null"], config, 30_000, seed) for seed in (1, 2, 3)]
    assert all(one.oracle == 0.0 for one in found)
    assert np.mean([one.learnt for one in found]) > least, found
