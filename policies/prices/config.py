"""Budgets, the baseline's volume and floors by group, as plain configuration."""

from __future__ import annotations

from datetime import date
from typing import Literal

import msgspec

from engine.errors import ParameterError
from engine.time.zone_names import names_of_people, zone_hint
from engine.types import PURPOSES

AUTO, NONE = "auto", "none"


class BudgetSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """At most so many messages, or so much money, in expectation.

    Attributes:
        name: for people, and in the record.
        messages / usd: one of them: how much there is; 0 is never.
        channels: channels that count; None is all together.
        purposes: purposes that count.
        per: "day", or "campaign": what is left of it is spread evenly over the days that are left.
        ends: last day of the campaign, as 2026-12-24.
        used: what was used before: of a campaign on earlier days, of a day in earlier runs.
    """

    name: str
    messages: float | None = None
    usd: float | None = None
    channels: tuple[str, ...] | None = None
    purposes: tuple[str, ...] = ("promotional",)
    per: Literal["day", "campaign"] = "day"
    ends: str | None = None
    used: float = 0.0

    def __post_init__(self) -> None:
        owner = f"budget {self.name!r}"
        if (self.messages is None) == (self.usd is None):
            raise ParameterError("messages", owner, allowed="given, or usd, not both", got=(self.messages, self.usd))
        for key, value in (("messages", self.messages), ("usd", self.usd), ("used", self.used)):
            _require_amount(key, owner, value)
        _require_purposes(owner, self.purposes)
        if (self.per == "campaign") != (self.ends is not None):
            raise ParameterError(
                "ends", owner, allowed="the last day of a campaign, and of nothing else", got=self.ends
            )
        if self.ends is not None:
            self.last_day()

    @property
    def amount(self) -> float:
        """How much there is, in messages or USD."""
        return float(self.messages if self.messages is not None else self.usd or 0.0)

    def last_day(self) -> date:
        """The campaign's last day.

        Raises:
            ParameterError: not a date.
        """
        try:
            return date.fromisoformat(self.ends or "")
        except ValueError as error:
            raise ParameterError(
                "ends", f"budget {self.name!r}", allowed="a date as 2026-12-24", got=self.ends
            ) from error


class FloorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A least share of the sends for groups of a feature; what it takes is paid by the other contacts' sends.

    Attributes:
        feature: a feature of the schema.
        edges: where a numeric feature is cut, ascending; group i is [edge i-1, edge i).
        levels: of a categorical feature, the groups; all other values are one more.
        least: every group gets at least `least` times its share of the contacts who may be sent to, in (0, 1]; or
            "baseline": at least its share of the baseline's sends.
        groups: "all", or "top": the last edge's upper side (the last level) alone.
        purposes: purposes that count.
    """

    feature: str
    edges: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()
    least: float | Literal["baseline"] = 0.8
    groups: Literal["all", "top"] = "all"
    purposes: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        if bool(self.edges) == bool(self.levels):
            raise ParameterError("edges", "floor", allowed="given, or levels, not both", got=(self.edges, self.levels))
        if list(self.edges) != sorted(set(self.edges)) or not all(abs(edge) < float("inf") for edge in self.edges):
            raise ParameterError("edges", "floor", allowed="finite and ascending", got=self.edges)
        if len(set(self.levels)) != len(self.levels):
            raise ParameterError("levels", "floor", allowed="distinct", got=self.levels)
        if self.least != "baseline" and not 0.0 < float(self.least) <= 1.0:
            raise ParameterError("least", "floor", allowed="in (0, 1], or baseline", got=self.least)
        _require_purposes("floor", self.purposes)


class PriceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a policy may send, in expectation.

    Attributes:
        budgets: the budgets of messages and of money.
        baseline: whose expected sends on the same contacts bound the volume: "auto" (the one that the policy's folder
            keeps, as a backtest's does), "none", the folder of a trained policy or of segments, or a number of
            messages a day.
        allow_more_volume: do not hold the volume to the baseline's.
        per_channel: hold each channel to the baseline's volume, not only all of them together.
        channel_cost_usd / arm_cost_usd: what one send costs, by channel and by arm, together.
        charge_costs: subtract these costs from every send's score; for rewards that do not know them.
        floor: a least share for groups; None is none.
        zone: in which a campaign's days begin.
        sample: prices are found on so many contacts, chosen by hash; fewer contacts are all taken.
        tolerance: how far under its budget the expected use may stay, as a share of it.
    """

    budgets: tuple[BudgetSpec, ...] = ()
    baseline: str | float = AUTO
    allow_more_volume: bool = False
    per_channel: bool = False
    channel_cost_usd: dict[str, float] | None = None
    arm_cost_usd: dict[str, float] | None = None
    charge_costs: bool = False
    floor: FloorSpec | None = None
    zone: str = "UTC"
    sample: int = 20_000
    tolerance: float = 0.001

    def __post_init__(self) -> None:
        names = [budget.name for budget in self.budgets]
        if len(set(names)) != len(names) or any(not name or name.startswith("baseline") for name in names):
            raise ParameterError("name", "budgets", allowed="distinct, not empty, not baseline...", got=names)
        for name, value in {**(self.channel_cost_usd or {}), **(self.arm_cost_usd or {})}.items():
            _require_amount(name, "costs", value)
        if not isinstance(self.baseline, str):
            _require_amount("baseline", "prices", float(self.baseline))
        if self.zone not in names_of_people():
            raise ParameterError("zone", "prices", allowed="a zone", got=self.zone, hint=zone_hint(self.zone))
        if self.sample < 1:
            raise ParameterError("sample", "prices", allowed="at least 1", got=self.sample)
        if not 1e-6 <= self.tolerance <= 0.5:
            raise ParameterError("tolerance", "prices", allowed="in [1e-6, 0.5]", got=self.tolerance)


def _require_amount(name: str, owner: str, value: float | None) -> None:
    if value is not None and not 0.0 <= value < 1e15:
        raise ParameterError(name, owner, allowed="finite, 0 or more", got=value)


def _require_purposes(owner: str, purposes: tuple[str, ...]) -> None:
    if not purposes or set(purposes) - set(PURPOSES):
        raise ParameterError("purposes", owner, allowed=f"among {PURPOSES}", got=purposes)
