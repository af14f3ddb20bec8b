"""The sixteen metrics of a campaign in four layers, and three figures that keep them honest (R36, R38, R39).

Sums over steps, mergeable over batches, seeds and processes; the result does not depend on how contacts were cut into
batches. A metric whose denominator or input is missing is None ("n/a"), never 0: no send is no bounce rate of zero.

    delivery    inbox_placement  delivered / sends (the simulator has no spam folder)
                bounce_rate      bounced, hard or soft / sends
                complaint_rate   complaints / delivered
                sms_delivery     delivered / sends, SMS alone
    engagement  open_rate        e-mails seen / e-mails delivered
                click_rate       clicked / delivered
                reply_rate       replied / delivered
                read_rate        seen / delivered, every channel
    conversion  purchases, demo_bookings, activations, renewals: conversions per contact; the use case has one of the
                four, the others are n/a
    efficiency  revenue_per_send      value of the orders that messages brought / sends, usd
                unsubscribe_rate      unsubscribed / delivered
                cost_per_conversion   (cost of sends + every discount given) / orders that messages brought, usd
                list_fatigue          share of contacts, among those who were ever sent a message, whose last
                                      `TIRED_STREAK` messages or more got no reaction that is known; mean over steps
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from engine.errors import ParameterError
from engine.ope.sums.exact import add_pairs, segment_sums
from engine.types import FloatArray
from simulator.people.people import MOTIVES
from simulator.world.happened import Happened
from simulator.world.world import World

Figures = Mapping[str, float | None]

CONVERSIONS: Final = ("purchases", "demo_bookings", "activations", "renewals")
LAYERS: Final[Mapping[str, tuple[str, ...]]] = {
    "delivery": ("inbox_placement", "bounce_rate", "complaint_rate", "sms_delivery"),
    "engagement": ("open_rate", "click_rate", "reply_rate", "read_rate"),
    "conversion": CONVERSIONS,
    "efficiency": ("revenue_per_send", "unsubscribe_rate", "cost_per_conversion", "list_fatigue"),
}
# Words of a scenario's outcome -> the conversion that it is; every other outcome is a purchase.
_OUTCOMES: Final = {"demo": "demo_bookings", "activat": "activations", "renew": "renewals"}
TIRED_STREAK: Final = 5

_COUNTS: Final = (
    "contacts", "steps", "sends", "delivered", "bounced", "complained", "seen", "clicked", "replied", "unsubscribed",
    "sms_sends", "sms_delivered", "email_delivered", "email_seen", "message_orders", "orders",
    "first_touches", "first_discounts", "mailed", "tired",
)  # fmt: skip
_MONEY: Final = ("revenue", "message_revenue", "discounted_revenue", "discount", "refund", "cost", "reward")


def conversion_of(outcome: str) -> str:
    """Which of `CONVERSIONS` a scenario's outcome is."""
    return next((name for word, name in _OUTCOMES.items() if outcome.startswith(word)), "purchases")


