"""Pictures of results as inline SVG; matplotlib without a window, same bytes for the same results."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from engine.ope.estimate import Estimate

INK, ACCENT, MUTED, GRID = "#1b2733", "#0b6e99", "#7a8794", "#d9e0e6"
_COLOURS = {"better": "#11734b", "worse": "#b3261e", "no difference": INK, "insufficient": "#a0a8b0"}
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "tactful",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
}
# Without smoothing a picture has a few dozen colours, and its PNG is a quarter as large.
_FLAT: dict[Any, Any] = dict.fromkeys(("lines.antialiased", "patch.antialiased", "text.antialiased"), False)


def forest(rows: Sequence[Estimate], title: str, unit: str) -> str:
    """Values with intervals, one line a policy; insufficient ones are drawn hollow and grey."""
    drawn = [(row, row.value, row.low, row.high) for row in rows if row.value is not None]
    return _intervals(drawn, title, unit, zero=False)


def differences(rows: Sequence[Estimate], title: str, unit: str) -> str:
    """Differences to the baseline with intervals, one line a policy, and the line of no difference."""
    drawn = [
        (row, row.difference.value, row.difference.low, row.difference.high)
        for row in rows
        if row.difference is not None and row.difference.value is not None
    ]
    return _intervals(drawn, title, unit, zero=True)


def support(rows: Sequence[Estimate], title: str) -> str:
    """Effective sample size as a share of the rows, one bar a policy."""
    drawn = [row for row in rows if row.ess is not None and row.n]
    with mpl.rc_context(STYLE):
        figure, axes = _axes(len(drawn))
        shares = [100.0 * (row.ess or 0.0) / row.n for row in drawn]
        axes.barh(range(len(drawn)), shares, color=[_bar(row) for row in drawn], height=0.55)
        for y, share in enumerate(shares):
            axes.text(share, y, f" {share:.3g} %", va="center", fontsize=9)
        axes.set_xlim(0, max([*shares, 1.0]) * 1.18)
        _finish(axes, [row.policy for row in drawn], title, "effective sample size, % of rows")
        return svg_text(figure)


def _bar(row: Estimate) -> str:
    """Support is no verdict on the policy, so it does not wear the verdicts' colours."""
    return _COLOURS[row.verdict] if row.verdict == "insufficient" else ACCENT


def _intervals(
    drawn: Sequence[tuple[Estimate, float | None, float | None, float | None]], title: str, unit: str, *, zero: bool
) -> str:
    with mpl.rc_context(STYLE):
        figure, axes = _axes(len(drawn))
        for y, (row, value, low, high) in enumerate(drawn):
            colour = _COLOURS[row.verdict]
            if low is not None and high is not None:
                axes.plot([low, high], [y, y], color=colour, linewidth=2.2, solid_capstyle="round")
            face = "white" if row.verdict == "insufficient" else colour
            axes.plot([value], [y], "o", color=colour, markerfacecolor=face, markersize=6)
        if zero:
            axes.axvline(0.0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        _finish(axes, [row.policy for row, *_ in drawn], title, unit)
        return svg_text(figure)


def _axes(lines: int) -> tuple[Figure, Any]:
    figure = Figure(figsize=(5.6, 1.1 + 0.34 * max(lines, 1)), layout="constrained")
    return figure, figure.add_subplot()


def _finish(axes: Any, names: Sequence[str], title: str, unit: str) -> None:
    axes.set_yticks(range(len(names)), [name if len(name) <= 34 else name[:31] + "..." for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)


def svg_text(figure: Figure) -> str:
    """A figure as SVG, without anything that differs from run to run."""
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        # Without a date the same results give the same bytes.
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    # A hundredth of a point is finer than any screen; matplotlib writes a millionth.
    text = re.sub(r'(?<= d=")[^"]*', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text)
    text = re.sub(r'( (?:x|y)="-?\d+\.\d\d)\d+', r"\1", text)
    # What matplotlib says of itself names addresses; a page that loads nothing should not look as if it did.
    return re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.DOTALL)


def png_bytes(draw: Callable[[], Figure], dpi: int = 100) -> bytes:
    """A figure as PNG, for docs/: the same results give the same bytes, and few of them.

    Args:
        draw: makes the figure.
        dpi: dots per inch.
    """
    buffer = io.BytesIO()
    with mpl.rc_context({**STYLE, **_FLAT}):
        draw().savefig(buffer, format="png", dpi=dpi, metadata={"Software": None}, pil_kwargs={"optimize": True})
    return buffer.getvalue()


def with_prefix(svg: str, prefix: str) -> str:
    """The picture with every id of its own: pictures of one page must not draw each other's shapes."""
    return re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{prefix}", svg)
