"""What a response is: from latents, state and a message to the chances of everything that may follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from engine.catalog import Catalog
from engine.types import FloatArray, IntArray
from simulator.people.people import People
from simulator.world.state import State


@dataclass(frozen=True)
class Cells:
    """m messages to judge: rows of the batch, and positions on the catalog's axes.

    Attributes:
        rows: (m,) rows of the batch.
        channel / arm: (m,) positions.
        hour: (m,) local hour of the day, 0-23.
    """

    rows: IntArray
    channel: IntArray
    hour: IntArray
    arm: IntArray


@dataclass(frozen=True)
class Moment:
    """The step that messages are judged in.

    Attributes:
        step: its number.
        now_at: instant of its decisions, microseconds.
        day: days since the start of the world.
        step_days: its length.
        attention: log odds that the calendar adds to seeing.
        demand: factor on orders without messages.
    """

    step: int
    now_at: int
    day: float
    step_days: float
    attention: float
    demand: float


@dataclass(frozen=True)
class Chances:
    """(m,) probabilities of one message each; a later one in a chain is given the earlier ones.

    Attributes:
        hard_bounced / soft_bounced: chances of a message that leaves; else it is delivered.
        seen: given delivered.
        clicked: given seen.
        ordered: given clicked.
        replied / unsubscribed / complained: given delivered.
    """

    hard_bounced: FloatArray
    soft_bounced: FloatArray
    seen: FloatArray
    clicked: FloatArray
    ordered: FloatArray
    replied: FloatArray
    unsubscribed: FloatArray
    complained: FloatArray

    @property
    def delivered(self) -> FloatArray:
        delivered: FloatArray = 1.0 - self.hard_bounced - self.soft_bounced
        return delivered

    @property
    def orders(self) -> FloatArray:
        """(m,) orders per message, over the whole chain."""
        orders: FloatArray = self.delivered * self.seen * self.clicked * self.ordered
        return orders


class Response(Protocol):
    """The chances of messages, from the latents and the state."""

    def chances(self, people: People, state: State, cells: Cells, moment: Moment) -> Chances: ...


class ResponseModel(Protocol):
    """What a configuration names: binds itself to a catalog once."""

    def bind(self, catalog: Catalog) -> Response: ...
