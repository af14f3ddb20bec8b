"""Delays follow the published curves, and wrong curves are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError, ParameterError
from simulator.scenario import make_part
from simulator.world.delay import US_PER_HOUR, CurveDelay

GRID = (np.arange(100_000) + 0.5) / 100_000
KNOTS = [
    (name, hours, share)
    for name, knots in CurveDelay().curves.items()
    for hours, share in knots
    if share < 1.0
]  # fmt: skip


@pytest.mark.parametrize(("name", "hours", "share"), KNOTS, ids=[f"{name} {hours} h" for name, hours, _ in KNOTS])
def test_the_share_by_each_knot_is_the_published_one(name: str, hours: float, share: float) -> None:
    """E-mail: 21.5 % of opens within 1 h, 50.6 % within 6 h, 73 % within a day."""
    event, _, channel = name.partition("/")
    us = CurveDelay().delay_us(event, channel or "email", GRID)
    assert (us <= hours * US_PER_HOUR).mean() == pytest.approx(share, abs=1e-4)


@given(st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=2, max_size=20))
def test_a_larger_uniform_never_comes_sooner(uniforms: list[float]) -> None:
    delay = CurveDelay()
    for name in delay.curves:
        event, _, channel = name.partition("/")
        us = delay.delay_us(event, channel or "email", np.sort(np.array(uniforms)))
        assert (np.diff(us) >= 0).all()
        assert (us >= 0).all()
        assert (us <= delay.curves[name][-1][0] * US_PER_HOUR + 1).all()


def test_a_curve_of_the_channel_goes_before_one_of_the_event() -> None:
    """Half within 1 h on e-mail, half within 10 h elsewhere: a median of one and of ten hours."""
    delay = CurveDelay(curves={"seen": ((10.0, 0.5), (20.0, 1.0)), "seen/email": ((1.0, 0.5), (2.0, 1.0))})
    median = np.array([0.5])
    assert delay.delay_us("seen", "email", median)[0] == pytest.approx(US_PER_HOUR)
    assert delay.delay_us("seen", "sms", median)[0] == pytest.approx(10 * US_PER_HOUR)
    with pytest.raises(ParameterError, match="waved"):
        delay.delay_us("waved", "email", median)


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"curves": {"seen": []}}, "curves"),
        ({"curves": {"seen": [[1.0, 0.5], [0.5, 1.0]]}}, "curves"),
        ({"curves": {"seen": [[1.0, 0.5], [2.0, 0.4]]}}, "curves"),
        ({"curves": {"seen": [[1.0, 0.5], [2.0, 0.9]]}}, "curves"),
        ({"curves": {"seen": [[0.0, 0.5], [2.0, 1.0]]}}, "curves"),
        ({"late_share": 1.5}, "late_share"),
        ({"late_hours": -1}, "late_hours"),
        ({"lost_share": -0.1}, "lost_share"),
        ({"duplicate_share": "much"}, "duplicate_share"),
        ({"speed": 2}, "speed"),
    ],
    ids=["no knots", "falling hours", "falling shares", "not all", "hour zero", "share above one", "negative hours",
         "negative share", "text", "unknown"],
)  # fmt: skip
def test_a_wrong_delay_is_named(params: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        make_part("delay", params)
    assert caught.value.hint
