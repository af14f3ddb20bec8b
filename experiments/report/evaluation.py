"""The page of `tactful evaluate`: which policy does better, by how much, and what the log cannot say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from engine.ope.estimate import Estimate
from experiments.report.figures import differences, forest, support
from experiments.report.launch_metrics import MetricLines, metric_lines, missing_metrics
from experiments.report.page import Card, Picture, Sheet, environment
from experiments.report.volume_curve import curve_lines, curve_picture
from experiments.report.words import (
    VERDICTS,
    Names,
    amount,
    between,
    capital,
    estimator_in_words,
    figure_text,
    interval_text,
    listed,
    tried,
)

if TYPE_CHECKING:
    from experiments.judge.evaluate import EvaluateOutput

# The estimator whose verdict the page shows: the first of these that the results hold.
PREFERENCE = ("dr", "snips", "ips", "clipped", "dm")
# More policies than this are counted in the question, not listed.
_MOST_LISTED = 3


@dataclass(frozen=True)
class _Line:
    """A policy by one estimator, as text."""

    policy: str
    estimator: str
    value: str
    interval: str
    difference: str
    bounds: str
    verdict: str
    tone: str
    effective: str
    weight: str


def drawn_rows(rows: Sequence[Estimate], preferred: str = "") -> list[Estimate]:
    """One row a policy: by the preferred estimator, else by the first of `PREFERENCE` that the policy has."""
    order = {name: place for place, name in enumerate((preferred, *PREFERENCE))}
    best: dict[str, Estimate] = {}
    for row in rows:
        known = best.get(row.policy)
        if known is None or order.get(row.estimator, 99) < order.get(known.estimator, 99):
            best[row.policy] = row
    return list(best.values())


def evaluation_page(output: EvaluateOutput, baseline: str, command: str) -> str:
    """The page as HTML; every text is escaped, only our own SVG is trusted.

    Args:
        output: what the evaluation found.
        baseline: what differences are taken to.
        command: the command that makes the page again.
    """
    names = Names(output.log.hold, baseline)
    drawn = drawn_rows(output.results)
    others = [row for row in output.results if not any(row is one for one in drawn)]
    found = (
        environment()
        .get_template("evaluation.html.j2")
        .render(
            sheet=_sheet(output, drawn, baseline, names),
            pictures=_pictures(output, drawn, names),
            lines=[_line(row, output.log.unit, names) for row in drawn],
            others=[_line(row, output.log.unit, names) for row in others],
            metrics=_metrics(output, names),
            unknown=[*_cautions(drawn, names), *missing_metrics(output.metrics), *_skipped(output, drawn, names)],
            facts=_facts(output, drawn, baseline, names),
            command=command,
        )
    )
    return found.lstrip()


def _sheet(output: EvaluateOutput, drawn: Sequence[Estimate], baseline: str, names: Names) -> Sheet:
    """The first screen: the question with the policies' names, the answer, the figures behind it."""
    asked = [row for row in drawn if row.policy != baseline] or list(drawn)
    metric, today = output.log.metric.replace("_", " "), names(baseline)
    better = [names(row.policy) for row in asked if row.verdict == "better"]
    judged = [row for row in asked if row.verdict != "insufficient"]
    if len(asked) == 1:
        question = f"Judged by {metric}: would {names(asked[0].policy)} have done better than {today}?"
        answer = _single(asked[0], names, today)
    else:
        who = listed([names(row.policy) for row in asked]) if len(asked) <= _MOST_LISTED else f"{len(asked)} policies"
        question = f"Judged by {metric}: which of {who} would have done better than {today}?"
        answer = tried(asked, "policies", names) or "There is nothing to compare with."
    if not judged:
        tone, badge = "unknown", "Cannot tell"
    elif better:
        tone, badge = "go", f"Better: {better[0]}" if len(better) == 1 else f"{len(better)} are better"
    else:
        tone, badge = "stay", "None is shown to be better"
    best = max(judged, key=_value, default=None)
    return Sheet(
        question=question,
        eyebrow="Evaluation, judged on a log by off-policy evaluation",
        tone=tone,
        badge=badge,
        answer=answer,
        because=_because(output, asked, names),
        notes=output.log.notes,
        cards=[] if best is None else _cards(output, best, names),
    )


def _single(row: Estimate, names: Names, today: str) -> str:
    who = capital(names(row.policy))
    return {
        "better": f"Yes. {who} is shown to do better than {today}.",
        "worse": f"No. {who} is shown to do worse than {today}.",
        "no difference": f"The log does not show that {who[:1].lower() + who[1:]} does better or worse than {today}.",
    }.get(row.verdict, f"The log cannot say: it holds too little that speaks for {who[:1].lower() + who[1:]}.")


def _because(output: EvaluateOutput, asked: Sequence[Estimate], names: Names) -> list[str]:
    """The figures of what decides; where nothing can be judged, why."""
    unit, said = output.log.unit, []
    shown = [row for row in asked if row.verdict in ("better", "worse")] or [
        row for row in asked if row.verdict == "no difference"
    ]
    for row in sorted(shown, key=_value, reverse=True)[:_MOST_LISTED]:
        gap = row.difference
        if gap is not None:
            bounds = between(gap.low, gap.high, unit, signed=True)
            value = amount(gap.value, unit, signed=True)
            level = f"{100 * (1 - row.alpha):g} %"
            said.append(f"{capital(names(row.policy))}: {value} per decision, {level} interval {bounds}.")
    if not shown:
        said += [f"{capital(names(row.policy))}: {row.notes[0]}." for row in asked[:_MOST_LISTED] if row.notes]
    together = next((note for row in asked for note in row.notes if note.startswith("the intervals of")), "")
    return [*said, *([f"{capital(together)}."] if together else [])]


