"""The page of an audit: the verdict, the three questions, two pictures by day, every check with what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from engine.audit.findings import Finding
from experiments.report.figures import ACCENT, GRID, INK, MUTED, STYLE, svg_text
from experiments.report.page import Picture, environment

if TYPE_CHECKING:
    from experiments.judge.audit import AuditOutput

ANSWERS = {
    "pass": "Nothing was found that forbids learning from this log or judging on it.",
    "warn": "The log may be used; some things should be looked at first.",
    "fail": "Do not learn from this log and do not judge on it before this is mended.",
}


def audit_page(output: AuditOutput) -> str:
    """The page as HTML; every text is escaped, only our own SVG is trusted."""
    made = environment()
    made.filters["share"] = share_text
    return made.get_template("audit.html.j2").render(
        output=output, answer=ANSWERS[output.verdict], pictures=pictures(output.findings)
    )


def share_text(share: float | None) -> str:
    """A share in percent, "n/a" where it is not known."""
    return "n/a" if share is None else f"{100 * share:.4g} %"


def pictures(findings: Sequence[Finding]) -> list[Picture]:
    """Decisions by day and mean weight by day, where the log has several days."""
    by_check = {found.check: found for found in findings}
    drawn = []
    rows = by_check["missing_decisions"].details.get("rows_by_day", {})
    if len(rows) > 1:
        said = f"Decisions by day: {min(rows.values())} to {max(rows.values())} on {len(rows)} days."
        drawn.append(Picture(_line(rows, "decisions by day", None), said))
    weights = by_check["mean_weight"].details.get("by_day", {})
    if len(weights) > 1:
        means = {day: pair[0] for day, pair in weights.items()}
        errors = np.array([2.0 * pair[1] for pair in weights.values()])
        said = f"Mean weight of a uniform policy by day: {min(means.values()):.3g} to {max(means.values()):.3g}."
        drawn.append(Picture(_line(means, "mean weight of a uniform policy (expected: 1)", errors), said))
    return drawn


def _line(values: Mapping[str, float], title: str, errors: Any) -> str:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 2.6), layout="constrained")
        axes = figure.add_subplot()
        at, heights = np.arange(len(values)), np.array(list(values.values()), dtype=np.float64)
        if errors is None:
            axes.bar(at, heights, color=ACCENT, width=0.8)
        else:
            axes.axhline(1.0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            axes.fill_between(at, heights - errors, heights + errors, color=ACCENT, alpha=0.2, linewidth=0)
            axes.plot(at, heights, color=ACCENT, linewidth=1.8)
        names = list(values)
        shown = sorted({0, len(names) // 2, len(names) - 1})
        axes.set_xticks(shown, [names[place] for place in shown])
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        return svg_text(figure)
