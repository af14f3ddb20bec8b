"""Fixed-frequency actors: the same message every so many days, whatever is known of the contact.

They look at no context and learn nothing: the plain calendars of today's newsletters, and the yardstick for frequency.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.errors import ParameterError
from engine.types import HOLD, CodeArray, FloatArray, IntArray
from simulator.rollout import Turn
from simulator.world.world import World


@dataclass(frozen=True)
class CalendarActor:
    """One message every `every_days`, on one channel, at one hour, with one arm or the arms in turn.

    Attributes:
        every_days: days between messages, positive; 1 with daily steps is a daily blast.
        channel: name; only this channel is ever used.
        hour: label of an hour slot; "" is the first slot that is eligible.
        arm: id; "" takes the arms of the catalog in turn, each contact from an arm of its own on, so that every arm has
            its share from the first day on.
        spread: whether contacts are spread over the days, so that about the same number is sent to each day; else all
            get it on the same day.
    """

    every_days: float
    channel: str = "email"
    hour: str = ""
    arm: str = ""
    spread: bool = True

    def __post_init__(self) -> None:
        if not self.every_days > 0.0:
            raise ParameterError("every_days", "CalendarActor", allowed="positive", got=self.every_days)

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        """(m,) actions, with propensity 1; hold where nothing is due or the message is not eligible.

        Raises:
            ParameterError: a channel, hour or arm that the catalog does not have.
        """
        world, rows = turn.world, turn.rows
        number = _count(world, self.every_days, self.spread)
        due = np.flatnonzero(number[0][rows] > number[1][rows])
        action = np.full(len(rows), HOLD, dtype=np.int32)
        if len(due):
            wanted = self._actions(world)[:, self._turn(world, number[0])[rows[due]]].T
            eligible = np.take_along_axis(turn.eligibility.take(due).dense(), wanted, axis=1)
            first = eligible.argmax(axis=1)
            chosen = wanted[np.arange(len(due)), first]
            action[due] = np.where(eligible.any(axis=1), chosen, HOLD)
        return action, np.ones(len(rows))

    def _turn(self, world: World, number: CodeArray) -> IntArray:
        """(n,) position of the arm of each contact's message of this number."""
        arms = 1 if self.arm else len(world.catalog.arms)
        turn: IntArray = (number.astype(np.int64) + np.floor(world.draw("calendar arm") * arms).astype(np.int64)) % arms
        return turn

    def _actions(self, world: World) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """(hours, arms) actions in the order in which they are tried and taken in turn."""
        catalog = world.catalog
        channel = _position(self.channel, catalog.channels, "channel")
        hours = [str(hour) for hour in catalog.hours]
        slots = [_position(self.hour, tuple(hours), "hour")] if self.hour else list(range(len(hours)))
        arms = [_position(self.arm, catalog.arm_ids, "arm")] if self.arm else list(range(len(catalog.arms)))
        _, width, depth = catalog.shape
        return np.array([[1 + (channel * width + slot) * depth + arm for arm in arms] for slot in slots])


def _count(world: World, every_days: float, spread: bool) -> tuple[CodeArray, CodeArray]:
    """(n,) messages that are due by the end of this step, and by the end of the one before."""
    offset = world.draw("calendar") if spread else np.zeros(world.n)
    day, length = world.moment.day, world.moment.step_days
    now, before = np.floor((day + length) / every_days + offset), np.floor(day / every_days + offset)
    return now.astype(np.int32), before.astype(np.int32)


def _position(name: str, names: tuple[str, ...], what: str) -> int:
    if name not in names:
        raise ParameterError(what, "CalendarActor", allowed=f"one of {names}", got=name)
    return names.index(name)