@dataclass
class Metrics:
    """Sums behind the metrics of one policy.

    Attributes:
        outcome: outcome of the scenario.
        counts: whole numbers, see `_COUNTS`.
    """

    outcome: str
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTS, 0))
    _high: FloatArray = field(default_factory=lambda: np.zeros(len(_MONEY)))
    _low: FloatArray = field(default_factory=lambda: np.zeros(len(_MONEY)))

    def add(self, happened: Happened, world: World) -> None:
        """One step of a batch.

        Args:
            happened: what the step brought.
            world: after the step.
        """
        if happened.step == 0:
            self.counts["contacts"] += world.n
        self._count_messages(happened, world)
        self._count_people(happened, world)
        self._add_money(happened)

    def merge(self, other: Metrics) -> None:
        """Take over the sums of another batch.

        Raises:
            ParameterError: they are of another outcome.
        """
        if other.outcome != self.outcome:
            raise ParameterError("other", "Metrics.merge", allowed=f"of outcome {self.outcome!r}", got=other.outcome)
        for name, count in other.counts.items():
            self.counts[name] += count
        self._high, self._low = add_pairs(self._high, self._low, other._high, other._low)

    def money(self, name: str) -> float:
        """A sum in usd: revenue, message_revenue, discounted_revenue, discount, refund, cost or reward."""
        return float(self._high[_MONEY.index(name)] + self._low[_MONEY.index(name)])

    def layers(self) -> dict[str, dict[str, float | None]]:
        """Layer -> metric -> value, None where it is n/a; see the module's table."""
        figures = self._figures()
        return {layer: {name: figures[name] for name in names} for layer, names in LAYERS.items()}

    def honesty(self) -> dict[str, float | None]:
        """What opens and clicks hide.

        discount_share: value of orders at a discount / value of all orders.
        refund_share: value that came back / value of all orders.
        discount_on_first_touch_to_non_price_motive: share of contacts' first messages, among contacts who are not
        moved by price, that led with a discount.
        """
        count = self.counts
        return {
            "discount_share": _ratio(self.money("discounted_revenue"), self.money("revenue")),
            "refund_share": _ratio(self.money("refund"), self.money("revenue")),
            "discount_on_first_touch_to_non_price_motive": _ratio(count["first_discounts"], count["first_touches"]),
        }

    def _figures(self) -> Figures:
        count = self.counts
        delivered, sends = count["delivered"], count["sends"]
        paid = self.money("cost") + self.money("discount")
        conversions: dict[str, float | None] = dict.fromkeys(CONVERSIONS)
        conversions[conversion_of(self.outcome)] = _ratio(count["orders"], count["contacts"])
        return {
            "inbox_placement": _ratio(delivered, sends),
            "bounce_rate": _ratio(count["bounced"], sends),
            "complaint_rate": _ratio(count["complained"], delivered),
            "sms_delivery": _ratio(count["sms_delivered"], count["sms_sends"]),
            "open_rate": _ratio(count["email_seen"], count["email_delivered"]),
            "click_rate": _ratio(count["clicked"], delivered),
            "reply_rate": _ratio(count["replied"], delivered),
            "read_rate": _ratio(count["seen"], delivered),
            **conversions,
            "revenue_per_send": _ratio(self.money("message_revenue"), sends),
            "unsubscribe_rate": _ratio(count["unsubscribed"], delivered),
            "cost_per_conversion": _ratio(paid, count["message_orders"]),
            "list_fatigue": _ratio(count["tired"], count["mailed"]),
        }

    def _count_messages(self, happened: Happened, world: World) -> None:
        count = self.counts
        count["sends"] += len(happened.rows)
        for name in ("delivered", "complained", "seen", "clicked", "replied", "unsubscribed"):
            count[name] += int(np.count_nonzero(getattr(happened, name)))
        count["bounced"] += int(np.count_nonzero(happened.bounced_hard | happened.bounced_soft))
        count["message_orders"] += int(np.count_nonzero(happened.message_order))
        for channel in ("sms", "email"):
            if channel not in world.catalog.channels:
                continue
            own = happened.channel == world.catalog.channels.index(channel)
            delivered = int(np.count_nonzero(own & happened.delivered))
            if channel == "sms":
                count["sms_sends"] += int(np.count_nonzero(own))
                count["sms_delivered"] += delivered
            else:
                count["email_delivered"] += delivered
                count["email_seen"] += int(np.count_nonzero(own & happened.seen))

    def _count_people(self, happened: Happened, world: World) -> None:
        count, state = self.counts, world.state
        count["orders"] += int(np.count_nonzero(happened.message_order)) + int(np.count_nonzero(happened.organic))
        ever = state.sends.count > 0
        count["mailed"] += int(np.count_nonzero(ever))
        count["tired"] += int(np.count_nonzero(ever & (state.known.unopened >= TIRED_STREAK)))
        first = happened.rows[state.sends.count[happened.rows] == 1]
        unmoved = first[state.motive[first] != MOTIVES.index("price")]
        depth = np.array([arm.discount_depth for arm in world.catalog.arms])
        count["first_touches"] += len(unmoved)
        arms = world.catalog.split(happened.action[unmoved])[2]
        count["first_discounts"] += int(np.count_nonzero(depth[arms] > 0.0))
        count["steps"] += world.n

    def _add_money(self, happened: Happened) -> None:
        ordered = np.flatnonzero(happened.ordered | happened.organic)
        value = happened.order_usd[ordered] + happened.organic_usd[ordered]
        columns = [value, happened.order_usd[ordered], np.where(happened.discount_usd[ordered] > 0.0, value, 0.0)]
        columns += [happened.discount_usd[ordered], happened.refund_usd[ordered]]
        moved = np.flatnonzero(happened.reward_usd)
        sums = [*(exact_sum(column) for column in columns), exact_sum(happened.cost_usd[happened.rows])]
        sums.append(exact_sum(happened.reward_usd[moved]))
        high, low = (np.array(part) for part in zip(*sums, strict=True))
        self._high, self._low = add_pairs(self._high, self._low, high, low)


def exact_sum(values: FloatArray) -> tuple[float, float]:
    """Sum of (n,) as a double-double: the same in any order and any cut."""
    if not len(values):
        return 0.0, 0.0
    high, low = segment_sums(values[:, None], np.array([len(values)]))
    return float(high[0, 0]), float(low[0, 0])


def _ratio(above: float, below: float) -> float | None:
    return above / below if below else None
