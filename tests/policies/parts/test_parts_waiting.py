"""policies/parts/frequency, waiting.py: the renewal equation against brute force, and rules on encoded contexts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.encoder import Encoder, NumericCoding, SmoothCoding
from engine.errors import ArtefactError, ParameterError
from policies.parts.frequency.waiting import (
    HELD,
    NO_WAITING,
    Rule,
    Waiting,
    at_most,
    candidates,
    encoded,
    every_days,
    renewal,
)


@given(rise=st.lists(st.floats(0.0, 1.0), min_size=2, max_size=12))
@settings(max_examples=20, deadline=None)
def test_of_one_gain_the_renewal_finds_the_best_spacing(rise):
    """With every decision alike the rule is a spacing: the one with the most gain per step."""
    recovered = np.cumsum(rise) / max(sum(rise), 1e-9)
    rates = recovered / np.arange(1, len(recovered) + 1)
    lost = renewal(np.ones(3), recovered)
    sent = np.flatnonzero(recovered > lost + 1e-9)
    if recovered[-1] > 0.5:
        spacing = sent[0] if len(sent) else len(recovered) - 1
        assert rates[spacing] >= rates.max() - 1e-6


def test_renewal_against_every_policy_of_a_small_chain():
    """Two gains, three steps: the threshold rule earns what the best of all 2^6 stationary policies earns."""
    gains, recovered = np.array([1.0, 3.0]), np.array([0.2, 0.5, 1.0])

    def rate(sends: np.ndarray) -> float:
        moves, earned = np.zeros((3, 3)), np.zeros(3)
        for t in range(3):
            for g in range(2):
                moves[t, 0 if sends[t, g] else min(t + 1, 2)] += 0.5
                earned[t] += 0.5 * gains[g] * recovered[t] * sends[t, g]
        spread = np.linalg.matrix_power(0.5 * (moves + np.eye(3)), 2000)[0]
        return float(spread @ earned)

    every = [np.array([code >> bit & 1 for bit in range(6)]).reshape(3, 2) for code in range(64)]
    lost = renewal(gains, recovered)
    own = (gains[None, :] * recovered[:, None] > lost[:, None]).astype(int)
    assert rate(own) == pytest.approx(max(rate(sends) for sends in every), rel=1e-6)


def test_without_fatigue_waiting_is_worth_nothing():
    np.testing.assert_allclose(renewal(np.array([0.5, 1.0, 4.0]), np.ones(10)), 0.0, atol=1e-9)
    np.testing.assert_allclose(renewal(np.zeros(3), np.linspace(0.1, 1, 10)), 0.0, atol=1e-9)


def test_charges_by_hand():
    rule = Rule("r", (1.0, 3.0), (1.0, 0.0), (0.5, 0.1))
    # 2 days: half of the best gain and 0.3; long ago: 0.1; a negative gain is charged nothing of itself.
    np.testing.assert_allclose(rule.charge(np.array([2.0, np.inf, 1.0]), np.array([4.0, 4.0, -1.0])), [2.3, 0.1, 0.5])
    np.testing.assert_allclose(NO_WAITING.charge(np.array([1.0]), np.array([9.0])), [0.0])
    spaced, counted = every_days(3.0, 1.0), at_most(2, 7.0)
    np.testing.assert_allclose(spaced.charge(np.array([1, 2, 3, 9.0]), np.ones(4)), [HELD, HELD, 0, 0])
    np.testing.assert_allclose(counted.charge(np.array([0, 1, 2, 7.0]), np.ones(4)), [0, 0, HELD, HELD])


CODINGS = [
    NumericCoding("since", 4.0, 3.0),
    SmoothCoding("since", 1.2, 0.6, True, 1.0, (-1.5, -0.5, 0.4, 1.6)),
    SmoothCoding("since", 4.0, 3.0, False, 1.0, (-1.5, -0.5, 0.4, 1.6)),
]


@pytest.mark.parametrize("coding", CODINGS)
def test_an_encoded_rule_charges_as_the_rule_does(coding):
    """At every whole day; nothing where the feature is missing or stale."""
    encoder = Encoder("v", (NumericCoding("other", 0.0, 1.0), coding))
    days = np.arange(1.0, 15.0)
    rules = candidates(1.0, np.array([0.2, 1.0]), np.array([0.5, 1.0]), 1 - np.exp(-days / 4))
    x = np.zeros((len(days) + 2, encoder.d), dtype=np.float32)
    standard = (np.log1p(days - 1.0) if getattr(coding, "logged", False) else days) - coding.centre
    x[:-2, 3] = standard / coding.scale
    x[-2, encoder.d - 2] = x[-1, encoder.d - 1] = 1.0
    gains = np.column_stack([np.full(len(x), 0.3), np.full(len(x), 0.7)])
    for rule in rules:
        waiting = encoded(rule, "since", encoder)
        assert waiting.columns == (3, encoder.d - 2, encoder.d - 1)
        charge = waiting.charge(x, gains)
        np.testing.assert_allclose(charge[:-2], rule.charge(days, gains[:-2].max(axis=1)), atol=1e-4)
        np.testing.assert_array_equal(charge[-2:], 0.0)
        assert Waiting.read(waiting.to_builtins(), encoder.d) == waiting


@pytest.mark.parametrize(
    "change",
    [{"at": (1.0, 0.0)}, {"share": (1.0,)}, {"columns": (0, 1, 9)}, {"usd": (-1.0, 0.0)}, {"share": (float("nan"), 0)}],
)
def test_a_damaged_rule_is_refused(change):
    good = {"feature": "f", "columns": [0, 1, 2], "at": [0, 1], "share": [1, 0], "usd": [0, 0], "rule": "r"}
    assert Waiting.read(good, 3) is not None
    assert Waiting.read(None, 3) is None
    with pytest.raises(ArtefactError, match="does not fit"):
        Waiting.read({**good, **change}, 3)


def test_a_level_is_no_feature_to_wait_on():
    from engine.encoder import CategoricalCoding

    with pytest.raises(ParameterError, match="numeric"):
        encoded(every_days(2.0, 1.0), "tier", Encoder("v", (CategoricalCoding("tier", ("a",)),)))
