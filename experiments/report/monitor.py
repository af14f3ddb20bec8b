"""The page of a monitor: what to do now, the effects day by day, the offline figures beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from experiments.report.figures import ACCENT, GRID, INK, MUTED, STYLE, svg_text
from experiments.report.page import Card, Picture, Sheet, environment
from experiments.report.words import figure_text, interval_text

if TYPE_CHECKING:
    from engine.monitor.foresight import Foresight
    from experiments.serve.monitor import EffectOutput, MonitorOutput, OfflineRow

ANSWERS = {
    "fine": "Nothing asks for a step.",
    "alert": "Somebody should look at this.",
    "pause": "Something is paused until somebody has looked at it.",
    "kill": "The kill switch is on: nothing is sent until somebody takes it back.",
    "unknown": "Cannot tell yet: nothing that shows harm could be judged, and no effect has enough decisions.",
}
BADGES = {
    "fine": ("go", "Fine"),
    "alert": ("stay", "Look at this"),
    "pause": ("stay", "Paused"),
    "kill": ("stay", "Stopped"),
    "unknown": ("unknown", "Cannot tell yet"),
}
TONES = {"better": "good", "worse": "bad"}
OFFLINE = "#a35b00"


def answer(output: MonitorOutput) -> str:
    """The answer in a sentence; what could not be judged takes part in it."""
    if output.state == "fine" and output.silent:
        return f"Nothing that could be judged asks for a step; {len(output.silent)} rules could not be judged."
    return ANSWERS[output.state]


def foreseen(seen: Foresight) -> str:
    """What next month's log will be able to say, in a sentence."""
    enough = "enough" if seen.planned_ess >= seen.needed_ess else "too few"
    fall = f" They fall by {-100 * seen.daily_change:.2g} % a day." if seen.daily_change < 0 else ""
    return (
        f"Next month's log: {seen.planned_ess:,.0f} effective rows for another policy, {enough} "
        f"({seen.needed_ess:,.0f} are needed); {seen.actions_per_context:.3g} actions per context in effect, "
        f"smallest propensity {seen.smallest_propensity:.2g}.{fall}"
    )


def monitor_page(output: MonitorOutput, uniform: str) -> str:
    """The page as HTML; every text is escaped, only our own SVG is trusted.

    Args:
        output: what is printed.
        uniform: name of the uniform slice's group.
    """
    drawn = [_picture(effect, output.offline, output.metric, uniform) for effect in output.effects if effect.days]
    reasons: dict[str, list[str]] = {}
    for name, why in output.silent.items():
        reasons.setdefault(why, []).append(name)
    made = environment()
    made.filters["tone"] = lambda verdict: TONES.get(verdict, "grey")
    return made.get_template("monitor.html.j2").render(
        output=output, sheet=_sheet(output), pictures=drawn, interval=interval_text, silent=reasons
    )


def _sheet(output: MonitorOutput) -> Sheet:
    tone, badge = BADGES[output.state]
    because = [f"{one.effect.replace('_', ' ')}: {one.what}." for one in output.raised[:4]]
    if len(output.raised) > 4:
        because.append(f"{len(output.raised) - 4} more escalations are listed below.")
    because += [f"Against {one.against}: {one.missing}." for one in output.effects if one.missing]
    if "no outcomes were given (--outcomes)" in output.silent.values():
        because.append("No complaint, bounce or opt-out is watched: give the outcome file with --outcomes.")
    cards = []
    for one in output.effects:
        if one.now is not None:
            says = f"{one.verdict}; {interval_text(one.now.low, one.now.high)}"
            cards.append(Card(f"Less {one.against}, per decision", figure_text(one.now.value), says))
    if output.foresight is not None:
        seen = output.foresight
        because.append(foreseen(seen))
        cards.append(
            Card("Effective rows next month", f"{seen.planned_ess:,.0f}", f"{seen.needed_ess:,.0f} are needed")
        )
        cards.append(Card("Actions per context", figure_text(seen.actions_per_context, 3), "in effect; 1 is no choice"))
    return Sheet(
        question=f"How does the live policy do on {output.metric}?",
        eyebrow="Monitor of a live policy",
        tone=tone,
        badge=badge,
        answer=answer(output),
        because=because,
        notes=output.notes,
        cards=cards,
    )


def _picture(effect: EffectOutput, offline: Sequence[OfflineRow], metric: str, uniform: str) -> Picture:
    known = next((row for row in offline if row.against == effect.against), None)
    name = "the uniform slice" if effect.against == uniform else effect.against
    title = f"treatment less {name}, {metric} per decision"
    now = effect.days[-1]
    said = f"{title}: {figure_text(now.value)} ({interval_text(now.low, now.high)}) after {len(effect.days)} days."
    if known is not None:
        said += f" The backtest had said {figure_text(known.value)} ({interval_text(known.low, known.high)})."
    return Picture(_sequence(effect, known, title), said)


def _sequence(effect: EffectOutput, offline: OfflineRow | None, title: str) -> str:
    days = effect.days
    at = np.arange(len(days))
    low, high = np.array([day.low for day in days]), np.array([day.high for day in days])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.2), layout="constrained")
        axes = figure.add_subplot()
        axes.axhline(0.0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        if offline is not None and offline.low is not None and offline.high is not None:
            axes.axhspan(offline.low, offline.high, color=OFFLINE, alpha=0.18, linewidth=0)
            axes.axhline(offline.value or 0.0, color=OFFLINE, linewidth=1.2, label="backtest")
        axes.fill_between(at, low, high, color=ACCENT, alpha=0.2, linewidth=0)
        axes.plot(at, [day.value for day in days], color=ACCENT, linewidth=2, label="live")
        # The first days are wide open: the picture is cut to what the later half of the days needs.
        late = slice(len(days) // 2, None)
        bounds = [float(low[late].min()), float(high[late].max()), 0.0]
        bounds += [] if offline is None else [offline.low or 0.0, offline.high or 0.0]
        room = 0.15 * (max(bounds) - min(bounds) or 1.0)
        axes.set_ylim(min(bounds) - room, max(bounds) + room)
        shown = sorted({0, len(days) // 2, len(days) - 1})
        axes.set_xticks(shown, [days[place].day for place in shown])
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
        return svg_text(figure)
