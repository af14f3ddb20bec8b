"""The launch rule, case by case."""

from __future__ import annotations

import pytest

from engine.ope.estimate import Difference, Estimate
from engine.ope.metrics.gate import Gate
from experiments.judge.launch.recommend import Contest, recommend
from tests.experiments.judge.launch_examples import example


def row(policy: str, verdict: str, baseline: str, value: float = 0.1) -> Estimate:
    difference = Difference(baseline=baseline, value=value, stderr=0.01, low=value - 0.02, high=value + 0.02)
    return Estimate(
        policy=policy,
        metric="m",
        estimator="dr",
        value=1.0,
        stderr=0.1,
        low=0.8,
        high=1.2,
        alpha=0.05,
        n=100,
        ess=90.0,
        mean_weight=1.0,
        max_weight=2.0,
        unsupported_mass=0.0,
        verdict=verdict,
        difference=difference,
    )


@pytest.mark.parametrize(
    ("learned", "today", "policy", "verdict"),
    [
        ("better", "better", "vw", "better"),
        ("better", "insufficient", "vw", "better"),
        ("no difference", "better", "static_segments", "no difference"),
        ("worse", "better", "static_segments", "worse"),
        ("insufficient", "better", "static_segments", "insufficient"),
        ("no difference", "no difference", "static_segments", "no difference"),
        ("no difference", "insufficient", "static_segments", "no difference"),
        ("worse", "worse", "hold", "worse"),
        ("no difference", "worse", "hold", "no difference"),
        ("worse", "no difference", "static_segments", "worse"),
        ("insufficient", "insufficient", "static_segments", "insufficient"),
        ("insufficient", "no difference", "static_segments", "insufficient"),
        ("insufficient", "worse", "static_segments", "insufficient"),
    ],
)
def test_only_what_is_shown_to_be_better_is_launched(learned: str, today: str, policy: str, verdict: str) -> None:
    contest = Contest(row("vw", learned, "static_segments"), row("static_segments", today, "hold"))
    launch = recommend(contest)
    assert (launch.policy, launch.verdict) == (policy, verdict)
    assert launch.reason


@pytest.mark.parametrize(
    ("any_send", "policy"), [("better", "static_segments"), ("no difference", "hold"), ("worse", "hold")]
)
def test_silence_is_not_advised_where_messages_help(any_send: str, policy: str) -> None:
    """A practice that does worse than silence, where any message does better, is a bad choice of messages."""
    learned, today = row("vw", "no difference", "static_segments"), row("static_segments", "worse", "hold")
    launch = recommend(Contest(learned, today, any_send=row("any_send", any_send, "hold")))
    assert launch.policy == policy
    assert ("messages help" in launch.reason) == (any_send == "better")


def test_without_a_second_question_the_baseline_stays() -> None:
    launch = recommend(Contest(row("vw", "no difference", "logged"), None))
    assert launch.policy == "logged"
    assert "95 % interval +0.08 to +0.12" in launch.reason


def gate_with(verdict: str) -> Gate:
    return example("better", unsubscribes=verdict).gate or pytest.fail("the example has a gate")


@pytest.mark.parametrize(
    ("verdict", "today", "policy"),
    [
        ("pass", "better", "vw"),
        ("n/a", "insufficient", "vw"),
        ("undecided", "better", "static_segments"),
        ("undecided", "insufficient", "static_segments"),
        ("fail", "worse", "hold"),
    ],
)
def test_a_better_policy_that_the_gate_refuses_changes_nothing(verdict: str, today: str, policy: str) -> None:
    learned, base = row("vw", "better", "static_segments"), row("static_segments", today, "hold")
    launch = recommend(Contest(learned, base, gate_with(verdict)))
    assert (launch.policy, launch.verdict) == (policy, "better")
    assert ("the gate refuses it: unsubscribe_rate" in launch.reason) == (policy != "vw")
