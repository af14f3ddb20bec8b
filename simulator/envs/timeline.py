"""What a picture of a contact needs: its latents at the start of each step, and what the step brought."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from engine.types import HOLD
from simulator.world.happened import Happened
from simulator.world.world import World

# Fates of one message, as flags by name.
FATES: Final = ("delivered", "seen", "clicked", "replied", "unsubscribed", "complained", "message_order")
MONEY: Final = ("order_usd", "organic_usd", "discount_usd", "refund_usd", "cost_usd", "reward_usd")


def contact_events(happened: Happened, row: int) -> dict[str, Any]:
    """What a step brought to one contact, as plain values.

    Args:
        happened: what the step brought to a batch.
        row: row of the batch.
    """
    at = np.flatnonzero(happened.rows == row)
    story: dict[str, Any] = {"sent": bool(len(at))}
    story |= {name: bool(len(at)) and bool(getattr(happened, name)[at[0]]) for name in FATES}
    story["organic"] = bool(happened.organic[row])
    return story | {name: float(getattr(happened, name)[row]) for name in MONEY}


@dataclass(frozen=True)
class Message:
    """One message: day and local hour, channel position, arm id, and the step whose story tells its fate."""

    day: float
    hour: int
    channel: int
    arm: str
    step: int


@dataclass
class Timeline:
    """One contact's life so far.

    Args:
        world: world of this contact alone, at its first step.

    Attributes:
        days: day of each step.
        fatigue: by step, (C,) stock of messages.
        pressure / intent / stage: by step.
        stories: by step, see `contact_events`.
        messages: those that were sent.
    """

    world: World
    days: list[float] = field(default_factory=list)
    fatigue: list[list[float]] = field(default_factory=list)
    pressure: list[float] = field(default_factory=list)
    intent: list[bool] = field(default_factory=list)
    stage: list[int] = field(default_factory=list)
    stories: list[dict[str, Any]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)

    def before(self, action: int) -> None:
        """Note the state at the start of a step, and the hour of what is sent in it."""
        state = self.world.state
        self.days.append(float(self.world.moment.day))
        self.fatigue.append(state.fatigue[0].tolist())
        self.pressure.append(float(state.pressure[0]))
        self.intent.append(bool(state.intent[0]))
        self.stage.append(int(state.stage[0]))
        if action != HOLD:
            cell = self.world.cells(np.zeros(1, dtype=np.int64), np.array([action]))
            arm = self.world.catalog.arms[int(cell.arm[0])].id
            self.messages.append(
                Message(self.days[-1], int(cell.hour[0]), int(cell.channel[0]), arm, len(self.days) - 1)
            )

    def after(self, happened: Happened) -> None:
        """Note what the step brought."""
        self.stories.append(contact_events(happened, 0))
