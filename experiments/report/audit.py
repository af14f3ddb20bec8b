"""The page of an audit: the verdict, the three questions, two pictures by day, every check with what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from engine.audit.findings import ADJUSTED, Finding
from experiments.report.figures import ACCENT, GRID, INK, MUTED, STYLE, svg_text
from experiments.report.page import Card, Picture, Sheet, environment
from experiments.report.words import p_value_text

if TYPE_CHECKING:
    from experiments.judge.audit import AuditOutput

ANSWERS = {
    "pass": "Nothing was found that forbids learning from this log or judging on it.",
    "warn": "The log may be used; some things should be looked at first.",
    "fail": "Do not learn from this log and do not judge on it before this is mended.",
}
BADGES = {"pass": ("go", "It can be trusted"), "warn": ("stay", "Look first"), "fail": ("stay", "Not as it is")}
TONES = {"pass": "good", "warn": "warn", "fail": "bad", "n/a": "grey"}
_INDEX = ("feature_drift", "propensity_drift")
_P_VALUES = ("rejected_by_action",)
_COUNTS = ("control_kept",)


def audit_page(output: AuditOutput, name: str) -> str:
    """The page as HTML; every text is escaped, only our own SVG is trusted.

    Args:
        output: what is printed.
        name: the log's files without their folders.
    """
    made = environment()
    made.filters.update(measured=measured_text, limit=limit_text, tone=TONES.__getitem__)
    asked = [found for found in output.findings if found.verdict in ("fail", "warn")]
    asked.sort(key=lambda found: found.verdict)
    passed = [found for found in output.findings if found.verdict == "pass"]
    absent = [found for found in output.findings if found.verdict == "n/a"]
    return made.get_template("audit.html.j2").render(
        sheet=_sheet(output, asked, name), asked=asked, passed=passed, absent=absent, pictures=pictures(output.findings)
    )


def _sheet(output: AuditOutput, asked: Sequence[Finding], name: str) -> Sheet:
    tone, badge = BADGES[output.verdict]
    readiness = output.readiness
    shares = (
        ("Consent on record", readiness.permission, "of the decisions"),
        ("Events with their decision", readiness.resolved, "of the events in the outcome file"),
        ("Events that can be read", readiness.valid, "of the events in the outcome file"),
    )
    cards = [Card("Rows", f"{output.rows:,}", "decisions that were read")]
    cards += [Card(label, share_text(share), of) for label, share, of in shares if share is not None]
    because = [f"{found.check}: {found.what}. To do: {found.advice or 'see docs/audit.md'}." for found in asked[:4]]
    if len(asked) > 4:
        because.append(f"{len(asked) - 4} more are listed below.")
    return Sheet(
        question=f"Can {name} be trusted?",
        eyebrow="Audit of a log",
        tone=tone,
        badge=badge,
        answer=ANSWERS[output.verdict],
        because=because,
        notes=output.notes,
        cards=cards,
    )


def share_text(share: float | None) -> str:
    """A share in percent, "n/a" where it is not known."""
    return "n/a" if share is None else f"{100 * share:.4g} %"


def kind_of(found: Finding) -> str:
    """What the figure of a check is: p-value, index (of stability), count or share."""
    if ADJUSTED in found.details or found.check in _P_VALUES:
        return "p-value"
    if found.check in _INDEX:
        return "index"
    return "count" if found.check in _COUNTS else "share"


def measured_text(found: Finding) -> str:
    """The figure of a check with what it is: "p = 0.4", "0.2 % of the rows", "stability index 0.03"."""
    if found.value is None:
        return "n/a"
    kind = kind_of(found)
    if kind == "p-value":
        return f"p-value {p_value_text(found.value)}"
    if kind == "index":
        return f"stability index {found.value:.2g}"
    return f"count {found.value:,.0f}" if kind == "count" else f"share {share_text(found.value)}"


def limit_text(found: Finding) -> str:
    """The limit of a check in words: a test fails below its limit, everything else above."""
    kind = kind_of(found)
    limit, verb = (found.fail, "fails") if found.fail is not None else (found.warn, "warns")
    if limit is None:
        return "no limit"
    if kind == "p-value":
        return f"{verb} below {limit:g}, corrected for the other tests"
    if kind == "share":
        return f"{verb} above {share_text(limit)}"
    return f"{verb} above {limit:g}"


def pictures(findings: Sequence[Finding]) -> list[Picture]:
    """Decisions by day and mean weight by day, where the log has several days."""
    by_check = {found.check: found for found in findings}
    drawn = []
    rows = by_check["missing_decisions"].details.get("rows_by_day", {})
    if len(rows) > 1:
        said = f"Decisions by day: {min(rows.values())} to {max(rows.values())} on {len(rows)} days."
        drawn.append(Picture(_line(rows, "decisions by day", None), said))
    weights = by_check["mean_weight"].details.get("by_day", {})
    if len(weights) > 1:
        means = {day: pair[0] for day, pair in weights.items()}
        errors = np.array([2.0 * pair[1] for pair in weights.values()])
        said = f"Mean weight of a uniform policy by day: {min(means.values()):.3g} to {max(means.values()):.3g}."
        drawn.append(Picture(_line(means, "mean weight of a uniform policy (expected: 1)", errors), said))
    return drawn


def _line(values: Mapping[str, float], title: str, errors: Any) -> str:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 2.6), layout="constrained")
        axes = figure.add_subplot()
        at, heights = np.arange(len(values)), np.array(list(values.values()), dtype=np.float64)
        if errors is None:
            axes.bar(at, heights, color=ACCENT, width=0.8)
        else:
            axes.axhline(1.0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            axes.fill_between(at, heights - errors, heights + errors, color=ACCENT, alpha=0.2, linewidth=0)
            axes.plot(at, heights, color=ACCENT, linewidth=1.8)
        names = list(values)
        shown = sorted({0, len(names) // 2, len(names) - 1})
        axes.set_xticks(shown, [names[place] for place in shown])
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        return svg_text(figure)
