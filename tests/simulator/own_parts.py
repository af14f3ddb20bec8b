"""Parts that somebody wrote for themselves: a response without people in it, and something that is no part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np

from engine.catalog import Catalog
from simulator.numbers import number
from simulator.people.people import People
from simulator.world.response import Cells, Chances, Moment
from simulator.world.state import State


class FlatResponse(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everybody reacts alike."""

    seen: Annotated[float, number("share", "assumed", "an example", ge=0.0, le=1.0)] = 0.5

    def bind(self, catalog: Catalog) -> BoundFlatResponse:
        return BoundFlatResponse(self.seen)


@dataclass(frozen=True)
class BoundFlatResponse:
    seen: float

    def chances(self, people: People, state: State, cells: Cells, moment: Moment) -> Chances:
        none = np.zeros(len(cells.rows))
        return Chances(none, none, none + self.seen, none + 0.25, none + 0.5, none, none, none)
