"""IPS over decisions that capacity limited: unbiased as we log them, biased where sends are cut after sampling."""

from __future__ import annotations

import numpy as np

from engine.limits.admission import Admission, admission_order, admit
from engine.limits.costs import Costs
from engine.types import HOLD, BoolArray, CodeArray, FloatArray
from tests.engine.limits.limit_worlds import distribution, drawing, ids

N, ACTIONS, CAPACITY, REPLICATIONS = 12, 3, 4, 3000


def world() -> tuple[FloatArray, FloatArray]:
    """Scores of the logging policy (it loves what is scarce) and mean rewards (which differ by contact)."""
    contact = np.linspace(0.0, 1.0, N)
    scores = np.stack([np.zeros(N), np.full(N, 1.5), np.zeros(N)], axis=1)
    rewards = np.stack([0.1 * contact, 1.0 + contact, 0.3 - 0.2 * contact], axis=1)
    return scores, rewards


def costs() -> Costs:
    """Two arms on one channel; only the first is limited."""
    amount = np.array([[[1, 0]]])
    return Costs(amount, np.zeros_like(amount), np.zeros((N, 1), dtype=np.int64), 1, np.zeros(1, dtype=np.bool_))


def uniform_over(eligible: BoolArray) -> FloatArray:
    return eligible / eligible.sum(axis=1, keepdims=True)


def ips(reward: FloatArray, action: CodeArray, propensity: FloatArray, eligible: BoolArray) -> float:
    """The value of "uniform over the logged eligible set"."""
    target = uniform_over(eligible)[np.arange(len(action)), action]
    return float(np.mean(target / propensity * reward))


def batches(replication: int) -> list[tuple[Admission, FloatArray, FloatArray]]:
    """Two batches of a day: the second gets what the first has left of the day's capacity."""
    scores, rewards = world()
    left = CAPACITY
    out = []
    for batch in range(2):
        names = ids(f"r{replication}b{batch}", N)
        found = admit(
            np.ones((N, ACTIONS), dtype=np.bool_),
            costs(),
            np.array([[left]]),
            admission_order(names, replication),
            drawing(scores, names, replication),
        )
        left -= int(found.used[0, 0])
        out.append((found, scores, rewards))
    return out


def errors(*, truncate: bool) -> FloatArray:
    """IPS minus the truth (which knows every mean reward), per replication."""
    found = []
    for replication in range(REPLICATIONS):
        for admission, scores, rewards in batches(replication):
            if truncate:
                error = _truncated_error(admission, scores, rewards, replication)
            else:
                reward = rewards[np.arange(N), admission.action]
                truth = float(np.mean((uniform_over(admission.eligible) * rewards).sum(axis=1)))
                error = ips(reward, admission.action, admission.propensity, admission.eligible) - truth
            found.append(error)
    return np.array(found).reshape(REPLICATIONS, -1).mean(axis=1)


def _truncated_error(admission: Admission, scores: FloatArray, rewards: FloatArray, replication: int) -> float:
    """What must not be done: sample without limits, cut sends beyond capacity to hold, keep propensity and set."""
    everything = np.ones((N, ACTIONS), dtype=np.bool_)
    action, propensity = drawing(scores, ids(f"r{replication}cut", N), replication)(np.arange(N), everything)
    order = np.argsort(admission.turn)
    over = order[np.cumsum(action[order] == 1) > CAPACITY // 2]
    cut = over[action[over] == 1]
    action[cut] = HOLD
    reward = rewards[np.arange(N), action]
    truth = float(np.mean((uniform_over(everything) * rewards).sum(axis=1)))
    return ips(reward, action, propensity, everything) - truth


def standardised(values: FloatArray) -> float:
    return float(values.mean() / (values.std(ddof=1) / np.sqrt(len(values))))


def test_ips_is_unbiased_under_capacity() -> None:
    found = errors(truncate=False)
    assert abs(standardised(found)) < 3.0


def test_the_same_test_sees_the_bias_of_cutting_after_sampling() -> None:
    found = errors(truncate=True)
    assert abs(standardised(found)) > 10.0


def test_capacity_binds_in_nearly_every_replication() -> None:
    """Else the two tests above would say nothing about limits."""
    bound = [not all(found.eligible.all() for found, _, _ in batches(replication)) for replication in range(200)]
    assert np.mean(bound) > 0.9


def test_logged_propensity_is_the_frequency_of_the_draw() -> None:
    """Among draws with the same logged set, the limited action comes up as often as its propensity says."""
    scores, _ = world()
    hits, expected, variance = 0.0, 0.0, 0.0
    for replication in range(1000):
        for found, _, _ in batches(replication):
            chance = distribution(scores, found.eligible)[:, 2]
            hits += float((found.action == 2).sum())
            expected += float(chance.sum())
            variance += float((chance * (1 - chance)).sum())
    assert abs(hits - expected) < 3.0 * np.sqrt(variance)
