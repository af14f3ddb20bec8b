"""The page of a monitor: what to do now, the effects day by day, the offline figures beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from experiments.report.figures import ACCENT, GRID, INK, MUTED, STYLE, svg_text
from experiments.report.page import Picture, environment
from experiments.report.words import figure_text, interval_text

if TYPE_CHECKING:
    from experiments.serve.monitor import EffectOutput, MonitorOutput, OfflineRow

ANSWERS = {
    "fine": "Nothing asks for a step.",
    "alert": "Somebody should look at this.",
    "pause": "Something is paused until somebody has looked at it.",
    "kill": "The kill switch is on: nothing is sent until somebody takes it back.",
}
OFFLINE = "#a35b00"


def monitor_page(output: MonitorOutput, uniform: str) -> str:
    """The page as HTML; every text is escaped, only our own SVG is trusted.

    Args:
        output: what is printed.
        uniform: name of the uniform slice's group.
    """
    drawn = [_picture(effect, output.offline, output.metric, uniform) for effect in output.effects if effect.days]
    template = environment().get_template("monitor.html.j2")
    return template.render(output=output, answer=ANSWERS[output.state], pictures=drawn, interval=interval_text)


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
