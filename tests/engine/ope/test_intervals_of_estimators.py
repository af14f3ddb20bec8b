"""Every interval for every estimator: it holds the estimator's figure, or says why it claims nothing."""

from __future__ import annotations

import numpy as np
import pytest

from engine.ope.estimators.marginalised import ActionGroups, Embedding
from engine.ope.estimators.named import ESTIMATORS
from engine.ope.estimators.several_loggers import count_loggers
from engine.ope.evaluate import finish
from engine.ope.models.crossfit import cross_fit
from engine.ope.settings import BOOTSTRAP, DELTA, INTERVALS
from engine.ope.state import EvaluationState
from engine.ope.target import LoggedTarget, PolicyTarget
from tests.engine.ope.asking import setup_of

ROWS = 1200
LOG = [0.4, 0.3, 0.2, 0.1]
NAMES = tuple(name for name in ESTIMATORS if name not in ("dm", "mrdr"))


def some_log(ope):
    rng = np.random.default_rng(21)
    action = rng.choice(4, size=ROWS, p=LOG)
    x = rng.random(ROWS)
    reward = (rng.random(ROWS) < 0.2 + 0.1 * action + 0.1 * x).astype(float)
    return ope.batches(
        action,
        np.array(LOG)[action],
        {"r": reward},
        k=4,
        features={"x": x},
        extra={"who": list(np.where(np.arange(ROWS) % 3, "x", "y"))},
    )


class Clipped01:
    """The ridge of the other tests within the reward's range."""

    def __init__(self, ope) -> None:
        self._model = ope.Ridge("r", 4)

    def fit(self, rounds) -> None:
        self._model.fit(rounds)

    def predict(self, context):
        return np.clip(self._model.predict(context), 0.0, 1.0)


@pytest.mark.parametrize("base", ["logged", "mixed"])
@pytest.mark.parametrize("interval", INTERVALS)
def test_an_interval_or_a_reason(ope, interval, base) -> None:
    log = some_log(ope)
    logging = PolicyTarget(ope.TablePolicy("log", LOG))
    setup = setup_of(
        targets=(
            PolicyTarget(ope.TablePolicy("t", [0.1, 0.2, 0.3, 0.4])),
            PolicyTarget(ope.TablePolicy("u", [0.3, 0.3, 0.3, 0.1])),
        ),
        metric="r",
        reward_range=(0.0, 1.0),
        estimators=NAMES,
        baseline=LoggedTarget() if base == "logged" else PolicyTarget(ope.TablePolicy("b", [0.4, 0.1, 0.4, 0.1])),
        interval=interval,
        clip=3.0,
        replicates=100,
        models=cross_fit(log, lambda: Clipped01(ope), folds=2, seed=0),
        embedding=Embedding(ActionGroups(("g",), np.array([0, 0, 1, 1])), logging),
        loggers=count_loggers(log, "who", [("x", logging), ("y", logging)]),
        largest_weight=4.0,
        simultaneous=True,
    )
    state = EvaluationState(setup)
    for batch in log:
        state.add(batch)
    results = finish(state).results
    assert len(results) == 2 * len(NAMES)
    told = 0
    for estimate in results:
        gap = estimate.difference
        for low, value, high in ((estimate.low, estimate.value, estimate.high), (gap.low, gap.value, gap.high)):
            assert (low is None) == (high is None)
            if low is not None:
                assert low <= value <= high
                assert low < high
        if estimate.low is None or gap.low is None:
            assert any("no interval" in note for note in estimate.notes), estimate.estimator
            assert estimate.verdict == "insufficient"
        else:
            told += 1
    # Offcem has none of its own; all else have the delta method's.
    everywhere = {DELTA, BOOTSTRAP, "studentised", "asymptotic_sequence"}
    expected = {
        "catoni": 8,
        "empirical_bernstein": 8,
        "confidence_sequence": 8,
        "cressie_read": 6,
        "clopper_pearson": 0,
    }
    assert told >= (2 * len(NAMES) - 2 if interval in everywhere else expected[interval])
