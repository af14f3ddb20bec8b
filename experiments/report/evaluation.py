"""The report of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.ope.estimate import Estimate
from experiments.report.figures import differences, forest, support
from experiments.report.launch_metrics import metric_lines, missing_metrics
from experiments.report.page import Picture, Report
from experiments.report.volume_curve import curve_lines, curve_picture
from experiments.report.words import figure_text, interval_text

if TYPE_CHECKING:
    from experiments.judge.evaluate import EvaluateOutput

# The estimator whose pictures are drawn: the first of these that the results hold.
PREFERENCE = ("dr", "snips", "ips", "clipped", "dm")


def drawn_rows(rows: Sequence[Estimate], preferred: str = "") -> list[Estimate]:
    """One row a policy: by the preferred estimator, else by the first of `PREFERENCE` that the policy has."""
    order = {name: place for place, name in enumerate((preferred, *PREFERENCE))}
    best: dict[str, Estimate] = {}
    for row in rows:
        known = best.get(row.policy)
        if known is None or order.get(row.estimator, 99) < order.get(known.estimator, 99):
            best[row.policy] = row
    return list(best.values())


def pictures(rows: Sequence[Estimate], baseline: str, metric: str, preferred: str = "") -> list[Picture]:
    """Values, differences and support, each with a sentence that stands in for it."""
    drawn = drawn_rows(rows, preferred)
    said = "; ".join(f"{row.policy} {figure_text(row.value)}" for row in drawn if row.verdict != "insufficient")
    against = "; ".join(
        f"{row.policy} {interval_text(row.difference.low, row.difference.high)}" for row in drawn if row.difference
    )
    shares = "; ".join(f"{row.policy} {figure_text(row.ess)}" for row in drawn)
    return [
        Picture(forest(drawn, f"{metric} per decision, with intervals", metric), f"Values: {said}."),
        Picture(differences(drawn, f"difference to {baseline}", metric), f"Differences to {baseline}: {against}."),
        Picture(support(drawn, "support in the log"), f"Effective sample sizes: {shares}."),
    ]


def cautions(rows: Sequence[Estimate]) -> list[str]:
    """Notes of all results, each once, with the policies that they hold for."""
    policies: dict[str, dict[str, None]] = {}
    for row in rows:
        for note in row.notes:
            policies.setdefault(note, {})[row.policy] = None
    return [f"{', '.join(names)}: {note}" for note, names in policies.items()]


def evaluation_report(output: EvaluateOutput, baseline: str, command: str) -> Report:
    """The page of `tactful evaluate`."""
    drawn = drawn_rows(output.results)
    verdicts = "; ".join(f"{row.policy}: {row.verdict}" for row in drawn)
    first = output.results[0]
    return Report(
        title=f"How would these policies have done on {output.log.metric}?",
        answer=f"Compared with {baseline}: {verdicts}.",
        log=output.log,
        rows=output.results,
        pictures=[
            *pictures(output.results, baseline, output.log.metric),
            *([curve] if output.volume_curve and (curve := curve_picture(output.volume_curve)).svg else []),
        ],
        facts={
            "baseline": baseline,
            "confidence": f"{100 * (1 - first.alpha):g} %",
            "clusters": output.log.clusters,
            **_beside(output),
        },
        reproduce=command,
        cautions=[*cautions(output.results), *missing_metrics(output.metrics)],
        skipped=output.skipped,
        metrics=metric_lines(output.metrics),
    )


def _beside(output: EvaluateOutput) -> dict[str, str]:
    """Quantiles and uplift of each policy as facts, where they were asked for."""
    facts = {
        f"quantile {one.level:g} under {policy}": f"{figure_text(one.value)} ({interval_text(one.low, one.high)})"
        for policy, quantiles in (output.quantiles or {}).items()
        for one in quantiles
    }
    if output.volume_curve:
        facts["volume"] = " ".join(curve_lines(output.volume_curve))
    for found in output.uplift or ():
        for name, figure in (("Qini", found.qini), ("rule - everybody", found.over_everybody)):
            facts[f"{name} of {found.policy}"] = (
                f"{figure_text(figure.value)} ({interval_text(figure.low, figure.high)})"
            )
    return facts
