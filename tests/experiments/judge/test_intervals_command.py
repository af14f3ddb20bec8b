"""`tactful evaluate` with intervals other than the default."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.experiments.commands import call, run

ASKED = ("--metric", "visit", "--baseline", "always:No E-Mail", "--estimator", "ips,snips")
MENS, WOMENS = ("--policy", "always:Mens E-Mail"), ("--policy", "always:Womens E-Mail")


def width(row: dict[str, float]) -> float:
    return row["high"] - row["low"]


ALONE = "evaluation.simultaneous=false"


@pytest.fixture(scope="module")
def plain(hillstrom: Path) -> dict[str, object]:
    return run("evaluate", "--log", hillstrom, *ASKED, *MENS, *WOMENS, ALONE)


@pytest.mark.parametrize(
    ("interval", "narrowest", "widest"),
    [
        ("studentised", 0.9, 1.1),
        ("cressie_read", 0.85, 1.1),
        ("clopper_pearson", 1.0, 2.5),
        ("asymptotic_sequence", 1.4, 2.0),
        ("confidence_sequence", 1.4, 4.0),
        ("empirical_bernstein", 1.2, 4.0),
    ],
)
def test_each_interval_answers_on_a_real_log(
    hillstrom: Path, plain: dict[str, object], interval: str, narrowest: float, widest: float
) -> None:
    """Widths of the differences over those of the delta method, by IPS and SNIPS."""
    out = run("evaluate", "--log", hillstrom, *ASKED, *MENS, *WOMENS,
              f"evaluation.interval={interval}", "evaluation.largest_weight=3.01", ALONE)  # fmt: skip
    for row, known in zip(out["results"], plain["results"], strict=True):
        assert row["interval"] == interval
        assert row["value"] == known["value"]
        ratio = width(row["difference"]) / width(known["difference"])
        assert narrowest <= ratio <= widest, (row["estimator"], ratio)


def test_differences_that_hold_together_say_so(hillstrom: Path, plain: dict[str, object]) -> None:
    out = run("evaluate", "--log", hillstrom, *ASKED, *MENS, *WOMENS)
    for row, known in zip(out["results"], plain["results"], strict=True):
        assert 1.05 < width(row["difference"]) / width(known["difference"]) < 1.25
        assert (row["low"], row["high"]) == (known["low"], known["high"])
        assert any("2 differences hold together" in note for note in row["notes"])


def test_comparisons_divide_the_error(hillstrom: Path) -> None:
    (row, *_) = run("evaluate", "--log", hillstrom, *ASKED, *MENS, "evaluation.comparisons=5")["results"]
    assert row["alpha"] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("overrides", "code", "said"),
    [
        (("evaluation.interval=cressie_read",), 2, "largest_weight"),
        (("evaluation.interval=cressie_read", "evaluation.largest_weight=2"), 3, "above the declared largest weight"),
    ],
    ids=["missing", "too-small"],
)
def test_a_largest_weight_that_does_not_fit_is_refused(
    hillstrom: Path, overrides: tuple[str, ...], code: int, said: str
) -> None:
    answer = call("evaluate", "--log", hillstrom, *ASKED, *MENS, *overrides)
    assert answer.code == code
    assert said in answer.out["error"]