def _value(row: Estimate) -> float:
    return row.difference.value if row.difference is not None and row.difference.value is not None else float("-inf")


def _cards(output: EvaluateOutput, best: Estimate, names: Names) -> list[Card]:
    unit, gap = output.log.unit, best.difference
    cards = [
        Card(
            f"{capital(output.log.metric.replace('_', ' '))} per decision, {names(best.policy)}",
            amount(best.value, unit),
            between(best.low, best.high, unit),
        )
    ]
    if gap is not None:
        value, bounds = amount(gap.value, unit, signed=True), between(gap.low, gap.high, unit, signed=True)
        cards.append(Card(f"Against {names(gap.baseline)}", value, bounds))
    share = f"{100 * best.ess / best.n:.0f} % of {best.n:,}" if best.ess is not None and best.n else ""
    cards.append(Card("Decisions that speak for it", _count(best.ess), share))
    return cards


def _line(row: Estimate, unit: str, names: Names) -> _Line:
    gap = row.difference
    silent = row.verdict == "insufficient"
    return _Line(
        policy=capital(names(row.policy)),
        estimator=estimator_in_words(row.estimator) + ("" if row.exact else ", not exact"),
        value="n/a" if silent else amount(row.value, unit),
        interval="" if silent else between(row.low, row.high, unit),
        difference="n/a" if silent or gap is None else amount(gap.value, unit, signed=True),
        bounds="" if silent or gap is None else between(gap.low, gap.high, unit, signed=True),
        verdict=VERDICTS[row.verdict],
        tone={"better": "good", "worse": "bad", "no difference": "even"}.get(row.verdict, "grey"),
        effective=_count(row.ess),
        weight=figure_text(row.max_weight),
    )


def _count(value: float | None) -> str:
    return "n/a" if value is None else f"{value:,.0f}"


def _pictures(output: EvaluateOutput, drawn: Sequence[Estimate], names: Names) -> list[Picture]:
    """Values, differences and support, each with a sentence that stands in for it."""
    metric = output.log.metric
    called = [_renamed(row, names) for row in drawn]
    said = "; ".join(f"{row.policy} {figure_text(row.value)}" for row in called if row.verdict != "insufficient")
    gaps = [row for row in called if row.difference]
    against = gaps[0].difference.baseline if gaps and gaps[0].difference else ""
    told = "; ".join(f"{r.policy} {interval_text(r.difference.low, r.difference.high)}" for r in gaps if r.difference)
    shares = "; ".join(f"{row.policy} {figure_text(row.ess)}" for row in called)
    found = [
        Picture(forest(called, f"{metric} per decision, with intervals", metric), f"Values: {said}."),
        Picture(differences(called, f"difference to {names(against)}", metric), f"Differences: {told}."),
        Picture(support(called, "support in the log"), f"Effective sample sizes: {shares}."),
    ]
    if output.volume_curve and (curve := curve_picture(output.volume_curve)).svg:
        found.append(curve)
    return found


def _renamed(row: Estimate, names: Names) -> Estimate:

    return msgspec.structs.replace(row, policy=names(row.policy))


def _metrics(output: EvaluateOutput, names: Names) -> MetricLines | None:
    """Metrics that the log can say of some policy; the others are listed once, with their reason."""
    silent = {row.metric for row in output.metrics} - {row.metric for row in output.metrics if row.value is not None}
    found = metric_lines([row for row in output.metrics if row.metric not in silent])
    return None if found is None else MetricLines(tuple(capital(names(one)) for one in found.policies), found.lines)


def _cautions(rows: Sequence[Estimate], names: Names) -> list[str]:
    """Notes of the rows, each once, with the policies that they hold for."""
    policies: dict[str, dict[str, None]] = {}
    for row in rows:
        for note in row.notes:
            policies.setdefault(note, {})[names(row.policy)] = None
    return [f"{capital(', '.join(who))}: {note}" for note, who in policies.items()]


def _skipped(output: EvaluateOutput, drawn: Sequence[Estimate], names: Names) -> list[str]:
    """What is not defined for a policy that has no other estimate."""
    judged = {row.policy for row in drawn}
    return [f"{capital(names(one.policy))}: {one.reason}" for one in output.skipped if one.policy not in judged]


def _facts(output: EvaluateOutput, drawn: Sequence[Estimate], baseline: str, names: Names) -> list[tuple[str, str]]:
    log, first = output.log, drawn[0]
    dropped = "; ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in log.dropped.items())
    return [
        ("What is measured", log.description or log.metric),
        ("Log", f"{log.rows:,} decisions about {log.contacts:,} contacts, {log.actions} possible actions"),
        ("Not used", dropped or "nothing"),
        ("Held against", names(baseline)),
        ("Verdicts", f"{estimator_in_words(first.estimator)}, {100 * (1 - first.alpha):g} % intervals"),
        ("Independent units", f"each {log.clusters}"),
        ("Propensities", log.propensity),
        *_beside(output),
    ]


def _beside(output: EvaluateOutput) -> list[tuple[str, str]]:
    """Quantiles, uplift and the volume curve as facts, where they were asked for."""
    facts = [
        (f"Quantile {one.level:g} under {policy}", f"{figure_text(one.value)} ({interval_text(one.low, one.high)})")
        for policy, quantiles in (output.quantiles or {}).items()
        for one in quantiles
    ]
    if output.volume_curve:
        facts.append(("Volume", " ".join(curve_lines(output.volume_curve))))
    for found in output.uplift or ():
        for name, figure in (("Qini", found.qini), ("Rule - everybody", found.over_everybody)):
            value = f"{figure_text(figure.value)} ({interval_text(figure.low, figure.high)})"
            facts.append((f"{name} of {found.policy}", value))
    return facts
