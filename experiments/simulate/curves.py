"""Curves of a run by day, as one picture; the same run gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.report.figures import GRID, INK, MUTED, STYLE, svg_text

# Distinct in hue and in lightness, so that a grey print still tells them apart.
COLOURS = ("#0b6e99", "#c4552d", "#11734b", "#8a5aa8", INK)
Series = Mapping[str, Sequence[float]]


def run_curves(table: pd.DataFrame, channels: Sequence[str], title: str) -> str:
    """Reward, orders, sends, list, fatigue and goodbyes of one run.

    Args:
        table: table of `experiments.simulate.daily.day_table`.
        channels: channels of the catalog.
        title: over the picture.
    """
    days = table.groupby("day").sum(numeric_only=True)
    by_group = {
        str(group): (rows["reward_usd"] / rows["contacts"].where(rows["contacts"] > 0)).to_list()
        for group, rows in table.groupby("group", sort=False)
        if rows["contacts"].sum()
    }
    alive = days["reachable"].where(days["reachable"] > 0)

    def of(**columns: str) -> Series:
        return {name.replace("_", " "): _list(days[column]) for name, column in columns.items()}

    panels: list[tuple[str, str, Series]] = [
        ("Reward", "USD per contact and day", by_group),
        ("Orders", "per day", of(by_message="orders_by_message", organic="orders_organic")),
        ("Sends", "per day", of(**{name: f"sends_{name}" for name in channels})),
        ("List", "contacts", of(on_the_list="contacts", may_be_sent_advertising="reachable")),
        ("Fatigue", "messages in the stock, mean", {"": _list(days["fatigue"] / alive)}),
        ("Goodbyes", "per day", of(unsubscribed="unsubscribed", complained="complained")),
    ]
    return svg_text(curves_figure(panels, title))


def curves_figure(panels: Sequence[tuple[str, str, Series]], title: str) -> Figure:
    """Panels of curves over days, three in a row.

    Args:
        panels: title, unit, and name -> one figure per day; a name "" gets no legend.
        title: over all.
    """
    with mpl.rc_context(STYLE):
        lines = -(-len(panels) // 3)
        figure = Figure(figsize=(12.0, 0.5 + 2.9 * lines), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        for number, (name, unit, series) in enumerate(panels):
            axes = figure.add_subplot(lines, min(3, len(panels)), number + 1)
            _panel(axes, name, unit, series)
        return figure


def _panel(axes: Any, name: str, unit: str, series: Series) -> None:
    for colour, (label, values) in zip(COLOURS * 3, series.items(), strict=False):
        style = "o-" if len(values) == 1 else "-"
        axes.plot(range(1, len(values) + 1), values, style, color=colour, linewidth=1.8, markersize=4, label=label)
    axes.set_title(name, loc="left", fontsize=11, fontweight="bold")
    axes.set_ylabel(unit)
    axes.set_xlabel("day")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["left"].set_color(MUTED)
    if any(series):
        axes.legend(fontsize=9, facecolor="white", edgecolor="none", framealpha=0.85)


def _list(values: Any) -> list[float]:
    return [float(value) for value in values]
