"""An actor whose contexts hold what its contacts clicked: it counts its own messages, once their clicks are known."""

from __future__ import annotations

import numpy as np

from engine.types import HOLD, CodeArray, FloatArray
from experiments.season.config import Variant
from experiments.season.episode import Watching, play_season
from experiments.season.rounds import CLICKED, KNOWN_DAYS, RememberingActor, logged, remembering
from experiments.season.variants import restriction, varied
from policies.parts.memory.sums import Memory
from simulator.rollout import Turn
from simulator.world.happened import Happened
from simulator.world.world import World

SENDS = f"memory.{CLICKED}.all.all.sends"
STEPS = 16


class FirstSend:
    """Sends the first eligible action to everybody, and keeps what it was shown and what was played."""

    def __init__(self) -> None:
        self.shown: list[tuple[Turn, CodeArray]] = []

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        eligible = turn.eligibility.dense()
        eligible[:, HOLD] = ~eligible[:, 1:].any(axis=1)
        action = eligible.argmax(axis=1).astype(np.int32)
        self.shown.append((turn, action))
        return action, np.ones(len(action))


class Recorded(RememberingActor):
    """Keeps the rounds that it watches."""

    def watch(self, turn: Turn, action: CodeArray, propensity: FloatArray, happened: Happened) -> None:
        super().watch(turn, action, propensity, happened)
        at = int(turn.world.scenario.calendar.now(happened.step).timestamp() * 1e6)
        self.rounds = [*getattr(self, "rounds", []), logged(turn, action, propensity, happened, at, happened.step)]


def test_a_season_remembers_as_a_log_does() -> None:
    """Messages count from seven days on; the counts that decided are those that the same rounds get as a log."""
    scenario = varied("newsletter", Variant())
    world = World(scenario, 80, 5)
    actor = FirstSend()
    remembers = Recorded(actor, Memory(scenario.catalog, CLICKED, KNOWN_DAYS))
    assert isinstance(remembers, Watching)
    none = restriction(Variant(), scenario.catalog, scenario.features)
    played = play_season(world, remembers, STEPS, (), none)
    assert played.sends.sum() > 80
    counts = [turn.contacts.context.columns[SENDS].values for turn, _ in actor.shown]
    early = int(KNOWN_DAYS / scenario.step_days)
    assert sum(values.sum() for values in counts[:early]) == 0.0
    assert counts[early].sum() > 0.0
    as_log = remembering(remembers.rounds, Memory(scenario.catalog, CLICKED, KNOWN_DAYS))
    for (turn, _), batch in zip(actor.shown, as_log, strict=True):
        for name, column in batch.context.columns.items():
            if name.startswith("memory."):
                np.testing.assert_array_equal(turn.contacts.context.columns[name].values, column.values)
