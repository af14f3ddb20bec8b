"""The kinds of set-level limits: volume, ramp, budget, average depth.

Each says what a send uses of it, in integers, and how much there is. None is no limit (but what is used is counted),
0 is never. Money is counted in micro-dollars and depth in millionths; uses are rounded up and earnings down, so that
rounding never lets more through.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from engine.catalog import Arm, Catalog
from engine.errors import ParameterError
from engine.names import channel_of, known_name, known_names
from engine.state.checks import require_id
from engine.types import PURPOSES, BoolArray, IntArray

MICRO: Final = 1_000_000
# A sum of amounts must stay far inside int64.
MOST: Final = 2**53


class SetLimit(Protocol):
    """A limit on the sum over all contacts.

    `amounts(catalog)`: (C, K) what a send uses and (C, K) what it earns for later blocks, both 0 or more.
    `capacity(before)`: how much there is, given what was used on each of the `lookback_days` days before, the latest
    first; None is no limit. `per_day` false: one meter for all days.
    """

    @property
    def name(self) -> str: ...

    @property
    def per_day(self) -> bool: ...

    @property
    def lookback_days(self) -> int: ...

    def amounts(self, catalog: Catalog) -> tuple[IntArray, IntArray]: ...

    def capacity(self, before: Sequence[int], /) -> int | None: ...


@dataclass(frozen=True)
class VolumeLimit:
    """At most `max_per_day` sends a day.

    Attributes:
        name: key of its meters in the store.
        max_per_day: sends; None is no limit, 0 is never.
        channels: channels that count; None is all together.
        purposes: purposes that count.
    """

    name: str
    max_per_day: int | None
    channels: tuple[str, ...] | None = None
    purposes: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        require_id("name", "VolumeLimit", self.name)
        _require_count("max_per_day", self.name, self.max_per_day)

    @property
    def per_day(self) -> bool:
        return True

    @property
    def lookback_days(self) -> int:
        return 0

    def amounts(self, catalog: Catalog) -> tuple[IntArray, IntArray]:
        """1 for each send that counts."""
        counted = _in_scope(catalog, self.channels, self.purposes).astype(np.int64)
        return counted, np.zeros_like(counted)

    def capacity(self, _before: Sequence[int], /) -> int | None:
        return self.max_per_day


@dataclass(frozen=True)
class RampLimit:
    """No sudden growth: at most (1 + growth) times the largest daily volume of the last days, or the floor.

    Attributes:
        name: key of its meters in the store.
        growth: 0.2 is 20 % more than before.
        floor: sends a day that are always allowed.
        channels: channels that count; None is all together.
        purposes: purposes that count; mailbox providers count all.
        lookback_days: 1 compares with yesterday alone, so that a day of rest brings the volume back to the floor.
    """

    name: str
    growth: float
    floor: int
    channels: tuple[str, ...] | None = None
    purposes: tuple[str, ...] = ("promotional", "transactional")
    lookback_days: int = 1

    def __post_init__(self) -> None:
        require_id("name", "RampLimit", self.name)
        _require_count("floor", self.name, self.floor)
        if not 0 <= self.growth <= MICRO:
            raise ParameterError("growth", f"limit {self.name!r}", allowed="0 or more", got=self.growth)
        if not 1 <= self.lookback_days <= 366:
            raise ParameterError("lookback_days", f"limit {self.name!r}", allowed="in 1..366", got=self.lookback_days)

    @property
    def per_day(self) -> bool:
        return True

    def amounts(self, catalog: Catalog) -> tuple[IntArray, IntArray]:
        """1 for each send that counts."""
        counted = _in_scope(catalog, self.channels, self.purposes).astype(np.int64)
        return counted, np.zeros_like(counted)

    def capacity(self, before: Sequence[int], /) -> int | None:
        """(1 + growth) x the most of the days before, rounded down, at least the floor."""
        grown = max(before, default=0) * (MICRO + _micro_down(self.growth)) // MICRO
        return max(self.floor, grown)


@dataclass(frozen=True)
class BudgetLimit:
    """At most `max_usd` of declared cost, in all or per day.

    Attributes:
        name: key of its meters in the store.
        max_usd: dollars; None is no limit.
        cost_usd: arm id -> what one send of it may cost at most (a discount that is redeemed); other arms cost 0.
        per_day: false: one budget for all days.
    """

    name: str
    max_usd: float | None
    cost_usd: Mapping[str, float] = field(default_factory=dict)
    per_day: bool = False

    def __post_init__(self) -> None:
        require_id("name", "BudgetLimit", self.name)
        for key, value in {"max_usd": self.max_usd, **self.cost_usd}.items():
            if value is not None and not 0 <= value <= MOST / MICRO:
                raise ParameterError(key, f"limit {self.name!r}", allowed="0 or more, finite", got=value)

    @property
    def lookback_days(self) -> int:
        return 0

    def amounts(self, catalog: Catalog) -> tuple[IntArray, IntArray]:
        """Micro-dollars by arm, the same on every channel.

        Raises:
            ParameterError: a cost of an arm that the catalog does not have: a typing error would be a free discount.
        """
        owner = f"limit {self.name!r}"
        cost = {
            known_name(arm, catalog.arm_ids, owner=owner, parameter="cost_usd"): usd
            for arm, usd in self.cost_usd.items()
        }
        row = [_micro_up(cost.get(arm, 0.0)) for arm in catalog.arm_ids]
        amount = np.tile(np.array(row, dtype=np.int64), (len(catalog.channels), 1))
        return amount, np.zeros_like(amount)

    def capacity(self, _before: Sequence[int], /) -> int | None:
        return None if self.max_usd is None else _micro_down(self.max_usd)


@dataclass(frozen=True)
class DepthLimit:
    """The average discount depth of the sends stays at or under `average`, at every point in the order of admission.

    A send deeper than the average uses the difference, a shallower one earns it for later blocks.

    Attributes:
        name: key of its meters in the store.
        average: in [0, 1].
        allowance: how far the sum of depths may run ahead of the average at first, in depths (1.0: five sends at
            20 % before any other); 0 starts with sends that earn.
        purposes: purposes that count.
        per_day: true: each day by itself.
    """

    name: str
    average: float
    allowance: float = 0.0
    purposes: tuple[str, ...] = ("promotional",)
    per_day: bool = False

    def __post_init__(self) -> None:
        require_id("name", "DepthLimit", self.name)
        if not 0 <= self.average <= 1:
            raise ParameterError("average", f"limit {self.name!r}", allowed="in [0, 1]", got=self.average)
        if not 0 <= self.allowance <= MICRO:
            raise ParameterError("allowance", f"limit {self.name!r}", allowed="0 or more, finite", got=self.allowance)

    @property
    def lookback_days(self) -> int:
        return 0

    def amounts(self, catalog: Catalog) -> tuple[IntArray, IntArray]:
        """Millionths of depth above (used) and below (earned) the average."""
        counted = _in_scope(catalog, None, self.purposes)
        over = [_micro_up(max(0.0, arm.discount_depth - self.average)) for arm in catalog.arms]
        under = [_micro_down(max(0.0, self.average - arm.discount_depth)) for arm in catalog.arms]
        return (
            np.where(counted, np.array(over, dtype=np.int64), 0),
            np.where(counted, np.array(under, dtype=np.int64), 0),
        )

    def capacity(self, _before: Sequence[int], /) -> int | None:
        return _micro_down(self.allowance)


def _in_scope(catalog: Catalog, channels: tuple[str, ...] | None, purposes: tuple[str, ...]) -> BoolArray:
    """(C, K) which sends are on these channels and for these purposes.

    Raises:
        ParameterError: a channel that the catalog does not have, or no purpose: a typing error would be no limit.
    """
    owner = "a set-level limit"
    for parameter, names in (("channels", channels), ("purposes", purposes)):
        if names is not None and not names:
            raise ParameterError(parameter, owner, allowed="at least one name", got=names)
    counted = known_names(purposes, PURPOSES, owner=owner, parameter="purposes")
    meant = [channel_of(name, catalog.channels) or name for name in channels or ()]
    on = (
        catalog.channels
        if channels is None
        else known_names(meant, catalog.channels, owner=owner, parameter="channels")
    )

    def counts(arm: Arm, channel: str) -> bool:
        return arm.purpose in counted and channel in on

    return np.array([[counts(arm, channel) for arm in catalog.arms] for channel in catalog.channels], dtype=np.bool_)


def _micro_up(value: float) -> int:
    # 0.07 * 1e6 is 70000.00000000001: what is within the error of one product is the number itself.
    return math.ceil(round(value * MICRO, 3))


def _micro_down(value: float) -> int:
    return math.floor(round(value * MICRO, 3))


def _require_count(name: str, limit: str, value: int | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST):
        raise ParameterError(name, f"limit {limit!r}", allowed="0 or more, or None for no limit", got=value)
