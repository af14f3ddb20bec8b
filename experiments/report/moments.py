"""Published figures beside simulated ones, as a picture: differences in units of the tolerances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.report.figures import GRID, INK, MUTED, STYLE, svg_text
from simulator.calibration.files import Moment

MET, MISSED = "#11734b", "#b3261e"
# Differences beyond this are drawn at the edge.
FURTHEST = 2.5


def moments_picture(groups: Mapping[str, Sequence[Moment]]) -> str:
    """One line a figure, group by group; filled where it is claimed, within the band where it is met."""
    lines = [(name, row) for name, rows in groups.items() for row in rows]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 1.4 + 0.24 * max(len(lines), 1)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvspan(-1.0, 1.0, color=GRID, alpha=0.6, linewidth=0)
        axes.axvline(0.0, color=MUTED, linewidth=1)
        for y, (_, row) in enumerate(lines):
            off = max(-FURTHEST, min(FURTHEST, row.difference / row.tolerance))
            colour = MET if row.met else MISSED
            axes.plot([0.0, off], [y, y], color=colour, linewidth=1.4)
            axes.plot([off], [y], "o", color=colour, markerfacecolor=colour if row.claimed else "white", markersize=5)
        axes.set_yticks(range(len(lines)), [f"{row.id}  ({name})" for name, row in lines], fontsize=8)
        axes.set_ylim(max(len(lines), 1) - 0.4, -0.6)
        axes.set_xlim(-FURTHEST * 1.05, FURTHEST * 1.05)
        axes.set_xlabel("difference / tolerance (hollow: not claimed)")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_title(
            "How well the simulator meets its figures", loc="left", fontsize=11, fontweight="bold", color=INK
        )
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(axis="y", length=0)
        return svg_text(figure)
