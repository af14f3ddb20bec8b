"""Prices as the commands print them, and the expected volume of each policy of a backtest."""

from __future__ import annotations

import msgspec


class PriceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One budget and its price.

    Attributes:
        name: of the budget; "baseline_volume" is the baseline's, "floor FEATURE GROUP" a least share.
        unit: messages, usd, or share (sends that the group is short of).
        budget: for this run, in that unit.
        expected: use that is expected at the prices, over the exact distributions; `stderr` comes from the sample of
            contacts alone, 0 where prices were found on all of them.
        price: what one unit costs, in units of the reward; 0 where the budget does not bind.
    """

    name: str
    unit: str
    budget: float
    expected: float
    stderr: float
    price: float


class PricesOutput(msgspec.Struct, frozen=True, kw_only=True):
    """Prices in force.

    Attributes:
        version: of the prices, part of the policy's version.
        rows: one per budget.
        baseline: whose volume is the bound, "" where none is.
        baseline_sends: messages that it is expected to send to the same contacts, or null.
        contacts: decided for; of them `sampled` were looked at.
        note: what the figures do not say.
    """

    version: str = ""
    rows: tuple[PriceRow, ...] = ()
    baseline: str = ""
    baseline_sends: float | None = None
    contacts: int = 0
    sampled: int = 0
    note: str = ""


class VolumeRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy sends, expected over its exact distributions on the log's contexts; no reward plays a part.

    Attributes:
        policy: as in the results.
        sends_per_decision: messages.
        by_channel: the same by channel.
        times_baseline: in multiples of the baseline's; null where the baseline never sends.
    """

    policy: str
    sends_per_decision: float
    by_channel: dict[str, float]
    times_baseline: float | None
