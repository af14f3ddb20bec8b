"""Figures for people."""

from __future__ import annotations


def figure_text(value: float | None, digits: int = 4) -> str:
    """A figure for people: `digits` significant digits, "n/a" where there is none."""
    return "n/a" if value is None else f"{value:.{digits}g}"


def interval_text(low: float | None, high: float | None) -> str:
    """An interval for people."""
    return "n/a" if low is None or high is None else f"{low:.4g} to {high:.4g}"
