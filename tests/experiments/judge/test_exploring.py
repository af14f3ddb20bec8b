"""What exploring costs and what it buys: by hand, and the planned width against logs that were decided that way."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.ope.estimate import Difference
from engine.ope.target import PolicyTarget
from engine.types import FloatArray
from experiments.judge.launch.exploring import NOT, POSSIBLE, SHOWN, SLICES, ExploringSums, cause_of
from tests.engine.ope.asking import evaluate
from tests.engine.ope.conftest import TablePolicy, batches
from tests.experiments.commands import run
from tests.experiments.judge.launch_examples import result

US_PER_DAY = 86_400_000_000
WORTH = np.array([1.0, 0.6, 0.2])


def target(name: str, *row: float) -> PolicyTarget:
    return PolicyTarget(TablePolicy(name, row))


GREEDY, SLICE, NARROW = target("g", 1, 0, 0), target("s", 0.9, 0.05, 0.05), target("n", 0.9, 0.1, 0)
THEIRS = target("theirs", 0, 0, 1)


def log(n: int, row: FloatArray, seed: int) -> list:
    """Three actions worth 1, 0.6 and 0.2, with noise 0.5, drawn as the row says; a day has a thousand decisions."""
    rng = np.random.default_rng(seed)
    action = rng.choice(3, n, p=row)
    made = batches(action, row[action], {"r": WORTH[action] + 0.5 * rng.normal(size=n)}, k=3)
    at, out = 0, []
    for batch in made:
        out.append(replace(batch, decided_at=(np.arange(at, at + batch.n) // 1000) * US_PER_DAY))
        at += batch.n
    return out


def summed(policy: PolicyTarget, n: int = 20_000, seed: int = 1, row: FloatArray | None = None) -> ExploringSums:
    sums = ExploringSums(policy, GREEDY, THEIRS, lambda context: np.tile(WORTH, (context.n, 1)), "r", (-9.0, 9.0))
    for batch in log(n, np.full(3, 1 / 3) if row is None else row, seed):
        sums.add(batch)
    return sums


def test_the_cost_by_hand() -> None:
    """A tenth off the best, half at 0.4 and half at 0.8 less: 0.06. A slice of s loses s (0 + 0.4 + 0.8) / 3 = 0.4 s.

    20,000 rows on 20 days, a half of the log: 40,000 in 20 days are 60,000 a month.
    """
    found = summed(SLICE).result(0.5, 0.01, 0.05)
    assert found is not None
    assert found.decisions_month == 60_000
    own, *slices = found.rows
    assert (own.off_greedy, own.cost, own.unseen) == (pytest.approx(0.1), pytest.approx(0.06), 0.0)
    assert own.cost_month == pytest.approx(0.06 * 60_000)
    for share, row in zip(SLICES, slices, strict=True):
        assert row.cost == pytest.approx(0.4 * share)
        assert row.off_greedy == pytest.approx(share * 2 / 3)


def test_more_exploring_costs_more_and_shows_more() -> None:
    found = summed(SLICE).result(1.0, 0.01, 0.05)
    assert found is not None
    widths = [row.half_width or math.inf for row in found.rows[1:]]
    assert widths == sorted(widths, reverse=True)
    assert all(map(math.isfinite, widths))


def test_what_is_never_drawn_is_never_judged() -> None:
    """The narrow policy never takes the baseline's action: no width is promised for it, and the slices keep theirs."""
    found = summed(NARROW).result(1.0, 0.01, 0.05)
    assert found is not None
    own, *slices = found.rows
    assert (own.half_width, own.unseen) == (None, 1.0)
    assert all(row.half_width is not None for row in slices)


def test_the_planned_width_is_that_of_the_log_to_come() -> None:
    """Planned from a log at random, held against SNIPS on logs that the slice policy decided: within a tenth."""
    n = 20_000
    today = evaluate(
        log(n, np.full(3, 1 / 3), 1),
        [GREEDY],
        metric="r",
        reward_range=(-9.0, 9.0),
        estimators=("snips",),
        baseline=THEIRS,
    )
    gap = today.results[0].difference
    assert gap is not None
    found = summed(SLICE, n).result(1.0, gap.stderr, 0.05)
    assert found is not None
    planned = found.rows[0].half_width
    month = found.decisions_month
    seen = evaluate(
        log(month, np.array([0.9, 0.05, 0.05]), 2),
        [GREEDY],
        metric="r",
        reward_range=(-9.0, 9.0),
        estimators=("snips",),
        baseline=THEIRS,
    )
    came = seen.results[0].difference
    assert came is not None
    assert came.low is not None
    assert came.high is not None
    assert planned == pytest.approx((came.high - came.low) / 2, rel=0.1)


def test_without_an_error_of_today_no_width_is_promised() -> None:
    found = summed(SLICE).result(1.0, None, 0.05)
    assert found is not None
    assert {row.half_width for row in found.rows} == {None}


def test_a_log_without_instants_is_a_month_of_its_own() -> None:
    sums = ExploringSums(SLICE, GREEDY, THEIRS, lambda context: np.tile(WORTH, (context.n, 1)), "r", (-9.0, 9.0))
    action = np.tile(np.arange(3), 100)
    for batch in batches(action, np.full(300, 1 / 3), {"r": WORTH[action]}, k=3):
        sums.add(batch)
    found = sums.result(0.5, 0.01, 0.05)
    assert found is not None
    assert found.decisions_month == 600


@pytest.mark.parametrize(
    ("explored", "greedy", "low", "high", "cause"),
    [
        ("worse", "no difference", -0.03, -0.01, SHOWN),
        ("worse", "better", -0.03, -0.01, SHOWN),
        ("worse", "no difference", -0.03, 0.01, POSSIBLE),
        ("worse", "no difference", -0.01, 0.03, NOT),
        ("worse", "worse", -0.03, -0.01, NOT),
        ("worse", "insufficient", -0.03, -0.01, NOT),
        ("no difference", "better", -0.03, -0.01, NOT),
        ("insufficient", "no difference", -0.03, -0.01, NOT),
    ],
)
def test_exploring_is_blamed_only_for_what_it_costs(
    explored: str, greedy: str, low: float, high: float, cause: str
) -> None:
    measured = Difference(baseline="vw_greedy", value=(low + high) / 2, stderr=0.01, low=low, high=high)
    rows = [result(name, verdict, low=-0.1, high=0.1) for name, verdict in (("vw", explored), ("vw_greedy", greedy))]
    assert cause_of(rows[0], rows[1], measured) == cause
    assert cause_of(rows[0], rows[1], None) == NOT


def test_a_real_log_names_exploring_where_it_loses(hillstrom: Path, tmp_path: Path) -> None:
    explored = ("exploration=slice", "exploration.epsilon=0.5", "exploration.ceiling=0.6")
    asked = ("--metric", "visit", "--baseline", "always:Mens E-Mail")
    out = run("backtest", "--log", hillstrom, "--out", tmp_path / "much", *asked, *explored)
    exploring = out["exploring"]
    assert out["launch"]["verdict"] == "worse"
    assert exploring["cause"] == SHOWN
    assert exploring["measured"]["high"] < 0.0
    assert exploring["without"]["low"] < 0.0 < exploring["without"]["high"]
    assert "The price of exploring is what makes it lose" in (tmp_path / "much" / "report.html").read_text()
