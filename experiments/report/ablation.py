"""The page of `tactful ablate`: what carries the value, with pictures and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.report.figures import GRID, INK, MUTED, STYLE, svg_text
from experiments.report.page import Picture, environment
from experiments.report.words import figure_text, interval_text

if TYPE_CHECKING:
    from experiments.judge.ablate import AblateOutput, LiftRow

_COLOURS = {"carries value": "#11734b", "costs value": "#b3261e", "no detectable lift": INK, "insufficient": "#a0a8b0"}


@dataclass(frozen=True)
class _Table:
    title: str
    said: str
    what: str
    rows: Sequence[LiftRow]


def ablation_page(output: AblateOutput, command: str) -> str:
    """The page as HTML; every text is escaped, only our own SVG is trusted."""
    metric = output.log.metric
    return (
        environment()
        .get_template("ablation.html.j2")
        .render(
            title=f"What carries the value of a learnt policy on {metric}?",
            answer=answer(output),
            output=output,
            pictures=[
                _picture((output.context, *output.signals), "lift of each signal group", metric),
                _picture(output.decisions, "lift of each decision, learnt alone", metric),
            ],
            tables=_tables(output),
            command=command,
            interval=interval_text,
        )
    )


def answer(output: AblateOutput) -> str:
    """The answer in sentences."""
    context = output.context
    if context.verdict == "insufficient":
        first = "The log does not support the comparison of the full context with a context-free bandit."
    else:
        first = (
            f"The full context against a context-free bandit: {figure_text(context.lift)} {output.log.metric} per "
            f"decision ({interval_text(context.low, context.high)}), {context.verdict}."
        )
    return f"{first} {_said('Signals', output.signals)} {_said('Decisions', output.decisions)}"


def _said(what: str, rows: Sequence[LiftRow]) -> str:
    by_verdict: dict[str, list[str]] = {}
    for row in rows:
        by_verdict.setdefault(row.verdict, []).append(row.name)
    order = ("carries value", "costs value", "no detectable lift", "insufficient")
    parts = [f"{verdict}: {', '.join(by_verdict[verdict])}" for verdict in order if verdict in by_verdict]
    return f"{what}: {'; '.join(parts) or 'none'}."


def _tables(output: AblateOutput) -> list[_Table]:
    confidence = f"{100 * (1 - output.alpha):g} %"
    return [
        _Table(
            "Signals",
            f"What the policy loses without the group: learnt again without it, judged by {output.estimator} on the "
            f"same rows; the {confidence} intervals of this table hold together. The value is the policy's without it.",
            "signal group",
            (output.context, *output.signals),
        ),
        _Table(
            "Decisions",
            "What one decision gains when it alone is learnt, over the best constant message to everybody who may get "
            f"it; the {confidence} intervals hold together.",
            "learnt alone",
            output.decisions,
        ),
        _Table("Beside them", "Over the same best constant message.", "policy", output.references),
    ]


def _picture(rows: Sequence[LiftRow], title: str, unit: str) -> Picture:
    drawn = [row for row in rows if row.lift is not None]
    said = "; ".join(f"{row.name} {interval_text(row.low, row.high)}, {row.verdict}" for row in drawn)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 1.1 + 0.34 * max(len(drawn), 1)), layout="constrained")
        axes = figure.add_subplot()
        for y, row in enumerate(drawn):
            colour = _COLOURS[row.verdict]
            if row.low is not None and row.high is not None:
                axes.plot([row.low, row.high], [y, y], color=colour, linewidth=2.2, solid_capstyle="round")
            face = "white" if row.verdict == "insufficient" else colour
            axes.plot([row.lift or 0.0], [y], "o", color=colour, markerfacecolor=face, markersize=6)
        axes.axvline(0.0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_yticks(
            range(len(drawn)), [row.name if len(row.name) <= 34 else row.name[:31] + "..." for row in drawn]
        )
        axes.set_ylim(len(drawn) - 0.4, -0.6)
        axes.set_xlabel(f"{unit} per decision")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(axis="y", length=0)
        return Picture(svg_text(figure), f"{title}: {said}.")
