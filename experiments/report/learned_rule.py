"""The learned rule on the launch page: who gets what, how well it stands for the policy, and its response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from experiments.report.figures import ACCENT, GRID, INK, MUTED, STYLE, svg_text
from experiments.report.page import Picture
from experiments.report.words import Names, amount, between, capital, percent

if TYPE_CHECKING:
    from engine.ope.estimate import Estimate
    from experiments.judge.launch.learned_rule import LearnedRule, Response, RuleRow

_COLOURS = (ACCENT, "#b3541e", "#11734b", "#6b3fa0")
_MARKS = ("o", "s", "^", "D")


@dataclass(frozen=True)
class RuleLine:
    """One group, as text."""

    who: str
    share: str
    gets: str
    same: str
    today: str
    gain: str
    why: str


@dataclass(frozen=True)
class RulePart:
    """The rule, as the page shows it."""

    sentence: str
    lines: tuple[RuleLine, ...]
    pictures: tuple[Picture, ...]


def rule_part(found: LearnedRule, own: Estimate | None, unit: str, names: Names) -> RulePart:
    """The rule in words.

    Args:
        found: the rule.
        own: the rule as a policy, against the baseline; None where it was not judged.
        unit: of the metric.
        names: policies in words.
    """
    groups, same = len(found.rows), percent(found.fidelity)
    stand = "group stands" if groups == 1 else "groups stand"
    said = (
        f"{groups} {stand} for the learned policy: in {same} of the decisions the rule does what it does without "
        "exploring."
    )
    gap = None if own is None else own.difference
    if own is not None and gap is not None and own.verdict != "insufficient":
        bounds = between(gap.low, gap.high, unit, signed=True)
        value = amount(gap.value, unit, signed=True)
        said += f" The rule itself: {value} per decision ({bounds}) against {names(gap.baseline)}."
    elif own is not None:
        said += " What the rule itself is worth this log holds too little to say."
    return RulePart(said, rule_lines(found.rows, unit), tuple(_picture(one, unit) for one in found.responses))


def rule_lines(rows: Sequence[RuleRow], unit: str) -> tuple[RuleLine, ...]:
    """The groups, as text."""
    return tuple(
        RuleLine(
            capital(row.who),
            percent(row.share),
            row.gets,
            percent(row.gets_share),
            row.today or "not known",
            "n/a" if row.gain is None else amount(row.gain, unit, signed=True),
            row.why,
        )
        for row in rows
    )


def _picture(one: Response, unit: str) -> Picture:
    """What the model expects of each action by the bins of a feature."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 2.9), layout="constrained")
        axes = figure.add_subplot()
        places = range(len(one.bins))
        for name, values, colour, mark in zip(one.actions, one.values, _COLOURS, _MARKS, strict=False):
            known = [(place, value) for place, value in zip(places, values, strict=True) if value is not None]
            axes.plot([x for x, _ in known], [y for _, y in known], f"{mark}-", color=colour, label=name, linewidth=1.8)
        axes.set_xticks(
            list(places), [name if len(name) <= 18 else f"{name[:16]}..." for name in one.bins], fontsize=8.5
        )
        if len(one.bins) > 4:
            axes.tick_params(axis="x", rotation=25)
        axes.set_title(f"{capital(one.feature)}: what the model expects of each message", loc="left", fontsize=11,
                       fontweight="bold", color=INK)  # fmt: skip
        axes.set_ylabel("USD a decision" if unit == "usd" else "per decision")
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(MUTED)
        axes.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        text = svg_text(figure)
    return Picture(text, _alt(one, unit))


def _alt(one: Response, unit: str) -> str:
    """The picture in words: the best action of every bin."""
    said = []
    for place, name in enumerate(one.bins):
        known = [(values[place], action) for action, values in zip(one.actions, one.values, strict=True)]
        best = max(((value, action) for value, action in known if value is not None), default=None)
        if best is not None:
            said.append(f"{name}: {best[1]} ({amount(best[0], unit)})")
    return f"By {one.feature} the model expects most of: {'; '.join(said)}."
