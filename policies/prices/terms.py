"""The terms of a pricing: each bounds a sum over sends, and its multiplier is a price of the sends that it counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.errors import ParameterError
from engine.types import BoolArray, FloatArray

Unit = Literal["messages", "usd", "share"]


class Costs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one send costs in USD: by channel plus by arm; what is not named costs nothing.

    Attributes:
        channel / arm: name -> USD.
        charged: subtracted from every score as they are.
    """

    channel: dict[str, float] = {}
    arm: dict[str, float] = {}
    charged: bool = False

    def table(self, catalog: Catalog) -> FloatArray:
        """(C, K) USD.

        Raises:
            ParameterError: a channel or arm that the catalog does not have: a typing error would be a free send.
        """
        for key, known, named in (
            ("channel_cost_usd", catalog.channels, self.channel),
            ("arm_cost_usd", catalog.arm_ids, self.arm),
        ):
            if unknown := sorted(set(named) - set(known)):
                raise ParameterError(key, "prices", allowed="names of the catalog", got=unknown)
        channel = np.array([self.channel.get(name, 0.0) for name in catalog.channels])
        arm = np.array([self.arm.get(name, 0.0) for name in catalog.arm_ids])
        table: FloatArray = channel[:, None] + arm
        return table


class Term(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One constraint: the expected use of all contacts together is at most `budget`.

    Attributes:
        name: of the budget, "baseline_volume", "baseline_volume CHANNEL", or "floor GROUP".
        unit: messages; usd; or share: sends that a group is short of, see `share`.
        budget: in that unit, for the contacts of one run; 0 for a share.
        channels: that count; None is all.
        purposes: that count.
        group: of a share, the group; -1 otherwise.
        share: of all counted sends, the least that the group gets.
        least: the other way round: at least `budget` messages.
    """

    name: str
    unit: Unit
    budget: float
    channels: tuple[str, ...] | None = None
    purposes: tuple[str, ...] = ("promotional",)
    group: int = -1
    share: float = 0.0
    least: bool = False

    def counted(self, catalog: Catalog) -> BoolArray:
        """(C, K) the sends that count.

        Raises:
            ParameterError: a channel that the catalog does not have: a typing error would be no budget.
        """
        if unknown := sorted(set(self.channels or ()) - set(catalog.channels)):
            raise ParameterError("channels", f"budget {self.name!r}", allowed=f"among {catalog.channels}", got=unknown)
        channel = np.array([self.channels is None or name in self.channels for name in catalog.channels])
        arm = np.array([arm.purpose in self.purposes for arm in catalog.arms])
        both: BoolArray = channel[:, None] & arm
        return both

    def amounts(self, catalog: Catalog, costs: Costs, groups: int) -> FloatArray:
        """(G, C, K) what one send uses.

        Raises:
            ParameterError: an unknown channel or arm.
        """
        counted = self.counted(catalog).astype(np.float64)
        if self.unit == "usd":
            counted *= costs.table(catalog)
        every = np.repeat(counted[None], groups, axis=0)
        if self.unit == "share":
            others = every * self.share
            others[self.group] -= counted
            return others
        return -every if self.least else every

    @property
    def limit(self) -> float:
        """The right side: the sum of the amounts is at most this."""
        return -self.budget if self.least else self.budget


def price_table(
    terms: Sequence[Term], prices: Sequence[float], costs: Costs, catalog: Catalog, groups: int
) -> FloatArray:
    """(G, C, K) what is subtracted from the score of a send, in reward units.

    Raises:
        ParameterError: an unknown channel or arm.
    """
    charged = costs.table(catalog) if costs.charged else np.zeros((len(catalog.channels), len(catalog.arms)))
    table = np.repeat(charged[None], groups, axis=0)
    for term, price in zip(terms, prices, strict=True):
        if price:
            table += price * term.amounts(catalog, costs, groups)
    return table
