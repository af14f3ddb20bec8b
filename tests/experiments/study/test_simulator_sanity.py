"""A small seeded version of the sanity study: what it asks for is there, and segments stand between luck and oracle."""

from __future__ import annotations

import pytest

from experiments.study.simulator_sanity import MONTHLY, Sanity, Sizes, best_frequency, curves, report, run


@pytest.fixture(scope="module")
def found() -> Sanity:
    sizes = Sizes(contacts=300, policy_contacts=300, tuning_contacts=800, tuning_days=8, rollouts=1, days=20)
    return run(sizes)


@pytest.mark.slow
def test_policies_stand_in_order(found: Sanity) -> None:
    """Silence, tuned segments, the myopic oracle, the bound: each is worth more, by the same contacts."""
    gap = found.policies.difference("static segments", "never")
    assert gap.mean > 2.0 * gap.stderr
    over = found.policies.difference("myopic oracle", "static segments")
    assert over.mean > -1.0 * over.stderr
    for one in found.policies.values.values():
        assert one.mean < found.bound.mean + 2.0 * one.stderr
    assert abs(found.silence.mean) < 4.0 * found.silence.stderr
    assert found.policies.values["never"].sends == 0.0


@pytest.mark.slow
def test_the_report_says_everything(found: Sanity) -> None:
    text = report(found)
    assert text.count("\n| ") == 1 + 6 + 1 + len(MONTHLY) + 1 + 5 + 1
    assert "nan" not in text
    assert best_frequency(found.frequencies) in {str(monthly) for monthly in MONTHLY}
    picture = curves(found)
    assert picture.startswith(b"\x89PNG")
    assert picture == curves(found)
