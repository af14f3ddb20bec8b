"""Actors at array speed: any policy asked of those alone who may be sent something, and linear peers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.special import ndtri

from engine.decide.asking import distribution_of
from engine.features import ContextBatch
from engine.numeric.matmul import matmul
from engine.protocols import Policy
from engine.sampling import draw
from engine.types import HOLD, BoolArray, CodeArray, FloatArray, IntArray
from policies.linear.ridge import LinearPosterior
from simulator.rollout import Actor, Turn

# Rows whose (rows, k) distribution is built at once.
_DENSE_CELLS: Final = 1_000_000


@dataclass(frozen=True)
class SparingActor:
    """A policy, asked about those contacts alone who may be sent something: for the others hold is certain.

    Attributes:
        policy: any; conformance says that it holds with certainty where hold alone is eligible.
    """

    policy: Policy

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        """(m,) actions and propensities.

        Raises:
            ParameterError: the policy's answer is no distribution over the eligible set.
        """
        some = sendable_rows(turn)
        action, propensity = np.full(len(turn.rows), HOLD, dtype=np.int32), np.ones(len(turn.rows))
        size = max(1, _DENSE_CELLS // turn.eligibility.k)
        for start in range(0, len(some), size):
            part = some[start : start + size]
            eligible = turn.eligibility.take(part).dense()
            probabilities = distribution_of(self.policy, turn.contacts.context.take(part), eligible)
            action[part], propensity[part] = draw(probabilities, turn.uniform[part])
        return action, propensity


@dataclass(frozen=True)
class ArmsActor:
    """An actor that may send some of the arms alone.

    Attributes:
        actor: any.
        arms: (K,) that it may send.
    """

    actor: Actor
    arms: BoolArray

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        """(m,) actions and propensities."""
        eligibility = turn.eligibility
        allowed = replace(eligibility, channel_arm=eligibility.channel_arm & self.arms)
        return self.actor.act(replace(turn, eligibility=allowed))


def sendable_rows(turn: Turn) -> IntArray:
    """Positions in the turn of those who may be sent something."""
    return np.flatnonzero(turn.eligibility.sendable())


_ROWS: Final = 512


@dataclass(frozen=True)
class LinearActor:
    """LinUCB, or linear Thompson sampling by one normal draw per action.

    The actions have the distribution of `policies.linear.bandits.LinUcb` and
    `policies.linear.bandits.LinearThompson`. A draw
    has no closed-form propensity: that of Thompson sampling is NaN, which no learner that needs one accepts.

    Attributes:
        posterior: posterior of every action.
        width: LinUCB's alpha, or Thompson's v: in reward units.
        thompson: sample, rather than add the bound.
    """

    posterior: LinearPosterior
    width: float
    thompson: bool = False

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        """(m,) actions and propensities; hold where nothing may be sent."""
        action, propensity = np.full(len(turn.rows), HOLD, dtype=np.int32), np.ones(len(turn.rows))
        some = sendable_rows(turn)
        rng = np.random.default_rng([turn.world.seed, turn.world.first, turn.world.state.step])
        for start in range(0, len(some), _ROWS):
            part = some[start : start + _ROWS]
            mean, deviation = predict(self.posterior, turn.contacts.context.take(part))
            noise = ndtri(rng.random(mean.shape)) if self.thompson else 1.0
            scores = np.where(turn.eligibility.take(part).dense(), mean + self.width * deviation * noise, -np.inf)
            action[part] = scores.argmax(axis=1)
        if self.thompson:
            propensity[some] = np.nan
        return action, propensity


def predict(posterior: LinearPosterior, context: ContextBatch) -> tuple[FloatArray, FloatArray]:
    """(n, k) means and deviations: `LinearPosterior.predict` up to rounding, several times as fast."""
    x = posterior.encoder.encode(context).astype(np.float64)
    one = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    products, at, size = np.empty((len(one), len(posterior.covariance))), 0, one.shape[1]
    # The order of `pairs`: column by column, each with itself and those after it.
    for first in range(size):
        np.multiply(one[:, first, None], one[:, first:], out=products[:, at : at + size - first])
        at += size - first
    return matmul(one, posterior.weights), np.sqrt(np.maximum(matmul(products, posterior.covariance), 0.0))
