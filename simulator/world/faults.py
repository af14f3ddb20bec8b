"""What goes wrong on purpose: a consent list withdrawn, a complaint spike, an outage, a stale feed, a broken draw.

A fault has a span of days and is part of the scenario. All but `broken_randomisation` act on the world; that one acts
on the draw of a policy (`simulator.world.broken_draw`), because a world cannot see who misuses its random numbers.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from engine.errors import ParameterError
from simulator.world.numbers import SHARE, number

FaultKind = Literal["consent_withdrawn", "complaint_spike", "channel_outage", "stale_feed", "broken_randomisation"]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One fault.

    Attributes:
        kind: consent_withdrawn (a share of contacts loses the permission on the channel, for good, on the first day),
            complaint_spike (complaints times `factor`), channel_outage (every message of the channel is lost),
            stale_feed (observations stand still), broken_randomisation (draws lean to the first actions).
        from_day / days: span; days None lasts to the end.
        channel: by name; "" is every channel.
        share: of contacts, for consent_withdrawn.
        factor: for complaint_spike.
    """

    kind: FaultKind
    from_day: Annotated[float, number("days", "definition", "set by the scenario", ge=0.0)] = 0.0
    days: float | None = None
    channel: str = ""
    share: Annotated[float, number("share", "definition", "set by the scenario", **SHARE)] = 0.5
    factor: Annotated[float, number("1", "definition", "set by the scenario", ge=0.0)] = 50.0

    def __post_init__(self) -> None:
        if self.days is not None and self.days <= 0:
            raise ParameterError("days", f"fault {self.kind!r}", allowed="positive, or null", got=self.days)

    def on(self, day: float) -> bool:
        """Whether the fault is on at a day of the world."""
        return self.from_day <= day and (self.days is None or day < self.from_day + self.days)

    def elapsed(self, day: float) -> float:
        """Days for which it has been on; 0 where it is off."""
        return day - self.from_day + 1.0 if self.on(day) else 0.0

    def concerns(self, channel: str) -> bool:
        """Whether it concerns a channel."""
        return self.channel in {"", channel}
