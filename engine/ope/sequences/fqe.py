"""Fitted Q evaluation: the model of what a policy earns from each step on, cross-fitted by trajectory."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from engine.errors import LearnError, ParameterError
from engine.ope.models.crossfit import model_fold_of
from engine.ope.models.regressor import Regressor
from engine.ope.sequences.trajectories import Trajectories
from engine.types import BoolArray, FloatArray, IntArray, KeyArray


@dataclass(frozen=True)
class Steps:
    """What a model may see of n trajectories of at most T steps.

    Attributes:
        features: (n, T, d) the state before each step; whatever, but finite, after the end.
        action: (n, T) in [0, k).
        target: (n, T, k) the target's distribution at each step.
        active: (n, T) whether the step took place.
    """

    features: FloatArray
    action: IntArray
    target: FloatArray
    active: BoolArray

    def __post_init__(self) -> None:
        n, horizon, _ = self.features.shape
        if self.action.shape != (n, horizon) or self.active.shape != (n, horizon):
            raise ParameterError("action", "Steps", allowed=f"of shape {(n, horizon)}", got=self.action.shape)
        if self.target.shape[:2] != (n, horizon):
            raise ParameterError("target", "Steps", allowed=f"of shape {(n, horizon)} and k", got=self.target.shape)

    @property
    def k(self) -> int:
        return int(self.target.shape[2])


def with_model(
    trajectories: Trajectories,
    steps: Steps,
    regressor: Regressor,
    *,
    gamma: float = 1.0,
    folds: int = 2,
    seed: int = 0,
    keys: KeyArray | None = None,
) -> Trajectories:
    """The trajectories with the values of a fitted Q function, none of which saw the trajectory that it judges.

    Le, Voloshin & Yue (2019), algorithm 3, for a finite horizon: from the last step back, regress
    r_t + gamma sum over a of target(a | s_{t+1}) Q_{t+1}(s_{t+1}, a) on state and action, one regressor a step.

    Args:
        trajectories: weights and rewards.
        steps: states, actions and the target of the same trajectories.
        regressor: copied for each step and fold; reads the features and one indicator per action.
        gamma: discount, in [0, 1].
        folds: at least 2.
        seed: Seed of the folds.
        keys: (n,) of the trajectories, so that folds do not depend on their order; their positions where None.

    Raises:
        ParameterError: shapes that do not fit, `folds` below 2, or `gamma` out of range.
        LearnError: a fold without trajectories to learn from, or a failure of the regressor.
    """
    if steps.action.shape != trajectories.reward.shape:
        raise ParameterError("steps", "with_model", allowed=f"{trajectories.reward.shape}", got=steps.action.shape)
    if folds < 2 or not 0 <= gamma <= 1:
        raise ParameterError("folds", "with_model", allowed="at least 2, gamma in [0, 1]", got=(folds, gamma))
    keys = np.arange(trajectories.n).astype(np.uint64) if keys is None else keys
    fold = model_fold_of(keys, folds, seed)
    value, logged = np.zeros_like(trajectories.reward), np.zeros_like(trajectories.reward)
    for number in np.unique(fold):
        held = fold == number
        if held.all():
            raise LearnError("a fold leaves no trajectory to learn from", hint="more trajectories are needed")
        found = _backwards(trajectories.reward, steps, regressor, gamma, ~held)
        value[held], logged[held] = found[0][held], found[1][held]
    return Trajectories(trajectories.weight, trajectories.reward, value, logged)


def _backwards(
    reward: FloatArray, steps: Steps, regressor: Regressor, gamma: float, train: BoolArray
) -> tuple[FloatArray, FloatArray]:
    value, logged = np.zeros_like(reward), np.zeros_like(reward)
    after = np.zeros(len(reward))
    for t in reversed(range(reward.shape[1])):
        active = steps.active[:, t]
        used = train & active
        if used.any():
            q = _q(steps, t, regressor, reward[:, t] + gamma * after, used)
            value[:, t] = np.where(active, (steps.target[:, t] * q).sum(axis=1), 0.0)
            logged[:, t] = np.where(active, q[np.arange(len(q)), steps.action[:, t]], 0.0)
        after = value[:, t]
    return value, logged


def _q(steps: Steps, t: int, regressor: Regressor, target: FloatArray, used: BoolArray) -> FloatArray:
    """(n, k) values of every action at step t."""
    fitted = copy.deepcopy(regressor)
    features = steps.features[:, t]
    try:
        fitted.fit(_design(features[used], steps.action[used, t], steps.k), target[used])
    except (TypeError, ValueError, ArithmeticError) as error:
        raise LearnError(f"{type(fitted).__name__} cannot be fitted at step {t}: {error}") from error
    every = [_design(features, np.full(len(features), action), steps.k) for action in range(steps.k)]
    q = np.stack([np.asarray(fitted.predict(rows), dtype=np.float64) for rows in every], axis=1)
    if not np.isfinite(q).all():
        raise LearnError(f"{type(fitted).__name__} predicts values that are not finite at step {t}")
    return q


def _design(features: FloatArray, action: IntArray, k: int) -> FloatArray:
    return np.concatenate([features, np.eye(k)[action]], axis=1)
