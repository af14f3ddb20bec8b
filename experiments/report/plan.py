"""The page of a plan: the answer, the picture of decisions by exploration, the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from experiments.report.figures import ACCENT, GRID, INK, MUTED, STYLE, svg_text
from experiments.report.page import Card, Picture, Sheet, environment
from experiments.report.words import figure_text

if TYPE_CHECKING:
    from engine.ope.plan import Need
    from experiments.judge.planning.decisions import PlanOutput


def answer(output: PlanOutput) -> str:
    """The plan in a sentence: one recommendation."""
    best = next((row for row in output.plan if row.exploration == output.recommended), None)
    seen = f"a difference of {figure_text(output.difference)} with a power of {100 * output.power:g} %"
    if best is None or best.decisions is None:
        return f"No number of decisions shows {seen} at these explorations."
    return (
        f"Draw {100 * best.exploration:g} % of the decisions at random: {best.decisions:,} decisions then show {seen}."
    )


def reasons(output: PlanOutput) -> list[str]:
    """Why this exploration, what the others would need, and what exploring costs."""
    best = next((row for row in output.plan if row.exploration == output.recommended), None)
    if best is None or best.decisions is None:
        return ["What the policy does is never logged without exploring: plan for an exploration above 0."]
    drawn = round(best.decisions * best.exploration)
    near = min(
        ((row.decisions * row.exploration, row) for row in output.plan if row.decisions is not None),
        key=lambda one: one[0],
    )
    said = [
        f"{drawn:,} of them are drawn at random, hardly more than the fewest "
        f"({near[0]:,.0f} of {near[1].decisions:,} at {100 * near[1].exploration:g} %), and the answer comes sooner."
        if near[1] is not best
        else f"{drawn:,} of them are drawn at random, the fewest of the shares that were compared."
    ]
    if best.for_support is not None and best.for_power is not None and best.for_support > best.for_power:
        said.append("The number is that of the support, not of the power: fewer decisions would give no answer at all.")
    said += figures(output)
    cost = output.exploring_cost
    if cost is None:
        said.append("What exploring costs is not known without a pilot log: what a random choice is worth.")
    elif cost > 0:
        said.append(f"Exploring costs {figure_text(cost)} in all, in the metric's unit: random choices are worth less.")
    else:
        said.append("Exploring costs nothing on the pilot: a random choice was worth no less than the baseline.")
    return said


def figures(output: PlanOutput) -> list[str]:
    """Which figure should decide, where the pilot knows more than the metric."""
    rows = {row.judged_by: row for row in output.judged_by}
    own, best = rows.get("metric"), rows.get(output.judge_by)
    if own is None or best is None or best.decisions is None:
        return []
    if best is own:
        return ["Judge by the metric itself: no figure that this pilot does not refute needs fewer decisions."]
    needs = "no number shows it" if own.decisions is None else f"{own.decisions:,}"
    said = (
        f"Judge by {best.judged_by} (judged_by={best.judged_by}), fixed before any result is seen: it needs about "
        f"{best.decisions:,} decisions where the metric itself needs {needs}."
    )
    return [said]


def plan_page(output: PlanOutput) -> str:
    """The page as HTML; every text is escaped, only our own SVG is trusted."""
    best = next((row for row in output.plan if row.exploration == output.recommended), None)
    cards = []
    if best is not None and best.decisions is not None:
        drawn = best.decisions * best.exploration
        cards = [
            Card("Decisions", f"{best.decisions:,}", f"at {100 * best.exploration:g} % exploration"),
            Card("Of them at random", f"{drawn:,.0f}", "people who get any message that is allowed"),
            Card(
                "Difference to see",
                figure_text(output.difference),
                f"the baseline is worth {figure_text(output.baseline_value)}",
            ),
        ]
    sheet = Sheet(
        question="How many decisions are needed?",
        eyebrow="Plan of a log",
        tone="stay" if best is None else "go",
        badge="Not at these explorations" if best is None else f"Explore {100 * best.exploration:g} %",
        answer=answer(output),
        because=reasons(output),
        cards=cards,
    )
    picture = Picture(curve(output.plan), answer(output))
    return environment().get_template("plan.html.j2").render(output=output, sheet=sheet, picture=picture)


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
