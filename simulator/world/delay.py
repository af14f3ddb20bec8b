"""When an event becomes known: published curves of opens and clicks after a send, and what was assumed for the rest.

A curve is the share of events within so many hours, linear in the logarithm of time between its knots. Faults of the
feed - late, duplicated and lost events - belong here too, and are off by default.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Final, Protocol

import msgspec
import numpy as np

from engine.errors import ParameterError
from engine.types import FloatArray, IntArray
from simulator.numbers import SHARE, number, table

US_PER_HOUR: Final = 3_600_000_000
FIRST_HOURS: Final = 1.0 / 60.0
Curve = tuple[tuple[float, float], ...]

_GETRESPONSE = "GetResponse, 5.5 bn e-mails, July 2019 to June 2020"


class Delay(Protocol):
    """How long after its cause an event becomes known."""

    def delay_us(self, event: str, channel: str, uniform: FloatArray) -> IntArray: ...


class CurveDelay(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Delays by piecewise curves.

    Attributes:
        curves: "event/channel" or "event" -> knots (hours, share of events by then), rising, the last share 1.
        late_share / late_hours: this share of events comes so much later (a feed that lags).
        duplicate_share: this share of events is reported twice.
        lost_share: this share of events is never reported.
    """

    curves: Annotated[
        dict[str, Curve],
        number(
            "hours -> share",
            "published",
            f"opens and clicks: {_GETRESPONSE}; push: median 48 minutes (Leanplum); SMS, orders and opt-outs assumed",
        ),
    ] = table(
        {
            "seen/email": ((1.0, 0.215), (6.0, 0.506), (24.0, 0.73), (168.0, 1.0)),
            "clicked/email": ((1.0, 0.336), (3.0, 0.514), (24.0, 0.81), (168.0, 1.0)),
            "seen/sms": ((0.05, 0.5), (1.0, 0.9), (24.0, 1.0)),
            "clicked/sms": ((1.0, 0.7), (24.0, 1.0)),
            "seen/push": ((0.8, 0.5), (6.0, 0.85), (24.0, 1.0)),
            "clicked/push": ((0.8, 0.5), (6.0, 0.85), (24.0, 1.0)),
            "ordered": ((1.0, 0.4), (24.0, 0.85), (72.0, 1.0)),
            "unsubscribed": ((1.0, 0.336), (24.0, 0.81), (168.0, 1.0)),
            "replied": ((1.0, 0.5), (24.0, 1.0)),
            "complained": ((24.0, 0.5), (168.0, 1.0)),
            "bounced": ((0.1, 0.9), (24.0, 1.0)),
            "delivered": ((0.02, 0.9), (1.0, 1.0)),
            "refunded": ((72.0, 0.2), (336.0, 1.0)),
        }
    )
    late_share: Annotated[float, number("share", "assumed", "a fault that is switched on", **SHARE)] = 0.0
    late_hours: Annotated[float, number("hours", "assumed", "a fault that is switched on", ge=0.0)] = 72.0
    duplicate_share: Annotated[float, number("share", "assumed", "a fault that is switched on", **SHARE)] = 0.0
    lost_share: Annotated[float, number("share", "assumed", "a fault that is switched on", **SHARE)] = 0.0

    def __post_init__(self) -> None:
        for name, knots in self.curves.items():
            hours, shares = zip(*knots, strict=True) if knots else ((), ())
            rising = all(a < b for a, b in pairwise(hours)) and all(a <= b for a, b in pairwise(shares))
            if not knots or not rising or hours[0] <= 0.0 or shares[0] < 0.0 or shares[-1] != 1.0:
                raise ParameterError(
                    f"curves[{name!r}]",
                    "CurveDelay",
                    allowed="rising (hours > 0, share) knots that end at 1",
                    got=knots,
                )

    def delay_us(self, event: str, channel: str, uniform: FloatArray) -> IntArray:
        """(m,) microseconds from the cause (the send, or the click for an order) to the event.

        Args:
            event: seen, clicked, ordered, unsubscribed, replied, complained, bounced, delivered or refunded.
            channel: channel of the message.
            uniform: (m,) in [0, 1).

        Raises:
            ParameterError: no curve for the event.
        """
        knots = self.curves.get(f"{event}/{channel}", self.curves.get(event, ()))
        if not knots:
            raise ParameterError(event, "CurveDelay.curves", allowed=f"one of {sorted(self.curves)}", got=event)
        hours = np.log([min(FIRST_HOURS, 0.5 * knots[0][0]), *(at for at, _ in knots)])
        shares = [0.0, *(share for _, share in knots)]
        delayed: IntArray = (np.exp(np.interp(uniform, shares, hours)) * US_PER_HOUR).astype(np.int64)
        return delayed
