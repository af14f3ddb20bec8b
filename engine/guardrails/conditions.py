"""What rules read that belongs to the sender, not to the contact: the use case, volumes, rates, switches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ChannelHealth:
    """Counts of one channel over the window that its brakes look at, and whether a brake holds it already.

    Attributes:
        sent: dispatched sends.
        complaints / hard_bounces / carrier_filtered / opt_outs: of these sends.
        braked: brakes that were on at the last look (their rule ids), for hysteresis.
    """

    sent: int
    complaints: int = 0
    hard_bounces: int = 0
    carrier_filtered: int = 0
    opt_outs: int = 0
    braked: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Conditions:
    """The sender's side of a scene at one instant.

    Attributes:
        use_case: that the decisions are for; "" where none.
        health: channel -> its health; a channel that is absent is unknown, and brakes hold it.
        sent_today / sent_yesterday: channel -> dispatched promotional sends; None where nobody counted.
        killed: the kill switch.
        paused_channels / paused_arms / paused_use_cases: by name.
    """

    use_case: str = ""
    health: Mapping[str, ChannelHealth] | None = None
    sent_today: Mapping[str, int] | None = None
    sent_yesterday: Mapping[str, int] | None = None
    killed: bool = False
    paused_channels: frozenset[str] = frozenset()
    paused_arms: frozenset[str] = frozenset()
    paused_use_cases: frozenset[str] = field(default_factory=frozenset)


# Nothing is known of the sender: rules that need it remove what is in their scope.
NOTHING_SAID = Conditions()
