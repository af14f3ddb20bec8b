"""The page of `tactful plan --learn`: whether, by when, at what cost, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from experiments.report.figures import GRID, INK, MUTED, STYLE, svg_text
from experiments.report.page import Card, Picture, Sheet, environment
from experiments.report.words import GLUE, amount, figure_text, p_value_text, percent

if TYPE_CHECKING:
    from experiments.judge.planning.learning import ExploringRow, LearnOutput

BADGES = {
    "yes": ("go", "It can be learnt"),
    "not in time": ("stay", "Not in time"),
    "not shown": ("unknown", "Not shown"),
}


def answer(output: LearnOutput) -> str:
    """The answer in a sentence."""
    best, gain = _recommended(output), percent(output.gain)
    if output.answer == "not shown":
        return (
            f"The log does not show that its arms differ in {output.metric} (p = {p_value_text(output.p_value)}): "
            "whether the best one can be learnt cannot be promised."
        )
    reached = f"{percent(best.share)} of the gain is expected after {output.weeks[-1]} weeks"
    if output.answer == "not in time":
        return f"The best arms cannot be learnt in time: at {_share(best)} exploration {reached}."
    when = (
        f"the log already tells 80{GLUE}%" if best.by_week == 0 else f"80{GLUE}% is expected {week_text(best.by_week)}"
    )
    return f"The best arms can be learnt: at {_share(best)} exploration {when} of a gain of {gain} over today."


def actions(output: LearnOutput) -> list[str]:
    """What to do, and what it costs."""
    best = _recommended(output)
    dropped = [arm.name for arm in output.arms if arm.drop]
    cost = f"It costs at most {cost_text(best, output.unit)} per 100,000 decisions."
    said = [f"Draw {_share(best)} of the decisions at random. {cost}"]
    if best.answers:
        said.append(
            f"Next month's log still answers: {best.next_month_ess:,.0f} effective rows for any arm, "
            f"enough to judge one on {' and '.join(best.answers)}."
        )
    else:
        said.append("Next month's log goes blind at every exploration compared: take fewer arms.")
    said.append(
        f"Drop {_listed(dropped)}: hardly ever the best." if dropped else "No arm can be dropped by what is known."
    )
    quick = min(output.stages, key=lambda row: (row.by_week is None, row.by_week or 0))
    if (
        quick.name != output.metric
        and quick.by_week is not None
        and quick.by_week < (output.stages[0].by_week or 10**9)
    ):
        said.append(f"Learn from {quick.name} and not from {output.metric}: 80 % is learnt {week_text(quick.by_week)}.")
    needs = [f"{_count(row.contacts)} contacts for +{100 * row.lift:g} % {row.metric}" for row in output.lifts]
    said.append(f"To see that an arm is better than the one in use takes {', '.join(needs)}.")
    return said


def learn_page(output: LearnOutput) -> str:
    """The page as HTML; every text is escaped, only our own SVG is trusted."""
    best, (tone, badge) = _recommended(output), BADGES[output.answer]
    sheet = Sheet(
        question=f"Can the best arms be learnt on {output.metric}, and by when?",
        eyebrow="Plan of what is to be learnt",
        tone=tone,
        badge=badge,
        answer=answer(output),
        because=actions(output),
        cards=[
            Card("80 % of the gain", week_text(best.by_week), f"at {_share(best)} exploration"),
            Card("The gain", percent(output.gain), f"of today's {output.metric}, if the best arms were known"),
            Card("Arms", str(len(output.arms)), f"{sum(arm.drop for arm in output.arms)} to drop"),
            Card(
                "Smallest propensity",
                figure_text(best.smallest_propensity, 2),
                f"{best.next_month_ess:,.0f} rows next month",
            ),
        ],
    )
    made = environment()
    made.filters.update(week=week_text, percent=percent, p_value=p_value_text)
    costs = {row.exploration: cost_text(row, output.unit) for row in output.explorations}
    picture = Picture(_curves(output), answer(output))
    return made.get_template("plan_learn.html.j2").render(output=output, sheet=sheet, picture=picture, costs=costs)


def cost_text(row: ExploringRow, unit: str) -> str:
    """What exploring costs per 100,000 decisions, by the unit of the metric; a share is counted."""
    return f"{row.cost:,.0f}" if unit != "usd" else amount(row.cost, unit)


def week_text(week: int | None) -> str:
    """A week in words."""
    return "not in time" if week is None else "already today" if week == 0 else f"by week {week}"


def _recommended(output: LearnOutput) -> ExploringRow:
    return next(row for row in output.explorations if row.exploration == output.recommended)


def _listed(names: list[str]) -> str:
    more = len(names) - 8
    return ", ".join(names[:8]) + (f" and {more} more" if more > 0 else "")


def _count(contacts: int | None) -> str:
    return "no number of" if contacts is None else f"{contacts:,}"


def _share(row: ExploringRow) -> str:
    return f"{100 * row.exploration:g}{GLUE}%"


def _curves(output: LearnOutput) -> str:
    """Expected share of the gain by week, one line for what is learnt from, as inline SVG."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.2), layout="constrained")
        axes = figure.add_subplot()
        axes.axhline(80.0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for row in output.stages:
            drawn = [
                (week, 100 * share) for week, share in zip(output.weeks, row.shares, strict=True) if share is not None
            ]
            if drawn:
                axes.plot(*zip(*drawn, strict=True), linewidth=2, label=row.name)
        axes.set_ylim(0, 105)
        axes.set_xlabel("weeks from now")
        axes.set_title("expected share of the gain, %", loc="left", fontsize=11, fontweight="bold", color=INK)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines[1:]:
            axes.legend(frameon=False, fontsize=9)
        return svg_text(figure)
