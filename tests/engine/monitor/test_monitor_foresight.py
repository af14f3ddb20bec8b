"""What next month's log will be able to say: by hand, and as exploring fades."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.eligibility import pack
from engine.features import ContextBatch, FeatureSchema
from engine.monitor.foresight import Foresight, ForesightSums
from engine.ope.support import SupportRule
from engine.records.rounds import RoundBatch
from engine.types import FloatArray

CONTEXT = ContextBatch(FeatureSchema(features=()), {}, 0)


def rows(p: FloatArray, reward: FloatArray, k: int = 2) -> RoundBatch:
    n = len(p)
    return RoundBatch(
        chunk=0,
        decision_id=np.array([str(place) for place in range(n)], dtype=object),
        context=CONTEXT,
        action=np.zeros(n, dtype=np.int32),
        propensity=p,
        eligible=pack(np.ones((n, k), dtype=np.bool_)),
        k=k,
        cluster=np.arange(n, dtype=np.uint64),
        rewards={"r": reward},
        usable=np.ones(n, dtype=np.bool_),
        decided_at=np.zeros(n, dtype=np.int64),
        extra={},
    )


def seen(days: list[FloatArray], rate: float = 0.5, k: int = 2) -> Foresight | str:
    sums = ForesightSums("r")
    for day, p in enumerate(days):
        reward = (np.arange(len(p)) % round(1 / rate) == 0).astype(np.float64)
        sums.add(rows(p, reward, k), np.full(len(p), 20_000 + day))
    return sums.result(7, SupportRule())


def exploring(share: float, n: int = 1000) -> FloatArray:
    """Two actions, the rarer with a propensity of share / 2, as often as it is drawn."""
    rare = round(n * share / 2)
    return np.concatenate([np.full(rare, share / 2), np.full(n - rare, 1 - share / 2)])


def test_an_even_choice_by_hand() -> None:
    """Two actions of 1/2: two actions per context, all weights 1, so 30 days of 100 rows; kurtosis of a coin is 1."""
    found = seen([np.full(100, 0.5)] * 7)
    assert isinstance(found, Foresight)
    assert found.actions_per_context == pytest.approx(2.0)
    assert (found.planned_ess, found.needed_ess) == (pytest.approx(3000.0), 30.0)
    assert (found.smallest_propensity, found.daily_change) == (0.5, 0.0)
    rare = seen([np.full(100, 0.5)] * 7, rate=0.01)
    assert isinstance(rare, Foresight)
    assert rare.needed_ess == pytest.approx(5 * (1 / (0.01 * 0.99) - 3))


def test_little_exploring_leaves_few_effective_rows() -> None:
    """Entropy of (0.95, 0.05); mean weight 1, mean squared weight (1/0.95 + 1/0.05) / 4."""
    found = seen([exploring(0.1)] * 3)
    assert isinstance(found, Foresight)
    assert found.actions_per_context == pytest.approx(math.exp(-0.95 * math.log(0.95) - 0.05 * math.log(0.05)))
    assert found.planned_ess == pytest.approx(30_000 / ((1 / 0.95 + 1 / 0.05) / 4))


def test_fading_is_carried_on_and_a_steady_log_is_not() -> None:
    shares = [0.4 * 0.9**day for day in range(21)]
    found = seen([exploring(share, 4000) for share in shares])
    assert isinstance(found, Foresight)
    assert -0.12 < found.daily_change < -0.08
    steady = seen([exploring(shares[-4], 4000)] * 21)
    assert isinstance(steady, Foresight)
    assert found.planned_ess < 0.4 * steady.planned_ess


def test_noise_is_no_fall() -> None:
    generator = np.random.default_rng(1)
    falls = 0
    for _ in range(200):
        days = [exploring(float(share)) for share in 0.2 + 0.02 * generator.standard_normal(14)]
        found = seen(days)
        assert isinstance(found, Foresight)
        falls += found.daily_change < 0
    assert falls <= 6


def test_what_cannot_be_foreseen_says_why() -> None:
    assert "no decision" in str(seen([np.full(100, 1.0)], k=1))
    assert "no decision" in str(seen([np.full(100, np.nan)]))
    assert "50 are needed" in str(seen([np.full(20, 0.5)]))


def test_parts_add_up_to_the_whole() -> None:
    whole, parts = ForesightSums("r"), [ForesightSums("r") for _ in range(2)]
    for place, share in enumerate((0.1, 0.3)):
        batch, day = rows(exploring(share), np.ones(1000)), np.full(1000, 20_000)
        whole.add(batch, day)
        parts[place].add(batch, day)
    parts[0].merge(parts[1])
    assert parts[0].result(7, SupportRule()) == whole.result(7, SupportRule())
