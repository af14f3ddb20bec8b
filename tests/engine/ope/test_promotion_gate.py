"""The promotion gate, by hand and by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ParameterError
from engine.ope.estimate import Difference, Estimate
from engine.ope.metrics.gate import Demand, Evidence, evidence_of, gate


def seen(low: float, high: float, metric: str = "profit", *, live: float | None = 1.0, reasons: tuple[str, ...] = ()):
    return Evidence(metric, (low + high) / 2, low, high, 0.1, live, None, reasons)


PRIMARY = Demand("profit", role="primary", rule="not_worse", margin=0.1)


@pytest.mark.parametrize(
    ("rule", "low", "high", "verdict"),
    [
        ("better", 0.11, 0.3, "pass"),
        ("better", 0.05, 0.3, "undecided"),
        ("better", -0.3, 0.1, "fail"),
        ("not_worse", -0.1, 0.3, "pass"),
        ("not_worse", -0.2, 0.3, "undecided"),
        ("not_worse", -0.3, -0.2, "fail"),
        ("not_shown_worse", -0.3, -0.1, "pass"),
        ("not_shown_worse", -0.3, -0.2, "fail"),
    ],
)
def test_rules_by_hand(rule: str, low: float, high: float, verdict: str) -> None:
    """Margin 0.1: `better` wants low > 0.1, `not_worse` low >= -0.1, `not_shown_worse` high >= -0.1."""
    found = gate([Demand("profit", role="primary", rule=rule, margin=0.1)], [seen(low, high)])  # type: ignore[arg-type]
    assert found.checks[0].verdict == verdict
    assert found.passed is (verdict == "pass")
    assert found.reason.count("profit") == 1


@pytest.mark.parametrize(("low", "high", "passed"), [(-0.05, 0.02, True), (-0.05, 0.2, False), (0.11, 0.2, False)])
def test_lower_is_better_turns_the_sign(low: float, high: float, passed: bool) -> None:
    """Unsubscribes may rise by at most 0.1: the upper bound decides."""
    rule = Demand("unsubscribes", margin=0.1, higher_is_better=False)
    found = gate([PRIMARY, rule], [seen(0.2, 0.3), seen(low, high, "unsubscribes")])
    assert found.passed is passed
    assert ("unsubscribes" in found.reason.split(": ")[0]) is (not passed)


def test_relative_margin_is_a_share_of_the_live_value() -> None:
    """5 % of |-2| is 0.1, so a lower bound of -0.09 passes and -0.11 does not."""
    rule = Demand("profit", role="primary", margin=0.05, relative=True)
    assert gate([rule], [seen(-0.09, 0.0, live=-2.0)]).passed
    assert not gate([rule], [seen(-0.11, 0.0, live=-2.0)]).passed
    assert gate([rule], [seen(0.2, 0.3, live=None)]).checks[0].verdict == "undecided"


def test_what_the_log_cannot_say_is_not_zero() -> None:
    complaints = Demand("complaints", higher_is_better=False)
    without = gate([PRIMARY, complaints], [seen(0.0, 0.1)])
    assert without.passed
    assert without.checks[1].verdict == "n/a"
    assert without.checks[1].gain is None
    assert "complaints: n/a" in without.reason
    strict = Demand("complaints", higher_is_better=False, required=True)
    assert not gate([PRIMARY, strict], [seen(0.0, 0.1)]).passed
    assert not gate([PRIMARY], []).passed


@pytest.mark.parametrize("rule", ["better", "not_worse", "not_shown_worse"])
def test_no_support_is_never_a_pass(rule: str) -> None:
    demand = Demand("profit", role="primary", rule=rule)  # type: ignore[arg-type]
    found = gate([demand], [seen(5.0, 6.0, reasons=("effective sample size 2.0 of 100 rows is below 30",))])
    assert not found.passed
    assert "effective sample size" in found.reason
    assert not gate([demand], [Evidence("profit", 1.0, None, None, 0.1)]).passed


@given(
    low=st.floats(-1, 1), width=st.floats(0, 1), margin=st.floats(0, 1), rule=st.sampled_from(["better", "not_worse"])
)
def test_a_better_interval_or_a_wider_margin_never_turns_a_pass_into_a_refusal(
    low: float, width: float, margin: float, rule: str
) -> None:
    demand = Demand("profit", role="primary", rule=rule, margin=margin)  # type: ignore[arg-type]
    if gate([demand], [seen(low, low + width)]).passed:
        assert gate([demand], [seen(low + 0.5, low + width + 0.5)]).passed
        if rule == "not_worse":
            wider = Demand("profit", role="primary", rule="not_worse", margin=margin + 0.5)
            assert gate([wider], [seen(low, low + width)]).passed


def test_evidence_of_an_estimate() -> None:
    difference = Difference(baseline="live", value=0.5, stderr=0.1, low=0.3, high=0.7)
    estimate = Estimate(
        policy="new", metric="profit", estimator="dr", value=1.5, stderr=0.1, low=1.3, high=1.7, alpha=0.1, n=100,
        ess=80.0, mean_weight=1.0, max_weight=2.0, unsupported_mass=0.0, verdict="better", difference=difference,
    )  # fmt: skip
    found = evidence_of(estimate, reasons=("thin",))
    assert found.reasons == ("thin",)
    assert (found.live, found.new, found.low, found.high, found.alpha) == (1.0, 1.5, 0.3, 0.7, 0.1)


@pytest.mark.parametrize(
    ("demands", "evidence", "error"),
    [
        pytest.param([PRIMARY], [seen(0, 1)], 0.04, id="interval errs too often"),
        pytest.param([PRIMARY], [seen(0, 1), seen(0, 1)], 0.05, id="evidence twice"),
        pytest.param([PRIMARY, PRIMARY], [], 0.05, id="demand twice"),
        pytest.param([Demand("x")], [], 0.05, id="no primary"),
        pytest.param([PRIMARY], [], 0.5, id="error too large"),
        pytest.param([PRIMARY], [], 0.0, id="no error"),
    ],
)
def test_refused_arguments(demands: list[Demand], evidence: list[Evidence], error: float) -> None:
    with pytest.raises(ParameterError):
        gate(demands, evidence, error=error)


@pytest.mark.parametrize("margin", [-0.1, float("nan"), float("inf")])
def test_refused_margins(margin: float) -> None:
    with pytest.raises(ParameterError):
        Demand("profit", margin=margin)
