"""The best that observations allow, as an estimate: a flexible regression of the expected gains on what can be seen.

The teacher is fitted on what no log has: the expected gain of every send of a decision, noise taken out. So it says how
much of the oracle's advantage anybody could reach who sees observations alone. It is an estimate from below: another
regression, or more decisions, may reach more. Discounts are charged with what they are expected to take from later
orders, by the world's own numbers.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from engine.encoder import Encoder, fit_encoder, smooth_encoder
from engine.features import ContextBatch
from engine.guardrails.layer import Guardrails
from engine.types import HOLD, CodeArray, FloatArray, IntArray
from experiments.season.actors import SparingActor, sendable_rows
from experiments.season.config import SliceConfig
from experiments.season.rounds import SLICE_FIRST, HalfHold
from experiments.season.variants import Restriction
from policies.horizon.panel import stacked
from simulator.expected import kept, message_gains
from simulator.rollout import Turn, acted
from simulator.scenario import Scenario
from simulator.world.dynamics import ShopperDynamics
from simulator.world.world import World

# Decisions that the teacher learns from, evenly over the days; more bring little.
_DECISIONS: Final = 60_000
_PIECES: Final = 6
_LAYERS: Final = (128, 64)
_PASSES: Final = 60


@dataclass(frozen=True)
class ObservableActor:
    """Takes the eligible send with the highest gain that the teacher predicts; hold where none is above 0.

    Attributes:
        encoder: of the context.
        teacher: fitted regression of the gains of all sends, in units of `scale`.
        scale: USD.
    """

    encoder: Encoder
    teacher: Any
    scale: float

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        """(m,) actions, with propensity 1."""
        action = np.full(len(turn.rows), HOLD, dtype=np.int32)
        some = sendable_rows(turn)
        if len(some):
            gains = self.teacher.predict(self.encoder.encode(turn.contacts.context.take(some))) * self.scale
            gains = np.where(turn.eligibility.take(some).dense()[:, HOLD + 1 :], gains, -np.inf)
            best = gains.argmax(axis=1)
            action[some] = np.where(gains[np.arange(len(some)), best] > 0.0, best + 1, HOLD)
        return action, np.ones(len(action))


def best_observable(
    scenario: Scenario, config: SliceConfig, seed: int, restriction: Restriction, guardrails: Guardrails
) -> ObservableActor:
    """Fit the teacher on decisions of a randomised slice.

    Args:
        scenario / config / seed / restriction / guardrails: as of `experiments.season.rounds.randomised_slice`.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    # Optional, and slow to import.
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
    from sklearn.neural_network import MLPRegressor  # noqa: PLC0415

    contexts, gains = _lessons(scenario, config, seed, restriction, guardrails)
    line = fit_encoder(scenario.features, contexts)
    encoder = smooth_encoder(line, contexts, _PIECES)
    target = np.concatenate(gains)
    scale = float(target.std()) or 1.0
    teacher = MLPRegressor(hidden_layer_sizes=_LAYERS, early_stopping=True, max_iter=_PASSES, random_state=seed)
    with warnings.catch_warnings():
        # What is reached after the last pass is an estimate from below like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        teacher.fit(encoder.encode(stacked(contexts)), target / scale)
    return ObservableActor(encoder, teacher, scale)


def _lessons(
    scenario: Scenario, config: SliceConfig, seed: int, restriction: Restriction, guardrails: Guardrails
) -> tuple[list[ContextBatch], list[FloatArray]]:
    world = World(scenario, config.contacts, seed, first=SLICE_FIRST, guardrails=guardrails)
    actor, rng = SparingActor(HalfHold(config.hold_share)), np.random.default_rng([seed, 17])
    steps = int(np.ceil(config.days / scenario.step_days))
    contexts, gains = list[ContextBatch](), list[FloatArray]()
    for _ in range(steps):
        turn = restriction.turn(world)
        some = sendable_rows(turn)
        some = np.sort(rng.choice(some, min(len(some), -(-_DECISIONS // steps)), replace=False))
        if len(some):
            contexts.append(turn.contacts.context.take(some))
            gains.append(message_gains(world, turn.rows[some]) - _later(world, turn.rows[some]))
        action, _ = acted(actor, turn)
        everybody = np.full(world.n, HOLD, dtype=np.int32)
        everybody[turn.rows] = action
        world.advance(everybody)
    return contexts, gains


def _later(world: World, rows: IntArray) -> FloatArray:
    """(m, k - 1) what each send's discount takes from later orders: a coupon that is used, and the habit of waiting."""
    catalog, numbers = world.catalog, world.scenario.dynamics
    depth = np.array([arm.discount_depth for arm in catalog.arms])
    out = np.zeros((len(rows), catalog.k - 1))
    arms = np.flatnonzero(depth)
    # Dynamics of one's own need not know of coupons.
    if not len(arms) or not isinstance(numbers, ShopperDynamics):
        return out
    actions = np.arange(1, catalog.k)
    _, _, arm = catalog.split(actions)
    sends = actions[np.isin(arm, arms)]
    cells = world.cells(np.repeat(rows, len(sends)), np.tile(sends, len(rows)))
    chances = world.chances(cells)
    seen = (chances.delivered * chances.seen).reshape(len(rows), -1)
    a_day = world.organic()[rows] * world.people.basket_usd[rows] / world.scenario.step_days
    none = np.zeros(len(rows))
    whole = kept(world, none)
    for column, action in enumerate(sends.tolist()):
        given = depth[arm[action - 1]]
        coupon = numbers.coupon_days * (whole - kept(world, none + given))
        habit = 10.0 * given * numbers.habit * numbers.habit_half_life_days / np.log(2.0) * whole
        out[:, action - 1] = seen[:, column] * a_day * (coupon + habit)
    return out
