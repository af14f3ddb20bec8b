"""What single decisions are truly worth in the states of the log: what a backtest estimates, without its noise."""

from __future__ import annotations

import numpy as np

from engine.guardrails.conditions import Conditions
from engine.types import HOLD, Float32Array, FloatArray, IntArray
from experiments.demo.acts import known_days
from experiments.judge.launch.prepared import Prepared
from experiments.outputs import Output
from experiments.season.actors import sendable_rows
from policies.parts.learner import PartsLearner, PartsState
from policies.peers.constant import UniformPolicy
from simulator.rollout import PolicyActor, Turn, acted, turn_of
from simulator.scenario import Scenario
from simulator.world.world import World

# Contacts of the log whose days are played again; heavy spenders make the mean of fewer uncertain.
_CONTACTS = 20_000


class Possible(Output, frozen=True, kw_only=True):
    """True values over the segments, USD per decision, in the states that the log's decisions led to.

    They are those of the metric that decides: chances of events are the world's, what a click is worth and a permission
    costs is what was learnt from the contacts that trained. So the first is exactly what the backtest estimates.

    Attributes:
        learned: what the learned policy truly gains: the truth that the interval of the backtest is about.
        most: what is gained by whoever knows every latent; no policy gains more in these states.
        decisions: that were judged.
        a_day: decisions per contact and day.
    """

    learned: float
    most: float
    decisions: int
    a_day: float


def possible(scenario: Scenario, prepared: Prepared, contacts: int, seed: int) -> Possible:
    """Play the first contacts of the log again, and ask the world for the chances of every message.

    Args:
        scenario / contacts / seed: those of the log.
        prepared: holds the two policies, and what a click is worth.
    """
    world, logging = World(scenario, min(contacts, _CONTACTS), seed), PolicyActor(UniformPolicy())
    sums, decisions, days = np.zeros(2), 0, known_days(scenario)
    for _ in range(days):
        turn = turn_of(world, Conditions(killed=False))
        decisions += len(turn.rows)
        sums += _over_segments(turn, prepared)
        action, _ = acted(logging, turn)
        everybody = np.full(world.n, HOLD, dtype=np.int32)
        everybody[turn.rows] = action
        world.advance(everybody)
    learned, most = (sums / max(decisions, 1)).tolist()
    return Possible(learned=learned, most=most, decisions=decisions, a_day=decisions / (world.n * days))


def _over_segments(turn: Turn, prepared: Prepared) -> FloatArray:
    """(2,) sums over a day's decisions: the learned policy and the best action, each less the segments."""
    some, learner = sendable_rows(turn), prepared.learner
    if not len(some) or not isinstance(learner, PartsLearner):
        return np.zeros(2)
    eligible = turn.eligibility.take(some).dense()
    context = turn.contacts.context.take(some)
    x = learner.state.encoder.encode(context)
    worth = learner.state.tables.money.scores(x).astype(np.float64)
    worth[:, HOLD + 1 :] += _by_events(turn.world, turn.rows[some], learner.state, x)
    today = (prepared.segments.distribution(context, eligible) * worth).sum(axis=1)
    learned = (prepared.policy.distribution(context, eligible) * worth).sum(axis=1)
    best = np.where(eligible, worth, -np.inf).max(axis=1)
    return np.array([(learned - today).sum(), (best - today).sum()])


def _by_events(world: World, rows: IntArray, state: PartsState, x: Float32Array) -> FloatArray:
    """(m, k - 1) what the clicks and the lost permissions of every send are worth on average."""
    sends = np.arange(1, world.catalog.k)
    chances = world.chances(world.cells(np.repeat(rows, len(sends)), np.tile(sends, len(rows))))
    shape, tables = (len(rows), len(sends)), state.tables
    out = np.zeros(shape)
    if tables.worth is not None:
        clicked = (chances.delivered * chances.seen * chances.clicked).reshape(shape)
        out += clicked * np.maximum(tables.worth.scores(x)[:, HOLD + 1 :], 0.0)
    channel = world.catalog.split(sends)[0]
    for loss in tables.losses:
        lost = (chances.delivered * getattr(chances, loss.name)).reshape(shape)
        out -= lost * loss.price[channel]
    return out
