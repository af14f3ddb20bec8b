"""The page of a plan: the answer, the picture of decisions by exploration, the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from experiments.report.figures import ACCENT, GRID, INK, MUTED, STYLE, svg_text
from experiments.report.page import environment
from experiments.report.words import figure_text

if TYPE_CHECKING:
    from engine.ope.plan import Need
    from experiments.judge.plan import PlanOutput


def answer(output: PlanOutput) -> str:
    """The plan in a sentence."""
    possible = [row for row in output.plan if row.decisions is not None]
    seen = f"a difference of {figure_text(output.difference)} with a power of {100 * output.power:g} %"
    if not possible:
        return f"No number of decisions shows {seen} at these explorations."
    parts = [f"{row.decisions:,} decisions at {100 * row.exploration:g} % exploration" for row in possible]
    return f"To see {seen}: {', or '.join(parts)}."


def plan_page(output: PlanOutput) -> str:
    """The page as HTML; every text is escaped, only our own SVG is trusted."""
    said = answer(output)
    return environment().get_template("plan.html.j2").render(output=output, answer=said, picture=curve(output.plan))


def curve(rows: tuple[Need, ...]) -> str:
    """Decisions by exploration on logarithmic axes, as inline SVG."""
    drawn = sorted(
        (row.exploration, row.decisions) for row in rows if row.decisions is not None and row.exploration > 0
    )
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.2), layout="constrained")
        axes = figure.add_subplot()
        if drawn:
            shares, decisions = [100 * share for share, _ in drawn], [float(count) for _, count in drawn]
            axes.plot(shares, decisions, "o-", color=ACCENT, linewidth=2)
            for share, count in zip(shares, decisions, strict=True):
                axes.annotate(f"{count:,.0f}", (share, count), (4, 6), textcoords="offset points", fontsize=9)
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xticks(shares, [f"{share:g} %" for share in shares])
            axes.minorticks_off()
            axes.margins(x=0.12, y=0.15)
        axes.set_xlabel("exploration: share of decisions drawn uniformly")
        axes.set_title("decisions that are needed", loc="left", fontsize=11, fontweight="bold", color=INK)
        axes.grid(color=GRID, linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(MUTED)
        return svg_text(figure)
