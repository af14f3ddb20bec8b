"""No send that loses money: the margin after the discount and the cost of the send (catalogue O2; requirement R44).

Margin of one conversion, less the share of the price that is given away, less the cost of one send on the channel. A
discounted arm of which this is not known is removed; an arm without a discount is removed only where it is known to be
too little. Amounts are decimals: 6.01 less a fifth of 30 less 0.01 is exactly 0.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import ClassVar

import msgspec
import numpy as np

from engine.catalog import Arm
from engine.errors import ParameterError
from engine.guardrails.history.bounds import require_purposes
from engine.guardrails.rule import Cell, Finding, Scene, Verdict
from engine.numeric.money import exact

PRICE = "price_usd"
OTHERWISE = "*"


class MarginFloorRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes arms whose margin is below a floor, channel by channel.

    Attributes:
        floor_usd: least margin after discount and send cost; null is no floor.
        send_cost_usd: channel -> cost of one send; "*" for channels without an entry. A channel without either has an
            unknown cost.
        applies_to: purposes that are held.
    """

    reads: ClassVar[tuple[str, ...]] = ()

    floor_usd: float | None
    send_cost_usd: dict[str, float]
    applies_to: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        require_purposes("margin_floor", applies_to=self.applies_to)
        if self.floor_usd is not None and not math.isfinite(self.floor_usd):
            raise ParameterError("floor_usd", "margin_floor", allowed="finite, or null", got=self.floor_usd)
        for channel, cost in self.send_cost_usd.items():
            if not 0 <= cost < math.inf:
                raise ParameterError("send_cost_usd", "margin_floor", allowed="0 or more", got={channel: cost})

    def verdict(self, scene: Scene) -> Verdict:
        """The same for all contacts."""
        if self.floor_usd is None:
            return Verdict()
        low = np.array(
            [[self._too_low(arm, channel) for arm in scene.catalog.arms] for channel in scene.catalog.channels],
            dtype=np.bool_,
        )
        return Verdict(channel_arm=np.broadcast_to(low, (scene.contacts.n, *low.shape))) if low.any() else Verdict()

    def _too_low(self, arm: Arm, channel: str) -> bool:
        if self.floor_usd is None or arm.purpose not in self.applies_to:
            return False
        margin = self._margin(arm, channel)
        return arm.discount_depth > 0 if margin is None else margin < exact(self.floor_usd)

    def _margin(self, arm: Arm, channel: str) -> Decimal | None:
        """Margin after discount and send cost, exact; None where it is not known."""
        cost = self.send_cost_usd.get(channel, self.send_cost_usd.get(OTHERWISE))
        price = 0.0 if arm.discount_depth == 0 else arm.attributes.get(PRICE)
        if arm.margin_usd is None or cost is None or not isinstance(price, int | float):
            return None
        return exact(arm.margin_usd) - exact(arm.discount_depth) * exact(price) - exact(cost)

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:  # noqa: ARG002 - the protocol's signature
        """The margin, or what is missing of it; no waiting mends it."""
        arm, channel = scene.catalog.arms[cell.arm], scene.catalog.channels[cell.channel]
        margin = self._margin(arm, channel)
        if margin is None:
            reason = f"arm {arm.id!r} gives a discount, but its margin, price or the cost of {channel} is not known"
            return Finding("unknown", self.floor_usd, reason)
        reason = f"arm {arm.id!r} on {channel} leaves {margin:.4g} USD after discount and send cost"
        return Finding(float(margin), self.floor_usd, reason)


RULE = MarginFloorRule
