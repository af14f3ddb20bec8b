"""Figures for people."""

from __future__ import annotations


def figure_text(value: float | None, digits: int = 4) -> str:
    """A figure for people: `digits` significant digits (all those before the point), "n/a" where there is none."""
    if value is None:
        return "n/a"
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def interval_text(low: float | None, high: float | None) -> str:
    """An interval for people."""
    return "n/a" if low is None or high is None else f"{figure_text(low)} to {figure_text(high)}"
