"""Both acts in one picture: what the log promised, what was possible, and what then happened, in the same unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.judge.contenders import LEARNED
from experiments.report.figures import ACCENT, GRID, INK, MUTED, STYLE, svg_text

if TYPE_CHECKING:
    from experiments.demo.act import ActOutput

_TRUE, _MOST = "#11734b", "#c4552d"


def story_picture(acts: Sequence[ActOutput]) -> str:
    """One row an act: intervals to the left, the month to the right."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 0.4 + 2.9 * len(acts)), layout="constrained")
        figure.suptitle(
            "SIMULATED: the learned policy against today's segments", x=0.01, ha="left", fontsize=12, fontweight="bold"
        )
        for number, act in enumerate(acts):
            _intervals(figure.add_subplot(len(acts), 2, 2 * number + 1), act)
            _month(figure.add_subplot(len(acts), 2, 2 * number + 2), act)
        return svg_text(figure)


def _intervals(axes: Any, act: ActOutput) -> None:
    live, gap = act.live[LEARNED], act.promised.difference
    lines: list[tuple[str, float | None, float | None, float | None, str]] = [
        ("the log promises", *((gap.value, gap.low, gap.high) if gap else (None, None, None)), INK),
        ("true, same decisions", act.possible.learned, None, None, _TRUE),
        ("most that is possible", act.possible.most, None, None, _MOST),
        (f"{act.live_days} days live", live.difference, live.difference_low, live.difference_high, ACCENT),
    ]
    for y, (_, value, low, high, colour) in enumerate(lines):
        if low is not None and high is not None:
            axes.plot([low, high], [y, y], color=colour, linewidth=2.4, solid_capstyle="round")
        if value is not None:
            axes.plot([value], [y], "o", color=colour, markersize=6)
    axes.axvline(0.0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(lines)), [name for name, *_ in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    launched = "launched" if act.backtest.launch.policy == LEARNED else "not launched"
    _dress(axes, f"{act.title}: {launched}", "x")
    axes.set_xlabel("USD per decision")
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _month(axes: Any, act: ActOutput) -> None:
    for name, values in act.curves.items():
        label = "the learned policy" if name == LEARNED else name
        axes.plot(range(1, len(values) + 1), values, color=ACCENT, linewidth=1.8, label=label)
    axes.axhline(0.0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlabel("day live")
    axes.set_ylabel("USD per contact, so far")
    _dress(axes, "Live: gained over the segments", "y")


def _dress(axes: Any, title: str, grid: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
