"""The page of `tactful ablate`: what carries the value, with pictures and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.report.figures import GRID, INK, MUTED, STYLE, svg_text
from experiments.report.page import Card, Picture, Sheet, environment
from experiments.report.words import Names, amount, between, capital, estimator_in_words, interval_text

if TYPE_CHECKING:
    from experiments.judge.ablate import AblateOutput, LiftRow

_COLOURS = {"carries value": "#11734b", "costs value": "#b3261e", "no detectable lift": INK, "insufficient": "#a0a8b0"}


_BADGES = {
    "carries value": ("go", "The context carries value"),
    "costs value": ("stay", "The context costs value"),
    "no detectable lift": ("stay", "No lift is shown"),
    "insufficient": ("unknown", "Cannot tell"),
}
_TONES = {"carries value": "good", "costs value": "bad", "no detectable lift": "even", "insufficient": "grey"}


@dataclass(frozen=True)
class _Line:
    """A signal group, a decision or a policy, as text."""

    name: str
    features: str
    lift: str
    interval: str
    value: str
    verdict: str
    tone: str
    why: str


@dataclass(frozen=True)
class _Table:
    title: str
    said: str
    what: str
    lines: Sequence[_Line]


def ablation_page(output: AblateOutput, command: str) -> str:
    """The page as HTML; every text is escaped, only our own SVG is trusted."""
    metric = output.log.metric.replace("_", " ")
    tone, badge = _BADGES[output.context.verdict]
    sheet = Sheet(
        question=f"What carries the value of a learnt policy on {metric}?",
        eyebrow="Ablation, judged on a log by off-policy evaluation",
        tone=tone,
        badge=badge,
        answer=_first(output),
        because=(_said("Signals", output.signals), _said("Decisions", output.decisions)),
        notes=output.log.notes,
        cards=_cards(output),
    )
    page = (
        environment()
        .get_template("ablation.html.j2")
        .render(
            sheet=sheet,
            pictures=[
                _picture((output.context, *output.signals), "lift of each signal group", metric),
                _picture(output.decisions, "lift of each decision, learnt alone", metric),
            ],
            tables=_tables(output),
            unknown=_unknown(output),
            facts=_facts(output),
            command=command,
        )
    )
    return page.lstrip()


def answer(output: AblateOutput) -> str:
    """The answer in sentences."""
    return f"{_first(output)} {_said('Signals', output.signals)} {_said('Decisions', output.decisions)}"


def _first(output: AblateOutput) -> str:
    """What the whole context is worth."""
    context, unit = output.context, output.log.unit
    if context.verdict == "insufficient":
        return "The log does not support the comparison of the full context with a context-free bandit."
    lift, bounds = amount(context.lift, unit, signed=True), between(context.low, context.high, unit, signed=True)
    what = "" if unit == "usd" else f" in {output.log.metric.replace('_', ' ')}"
    return f"The full context against a context-free bandit: {lift}{what} per decision ({bounds}), {context.verdict}."


def _said(what: str, rows: Sequence[LiftRow]) -> str:
    by_verdict: dict[str, list[str]] = {}
    for row in rows:
        by_verdict.setdefault(row.verdict, []).append(row.name)
    order = ("carries value", "costs value", "no detectable lift", "insufficient")
    parts = [f"{verdict}: {', '.join(by_verdict[verdict])}" for verdict in order if verdict in by_verdict]
    return f"{what}: {'; '.join(parts) or 'none'}."


def _cards(output: AblateOutput) -> list[Card]:
    unit, found = output.log.unit, []
    found.append(Card("Value of the full policy, per decision", amount(output.value, unit), ""))
    rows = [row for row in output.signals if row.lift is not None and row.verdict != "insufficient"]
    if rows:
        best = rows[0]
        bounds = between(best.low, best.high, unit, signed=True)
        found.append(Card(f"Largest lift of a signal: {best.name}", amount(best.lift, unit, signed=True), bounds))
    return found


def _tables(output: AblateOutput) -> list[_Table]:
    confidence = f"{100 * (1 - output.alpha):g} %"
    by = estimator_in_words(output.estimator)
    lines = {
        name: [_line(row, output.log.unit) for row in rows]
        for name, rows in (
            ("signals", (output.context, *output.signals)),
            ("decisions", output.decisions),
            ("references", output.references),
        )
    }
    return [
        _Table(
            "Signals",
            f"What the policy loses without the group: learnt again without it, judged on the same rows, {by}; the "
            f"{confidence} intervals of this table hold together. The value is the policy's without it.",
            "signal group",
            lines["signals"],
        ),
        _Table(
            "Decisions",
            "What one decision gains when it alone is learnt, over the best constant message to everybody who may get "
            f"it; the {confidence} intervals hold together.",
            "learnt alone",
            lines["decisions"],
        ),
        _Table("Beside them", "Over the same best constant message.", "policy", lines["references"]),
    ]


def _line(row: LiftRow, unit: str) -> _Line:
    silent = row.verdict == "insufficient"
    return _Line(
        name=capital(Names()(row.name)),
        features=", ".join(row.features),
        lift="n/a" if silent else amount(row.lift, unit, signed=True),
        interval="" if silent else between(row.low, row.high, unit, signed=True),
        value="n/a" if silent else amount(row.value, unit),
        verdict="too little data" if silent else row.verdict,
        tone=_TONES[row.verdict],
        why="; ".join(row.notes) if silent else "",
    )


def _unknown(output: AblateOutput) -> list[str]:
    return [
        *(f"{capital(name)} was not asked: {why}." for name, why in output.skipped.items()),
        "A lift of a signal is that of the policy as learnt here; two signals that say the same may each show none.",
        "An interval that includes 0 does not say that there is no lift, only that this log does not show one.",
    ]


def _facts(output: AblateOutput) -> list[tuple[str, str]]:
    log, split = output.log, output.split
    return [
        ("What is measured", log.description or log.metric),
        ("Log", f"{log.rows:,} decisions about {log.contacts:,} contacts"),
        ("Split", f"{split['train_rows']:,} decisions train, {split['evaluation_rows']:,} judge"),
        ("Verdicts", f"{estimator_in_words(output.estimator)}, {100 * (1 - output.alpha):g} % intervals"),
    ]


def _picture(rows: Sequence[LiftRow], title: str, unit: str) -> Picture:
    drawn = [row for row in rows if row.lift is not None]
    said = "; ".join(f"{row.name} {interval_text(row.low, row.high)}, {row.verdict}" for row in drawn)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 1.1 + 0.34 * max(len(drawn), 1)), layout="constrained")
        axes = figure.add_subplot()
        for y, row in enumerate(drawn):
            colour = _COLOURS[row.verdict]
            if row.low is not None and row.high is not None:
                axes.plot([row.low, row.high], [y, y], color=colour, linewidth=2.2, solid_capstyle="round")
            face = "white" if row.verdict == "insufficient" else colour
            axes.plot([row.lift or 0.0], [y], "o", color=colour, markerfacecolor=face, markersize=6)
        axes.axvline(0.0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_yticks(
            range(len(drawn)), [row.name if len(row.name) <= 34 else row.name[:31] + "..." for row in drawn]
        )
        axes.set_ylim(len(drawn) - 0.4, -0.6)
        axes.set_xlabel(f"{unit} per decision")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(axis="y", length=0)
        return Picture(svg_text(figure), f"{title}: {said}.")
