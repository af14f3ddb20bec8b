"""What a step is worth: margin of orders, less discounts, refunds, sends, and what a lost permission costs later.

reward = margin_share * (orders - refunds) - discounts - send costs - c_u unsubscribes - c_c complaints  (R44)
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from simulator.world.numbers import SHARE, number, table


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
