"""The page of `tactful demo`: what the log promised, what then happened, and who gets what, act by act."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.judge.contenders import LEARNED
from experiments.report.learned_rule import RuleLine, rule_lines
from experiments.report.page import Card, Picture, Sheet, environment
from experiments.report.words import amount, between

if TYPE_CHECKING:
    from experiments.demo.act import ActOutput


@dataclass(frozen=True)
class _Act:
    """An act, as text."""

    title: str
    story: str
    said: Sequence[str]
    link: str
    rule: Sequence[RuleLine]


def demo_page(acts: Sequence[tuple[str, ActOutput]], note: str, picture: str) -> str:
    """The page as HTML; every text is escaped, only our own SVG is trusted.

    Args:
        acts: names of the acts' folders, and what happened in each.
        note: that all of it is simulated.
        picture: of the story, as SVG.
    """
    page = (
        environment()
        .get_template("demo.html.j2")
        .render(
            sheet=_sheet([act for _, act in acts], note),
            picture=Picture(picture, "What the learned policy gained live over the segments, day by day, in each act"),
            acts=[
                _Act(act.title, act.story, act.said, f"{name}/backtest/report.html", rule_lines(act.rule, "usd"))
                for name, act in acts
            ],
        )
    )
    return page.lstrip()


def _sheet(acts: Sequence[ActOutput], note: str) -> Sheet:
    launched = [act for act in acts if act.backtest.launch.policy == LEARNED]
    worlds = "world" if len(acts) == 1 else "worlds"
    badge = f"Launched in {len(launched)} of {len(acts)} {worlds}"
    return Sheet(
        question="Is it worth learning who gets which message, and does the log say so before the launch?",
        eyebrow="Demonstration, SIMULATED",
        tone="go" if launched else "stay",
        badge=badge,
        answer=" ".join(_answer(act) for act in acts),
        notes=(note,),
        cards=[_card(act) for act in acts],
    )


def _answer(act: ActOutput) -> str:
    """What was decided, and what it brought."""
    launched = act.backtest.launch.policy == LEARNED
    decided = "the log lets the learned policy launch" if launched else "nothing is launched"
    lived = act.live.get(LEARNED)
    if lived is None or lived.month is None:
        return f"{act.title}: {decided}."
    value = amount(lived.month, "usd", signed=True)
    brings = "it brought" if launched else "it would have brought"
    return f"{act.title}: {decided}; over {act.live_days} days {brings} {value} a contact over the segments."


def _card(act: ActOutput) -> Card:
    gap = act.promised.difference
    value = "n/a" if gap is None else amount(gap.value, "usd", signed=True)
    bounds = "" if gap is None else between(gap.low, gap.high, "usd", signed=True)
    return Card(f"{act.title}: promised per decision", value, bounds)
