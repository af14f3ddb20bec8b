"""What a step brought, and what that is worth: messages with their fate, orders that came without one, money.

reward = margin_share * (orders - refunds) - discounts - send costs - c_u unsubscribes - c_c complaints  (R44)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np

from engine.types import BoolArray, CodeArray, FloatArray, IntArray
from simulator.numbers import SHARE, number, table


@dataclass(frozen=True)
class Happened:
    """One step of n contacts, of whom m were sent a message.

    Attributes:
        step: its number.
        action: (n,) as given.
        rows: (m,) contacts with a message, rising.
        channel / hour_slot / arm: (m,) positions on the catalog's axes.
        send_at: (m,) int64 microseconds of the planned instant.
        bounced_hard / bounced_soft / delivered / seen / clicked / replied / unsubscribed / complained: (m,).
        message_order: (m,) whether the message brought an order.
        ordered: (n,) the same by contact.
        organic: (n,) an order that would have come without a message too.
        order_usd: (n,) value at full price of both orders.
        discount_usd: (n,) given away on them.
        refund_usd: (n,) value that came back later.
        cost_usd: (n,) of the send.
        reward_usd: (n,) see `simulator.world.happened`.
    """

    step: int
    action: CodeArray
    rows: IntArray
    channel: IntArray
    hour_slot: IntArray
    arm: IntArray
    send_at: IntArray
    bounced_hard: BoolArray
    bounced_soft: BoolArray
    delivered: BoolArray
    seen: BoolArray
    clicked: BoolArray
    replied: BoolArray
    unsubscribed: BoolArray
    complained: BoolArray
    message_order: BoolArray
    ordered: BoolArray
    organic: BoolArray
    order_usd: FloatArray
    organic_usd: FloatArray
    discount_usd: FloatArray
    refund_usd: FloatArray
    cost_usd: FloatArray
    reward_usd: FloatArray


def reported(happened: Happened, n: int) -> dict[str, FloatArray]:
    """What a sender's systems would report of a step, by contact."""
    flags = {
        name: getattr(happened, name) for name in ("delivered", "complained", "clicked", "replied", "unsubscribed")
    }
    flags |= {"bounced": happened.bounced_hard | happened.bounced_soft, "opened": happened.seen}
    found = {}
    for name, flag in flags.items():
        found[name] = np.zeros(n)
        found[name][happened.rows] = flag
    return found | {
        "purchases": (happened.ordered | happened.organic).astype(np.float64),
        "revenue": happened.order_usd + happened.organic_usd - happened.discount_usd,
        "refunds": happened.refund_usd.astype(np.float64),
        "send_cost": -happened.cost_usd,
    }


class Money(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Prices of a scenario.

    Attributes:
        margin_share: margin before discount, as a share of an order's value.
        send_cost_usd: by channel.
        unsubscribe_usd: cost of a lost channel permission beyond the horizon.
        complaint_usd: cost of a complaint beyond the horizon.
        refund_share: share of orders that come back.
        discount_refund_share: the same, of orders at a discount (low-quality conversions).
    """

    margin_share: Annotated[float, number("share", "assumed", "retail gross margin", **SHARE)] = 0.45
    send_cost_usd: dict[
        str, Annotated[float, number("usd / send", "assumed", "list prices differ by volume", ge=0.0)]
    ] = table(
        {
            "email": 0.001,
            "sms": 0.015,
            "push": 0.0005,
        }
    )
    unsubscribe_usd: Annotated[float, number("usd", "assumed", "value of a permission after the horizon", ge=0.0)] = 1.0
    complaint_usd: Annotated[float, number("usd", "assumed", "harm to deliverability", ge=0.0)] = 5.0
    refund_share: Annotated[float, number("share", "assumed", "returns in retail", **SHARE)] = 0.08
    discount_refund_share: Annotated[float, number("share", "assumed", "discounted orders come back more", **SHARE)] = (
        0.12
    )
