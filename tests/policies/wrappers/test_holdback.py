"""policies/wrappers/holdback.py: the flag of R23 and one reason for each silence."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import ParameterError
from policies.wrappers.holdback import SENTENCES, holdback

SCORES = np.array([1.0, 0.5, 2.0])  # hold, a poor message, a good one
ALL, POOR, NONE = np.array([True, True, True]), np.array([True, True, False]), np.array([True, False, False])


@pytest.mark.parametrize(
    ("eligible", "action", "more", "held", "reason"),
    [
        pytest.param(ALL, 2, {}, False, None, id="sent"),
        pytest.param(POOR, 1, {}, True, None, id="sent by exploration"),
        pytest.param(ALL, 2, {"suppressed": True}, False, "suppressed", id="no room"),
        pytest.param(ALL, 0, {}, False, "exploration", id="exploration"),
        pytest.param(ALL, 0, {"group": "uniform"}, False, "uniform_slice", id="uniform"),
        pytest.param(ALL, 0, {"practice": True}, False, "practice", id="practice"),
        pytest.param(ALL, 0, {"group": "uniform", "practice": True}, False, "uniform_slice", id="uniform comes first"),
        pytest.param(ALL, 2, {"practice": True}, False, None, id="sent despite the practice"),
        pytest.param(POOR, 0, {"practice": True}, True, "low_expected_value", id="low value comes first"),
        pytest.param(ALL, 0, {"group": "control"}, False, "control", id="control"),
        pytest.param(NONE, 0, {"group": "control"}, True, "control", id="control comes first"),
        pytest.param(NONE, 0, {}, True, "guardrails", id="guardrails"),
        pytest.param(NONE, 0, {"limited": True}, True, "limits", id="limits"),
        pytest.param(POOR, 0, {}, True, "low_expected_value", id="low value"),
        pytest.param(ALL, 0, {"price": np.array([0, 0, 1.5])}, True, "price", id="price"),
        pytest.param(ALL, 0, {"price": np.array([0, 0, 0.5])}, False, "exploration", id="price too small"),
    ],
)
def test_reasons(eligible, action, more, held, reason):
    found = holdback(SCORES, eligible, action, **{"group": "treatment", **more})
    assert (found.held, found.reason) == (held, reason)
    assert found.sentence == ("" if reason is None else SENTENCES[reason])
    assert found.hold_value == 1.0
    # A price of 1.5 makes the good message (2 - 1.5) worth no more than the poor one.
    sends = 1 if reason == "price" else int(eligible.sum()) - 1
    assert found.expected_value == {2: 2.0, 1: 0.5, 0: None}[sends]


def test_a_tie_is_held_back():
    """R23: held back where the best value is at most that of hold."""
    assert holdback(np.array([1.0, 1.0]), np.array([True, True]), 0, group="treatment").reason == "low_expected_value"


@pytest.mark.parametrize(
    ("scores", "eligible"), [([1.0, np.nan], [True, True]), ([1.0, 2.0], [False, True])], ids=["nan", "no hold"]
)
def test_refusals(scores, eligible):
    with pytest.raises(ParameterError):
        holdback(np.array(scores), np.array(eligible), 0, group="treatment")
