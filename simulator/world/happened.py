"""What a step brought: the messages of a block with their fate, and the orders that came without one."""

from __future__ import annotations

from dataclasses import dataclass

from engine.types import BoolArray, CodeArray, FloatArray, IntArray


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
        reward_usd: (n,) see `simulator.world.money`.
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
