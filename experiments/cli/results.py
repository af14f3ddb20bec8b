"""Tables of results for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from experiments.outputs import ResultRow
from experiments.report.page import figure_text, interval_text

_STYLES = {"better": "green", "worse": "red", "insufficient": "dim italic", "no difference": ""}


def results_table(rows: Sequence[ResultRow], title: str) -> Table:
    """Values, intervals and differences; rows of too little support are dimmed and show no figure to rely on."""
    table = Table(title=title)
    for name in ("policy", "estimator"):
        table.add_column(name, no_wrap=True)
    for name in ("value", "interval", "difference", "its interval", "ESS", "verdict"):
        table.add_column(name, justify="left" if name == "verdict" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row), style=_STYLES.get(row.verdict, ""))
    return table


def _cells(row: ResultRow) -> list[str]:
    estimator = row.estimator if row.exact else f"{row.estimator} (not exact)"
    if row.verdict == "insufficient":
        return [row.policy, estimator, "-", "-", "-", "-", figure_text(row.ess), row.verdict]
    difference = row.difference
    return [
        row.policy,
        estimator,
        figure_text(row.value),
        interval_text(row.low, row.high),
        figure_text(difference.value) if difference else "n/a",
        interval_text(difference.low, difference.high) if difference else "n/a",
        figure_text(row.ess),
        row.verdict,
    ]
