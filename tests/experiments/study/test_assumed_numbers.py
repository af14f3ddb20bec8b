"""The sweep of the assumed numbers: what is swept, and that it moves what it should."""

from __future__ import annotations

import pytest

from experiments.study.assumed_numbers import DOC, assumed, outcome, page, scaled, sweep


def test_every_assumed_number_of_the_parts_is_in_the_document() -> None:
    """A new guess must be swept: the shipped document names each of them."""
    text = DOC.read_text(encoding="utf-8")
    missing = [f"{part}.{name}" for part, name, _, _ in assumed() if f"| {part}.{name} |" not in text]
    assert not missing, f"run `python -m experiments.study.assumed_numbers`: {missing}"


@pytest.mark.parametrize(
    ("default", "factor", "unit", "expected"),
    [
        (2.0, 2.0, "days", 4.0),
        (0.3, 2.0, "share", 0.6),
        (0.8, 2.0, "share", 0.9),
        (0.3, 0.5, "share of seen", 0.15),
        ({"email": 1.0, "sms": -2.0}, 0.5, "log odds", {"email": 0.5, "sms": -1.0}),
    ],
)
def test_numbers_are_scaled_and_shares_stay_shares(default: object, factor: float, unit: str, expected: object) -> None:
    """0.8 doubled would be 1.6: it goes half of the way to 1, 0.9."""
    assert scaled(default, factor, unit) == pytest.approx(expected)


@pytest.mark.slow
def test_a_sweep_moves_what_its_number_governs() -> None:
    """A larger basket is worth more with and without messages; the strongest number comes first."""
    shipped, found = sweep(400, only=("basket_usd", "ticket"))
    assert [one.name for one in found] == ["population.basket_usd", "dynamics.ticket"]
    basket = found[0]
    assert basket.half.organic_usd < shipped.organic_usd < basket.twice.organic_usd
    assert found[1].half.organic_usd == pytest.approx(found[1].twice.organic_usd)
    assert page(shipped, found, 400).count("\n| ") == 3


def test_a_world_with_half_the_baskets_has_half_the_worth() -> None:
    """Without messages every order scales with the basket: 0.5 x."""
    shipped, half = outcome({}, 300, 1), outcome({"population": {"basket_usd": 27.5}}, 300, 1)
    assert half.organic_usd == pytest.approx(0.5 * shipped.organic_usd, rel=1e-9)
