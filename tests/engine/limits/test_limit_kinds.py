"""What the kinds of limits count, by hand, and what they refuse."""

from __future__ import annotations

import pytest

from engine.catalog import Arm, Catalog
from engine.errors import ParameterError
from engine.limits.kinds import BudgetLimit, DepthLimit, RampLimit, VolumeLimit
from tests.engine.limits.limit_worlds import small_catalog

CATALOG = small_catalog()


def test_volume_counts_sends_in_scope() -> None:
    receipt = Arm(id="receipt", purpose="transactional", approved=True)
    catalog = Catalog(name="x", channels=("email", "sms"), hours=("now",), arms=(*CATALOG.arms, receipt))
    used, earned = VolumeLimit("sms", 5, channels=("sms",)).amounts(catalog)
    assert used.tolist() == [[0, 0, 0], [1, 1, 0]]
    assert not earned.any()
    assert RampLimit("ramp", 0.2, 10).amounts(catalog)[0].tolist() == [[1, 1, 1], [1, 1, 1]]


def test_null_is_no_limit_and_zero_is_never() -> None:
    assert VolumeLimit("v", None).capacity(()) is None
    assert VolumeLimit("v", 0).capacity(()) == 0
    assert BudgetLimit("b", None).capacity(()) is None
    assert BudgetLimit("b", 0.0).capacity(()) == 0


@pytest.mark.parametrize(
    ("growth", "before", "capacity"),
    [
        (0.2, (1000,), 1200),
        (0.2, (1004,), 1204),
        (0.2, (0,), 50),
        (0.0, (70,), 70),
        (0.07, (100,), 107),
        (1.0, (30, 40), 80),
    ],
)
def test_ramp(growth: float, before: tuple[int, ...], capacity: int) -> None:
    """1.2 x 1004 = 1204.8: rounded down; 0.07 x 100 is 7.000000000000001 in floats and 7 here."""
    assert RampLimit("r", growth, 50, lookback_days=max(1, len(before))).capacity(before) == capacity


def test_budget_in_micro_dollars() -> None:
    used, _ = BudgetLimit("b", 100.0, {"arm1": 2.5}).amounts(CATALOG)
    assert used.tolist() == [[0, 2_500_000]] * 2
    assert BudgetLimit("b", 100.0).capacity(()) == 100_000_000
    with pytest.raises(ParameterError, match="one of arm0, arm1"):
        BudgetLimit("b", 1.0, {"typo": 1.0}).amounts(CATALOG)


def test_depth_above_the_average_uses_and_below_earns() -> None:
    used, earned = DepthLimit("d", 0.07).amounts(CATALOG)
    assert used.tolist() == [[0, 130_000]] * 2
    assert earned.tolist() == [[70_000, 0]] * 2
    assert DepthLimit("d", 0.07, allowance=0.5).capacity(()) == 500_000


@pytest.mark.parametrize(
    "build",
    [
        lambda: VolumeLimit("", 1),
        lambda: VolumeLimit("v", -1),
        lambda: VolumeLimit("v", 1.5),  # type: ignore[arg-type]
        lambda: VolumeLimit("v", True),
        lambda: RampLimit("r", -0.1, 1),
        lambda: RampLimit("r", float("nan"), 1),
        lambda: RampLimit("r", 0.1, -1),
        lambda: RampLimit("r", 0.1, 1, lookback_days=0),
        lambda: BudgetLimit("b", -1.0),
        lambda: BudgetLimit("b", float("inf")),
        lambda: BudgetLimit("b", 1.0, {"arm0": float("nan")}),
        lambda: DepthLimit("d", 1.5),
        lambda: DepthLimit("d", 0.5, allowance=-1.0),
        lambda: VolumeLimit("v", 1, channels=("fax",)).amounts(CATALOG),
    ],
)
def test_bad_limits_are_refused(build: object) -> None:
    with pytest.raises(ParameterError):
        build()  # type: ignore[operator]
