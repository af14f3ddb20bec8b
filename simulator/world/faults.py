"""What goes wrong on purpose: a consent list withdrawn, a complaint spike, an outage, a stale feed, a broken draw.

A fault has a span of days and is part of the scenario. All but `broken_randomisation` act on the world. That one acts
on the draw of a policy (`BrokenDraw`), because a world cannot see who misuses its random numbers: the draw leans to
the first actions of the eligible set (u becomes u^2, so hold and the first channel come too often), while the
propensity that is logged stays the nominal one. The mean weight of an honest evaluation shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import numpy as np

from engine.decide.asking import choice_of, distribution_of
from engine.eligibility import Eligibility
from engine.errors import ParameterError
from engine.features import ContextBatch
from engine.protocols import FusedPolicy, Policy
from engine.sampling import draw
from engine.types import BoolArray, CodeArray, FloatArray
from simulator.numbers import SHARE, number

FaultKind = Literal["consent_withdrawn", "complaint_spike", "channel_outage", "stale_feed", "broken_randomisation"]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One fault.

    Attributes:
        kind: consent_withdrawn (a share of contacts loses the permission on the channel, for good, on the first day),
            complaint_spike (complaints times `factor`), channel_outage (every message of the channel is lost),
            stale_feed (observations stand still), broken_randomisation (draws lean to the first actions).
        from_day / days: span; days None lasts to the end.
        channel: by name; "" is every channel.
        share: share of contacts, for consent_withdrawn.
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


# Rows whose (rows, k) distribution is built at once for a policy without a fused path.
_DENSE_CELLS = 4_000_000


@dataclass(frozen=True)
class BrokenDraw:
    """A policy whose draws are wrong and whose propensities are right.

    Attributes:
        policy: that is misused.
    """

    policy: Policy

    @property
    def name(self) -> str:
        return self.policy.name

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """(n, k) the nominal distribution.

        Raises:
            EligibilityError: a row without an eligible action.
        """
        return self.policy.distribution(context, eligible)

    def choose(
        self, context: ContextBatch, eligibility: Eligibility, draws: FloatArray
    ) -> tuple[CodeArray, FloatArray]:
        """(n,) actions by uniforms that lean to 0, with the propensities of honest ones.

        Raises:
            EligibilityError: a row without an eligible action.
            ParameterError: the policy's answer is no distribution over the eligible set.
        """
        leaning = draws * draws
        if isinstance(self.policy, FusedPolicy):
            return choice_of(self.policy, context, eligibility, leaning)
        action, propensity = np.zeros(context.n, dtype=np.int32), np.ones(context.n)
        size = max(1, _DENSE_CELLS // eligibility.k)
        for start in range(0, context.n, size):
            part = slice(start, min(start + size, context.n))
            eligible = eligibility.take(part).dense()
            probabilities = distribution_of(self.policy, context.take(part), eligible)
            action[part], propensity[part] = draw(probabilities, leaning[part])
        return action, propensity


def broken_at(policy: Policy, faults: tuple[Fault, ...], day: float) -> Policy:
    """The policy as it draws on a day of the world: broken where the fault is on."""
    broken = any(fault.kind == "broken_randomisation" and fault.on(day) for fault in faults)
    return BrokenDraw(policy) if broken else policy
