"""Learning on in the loop: every so many days, from what the policy's own decisions brought."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.records.rounds import RoundBlock
from engine.time.localtime import instant_of
from engine.types import CodeArray, FloatArray
from experiments.season.rounds import logged
from simulator.rollout import Actor, Turn
from simulator.world.happened import Happened

# Takes new rounds, in the order in which they were decided, and gives who decides from now on.
Learn = Callable[[Sequence[RoundBlock]], Actor]


class LearningActor:
    """An actor that is replaced by what was learnt from its decisions.

    Args:
        actor: at the start.
        learn: from the new rounds to the next actor.
        every_steps: between two updates, at least 1.
    """

    def __init__(self, actor: Actor, learn: Learn, every_steps: int) -> None:
        self._actor, self._learn, self._every = actor, learn, every_steps
        self._new: list[RoundBlock] = []
        self._steps = 0

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        """(m,) actions and propensities of whoever decides now."""
        return self._actor.act(turn)

    def watch(self, turn: Turn, action: CodeArray, propensity: FloatArray, happened: Happened) -> None:
        """Keep the decisions that had a choice; learn when it is time.

        Raises:
            LearnError: the learner failed; the actor is then as it was.
        """
        calendar = turn.world.scenario.calendar
        at = instant_of(calendar.now(happened.step), owner="LearningActor")
        block = logged(turn, action, propensity, happened, at, happened.step)
        kept = block.take(block.usable)
        if kept.n:
            self._new.append(kept)
        self._steps += 1
        if self._steps % self._every == 0 and self._new:
            self._actor = self._learn(self._new)
            self._new = []
