"""The volume curve as a picture and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from experiments.report.figures import ACCENT, GRID, INK, MUTED, STYLE, svg_text
from experiments.report.page import Picture
from experiments.report.words import amount, percent

if TYPE_CHECKING:
    from experiments.judge.volume_curve import VolumeCurve

_COLOURS = {"learnt": ACCENT, "recency": "#a8641b", "random": MUTED}
_PER = 1000.0


def curve_picture(found: VolumeCurve) -> Picture:
    """One panel a metric that has figures, per 1,000 decisions, with each ranking's band and the chosen share."""
    points = [point for curve in found.curves for point in curve.points]
    metrics = [name for name in points[0].bands if any(point.bands[name] for point in points)]
    if not metrics:
        return Picture("", " ".join(curve_lines(found)))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 0.4 + 2.5 * len(metrics)), layout="constrained")
        for place, metric in enumerate(metrics):
            axes = figure.add_subplot(len(metrics), 1, place + 1)
            _panel(axes, found, metric, legend=not place)
        return Picture(svg_text(figure), " ".join(curve_lines(found)))


def _panel(axes: Any, found: VolumeCurve, metric: str, *, legend: bool) -> None:
    for curve in found.curves:
        drawn = [(100.0 * point.kept, band) for point in curve.points if (band := point.bands[metric]) is not None]
        if not drawn:
            continue
        x, colour = [share for share, _ in drawn], _COLOURS[curve.ranking]
        low, high = (
            [_PER * side for side in sides] for sides in zip(*((b.low, b.high) for _, b in drawn), strict=True)
        )
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(x, [_PER * band.value for _, band in drawn], color=colour, linewidth=1.8, label=curve.ranking)
    if found.chosen is not None:
        axes.axvline(100.0 * found.chosen, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    unit = "USD" if found.unit == "usd" else ""
    axes.set_title(f"{metric} per 1,000 decisions", loc="left", fontsize=11, fontweight="bold")
    axes.set_ylabel(unit if metric == found.metric else "")
    axes.set_xlabel("share of sends kept, %")
    axes.set_xlim(0, 100)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if legend and axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=9, facecolor="white", edgecolor="none", framealpha=0.85)


def curve_lines(found: VolumeCurve) -> list[str]:
    """What the curve says, in sentences."""
    confidence = f"{100 * (1 - found.alpha):g} %"
    if found.chosen is None:
        return [f"The log supports no share of sends well enough for a volume curve of {found.metric}."]
    place = [point.share for point in found.curves[0].points].index(found.chosen)
    said = []
    for curve in found.curves:
        band = curve.points[place].bands[found.metric]
        if band is not None:
            unit = "usd" if found.unit == "usd" else ""
            figures = [amount(_PER * value, unit) for value in (band.value, band.low, band.high)]
            said.append(f"{curve.ranking} {figures[0]} ({figures[1]} to {figures[2]})")
    best = (
        f"The learnt ranking is highest where {percent(found.chosen)} of the sends are kept: {found.metric} per 1,000 "
        f"decisions {'; '.join(said)}; each band holds for its whole curve with {confidence}."
    )
    lines = [best]
    if found.price is None:
        lines.append("No price is needed for that volume.")
    else:
        lines.append(
            f"A price of {found.price:.4g} a send, in the unit of the policy's scores, gives that volume: "
            f"{' '.join(found.overrides)}"
        )
    if not found.recency:
        lines.append("The log has no feature that counts days since a contact was last active, so none ranks by it.")
    return lines
