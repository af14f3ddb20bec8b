"""The study of learning speed: its figures by hand, and every learner on a few decisions."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.study.learning_speed import LEARNERS, Course, Size, curves, run, shared_learning, table

TINY = Size(contacts=40, decisions=80, days=3, slice_contacts=60)


def course(gain: list[float]) -> Course:
    return Course(np.array(gain), np.ones(len(gain)), np.full(len(gain), 2.0))


def test_it_passes_where_two_windows_in_a_row_are_ahead() -> None:
    """Windows of two: means 0, 1.5, 0.5, 1.5, 3: only the last two are ahead together, after six decisions."""
    assert course([0.0, 0.0, 1.0, 2.0, 0.0, 1.0, 1.0, 2.0, 3.0, 3.0]).passed(2) == 6
    assert course([2.0, 2.0, 2.0, 2.0]).passed(2) == 0
    assert course([0.0, 0.0, 0.0, 0.0, 2.0, 2.0]).passed(2) is None


def test_regret_and_lead_are_sums_over_the_first_decisions() -> None:
    one = course([0.5, 1.5, 9.0])
    assert one.regret(2) == pytest.approx(1.5 + 0.5)
    assert one.lead(2) == pytest.approx(-0.5 + 0.5)


def test_every_learner_learns_and_is_told_of() -> None:
    shared = shared_learning(1, TINY)
    found = {name: [run(name, shared, TINY)] for name in LEARNERS}
    first = next(iter(found.values()))[0]
    for (one,) in found.values():
        assert len(one.gain) == TINY.decisions
        assert (one.best >= one.gain - 1e-12).all()
        # Nobody knows anything on the first day: the same contacts, the same luck, the same decisions.
        assert np.array_equal(one.gain[:20], first.gain[:20])
    text = table(found, TINY)
    assert all(f"| {name} |" in text for name in LEARNERS)
    assert curves(found, TINY).startswith(b"\x89PNG")
