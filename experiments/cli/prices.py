"""Tables of prices and volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from experiments.judge.launch.volume import VolumeRow
    from experiments.serve.prices import PricesOutput


def price_tables(prices: PricesOutput | None) -> list[Table]:
    """Each budget with what is expected of it."""
    if prices is None or not prices.rows:
        return []
    looked = f"found on {prices.sampled:,} of {prices.contacts:,} contacts"
    table = Table("budget", "of", "expected", "price", title=f"Prices, {looked}")
    for row in prices.rows:
        error = f" +- {row.stderr:.3g}" if row.stderr else ""
        table.add_row(row.name, f"{row.budget:,.6g} {row.unit}", f"{row.expected:,.6g}{error}", f"{row.price:.4g}")
    return [table]


def volume_table(rows: tuple[VolumeRow, ...]) -> Table:
    """What each policy sends."""
    table = Table(
        "policy", "messages per decision", "times the baseline", title="Expected volume on the log's contexts"
    )
    for row in rows:
        times = "-" if row.times_baseline is None else f"{row.times_baseline:.3f}"
        table.add_row(row.policy, f"{row.sends_per_decision:.4f}", times)
    return table
