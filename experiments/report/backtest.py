"""The report of a backtest."""

from __future__ import annotations

from msgspec.structs import replace

from experiments.outputs import BacktestOutput, ResultRow
from experiments.report.evaluation import cautions, pictures
from experiments.report.figures import differences
from experiments.report.page import Picture, Report
from experiments.report.text import interval_text


def backtest_report(output: BacktestOutput, baseline: str, estimator: str, command: str) -> Report:
    """The page of `tactful backtest`."""
    rows = sorted(output.results, key=lambda row: row.estimator != estimator)
    split = output.split
    return Report(
        title=f"What should be launched for {output.log.metric}?",
        answer=f"Launch {output.launch.policy}: {output.launch.reason}.",
        log=output.log,
        rows=rows,
        pictures=[*pictures(rows, baseline, output.log.metric, estimator), _further(output.comparisons, output)],
        facts={
            "baseline": baseline,
            "deciding estimator": f"{estimator}, fixed before the results were seen",
            "split": f"by {split['by']}, {split['train_rows']} rows train, {split['evaluation_rows']} judge",
            "segments by": ", ".join(split["segments"]) or "nothing (one segment)",
            "confidence": f"{100 * (1 - rows[0].alpha):g} %",
            "clusters": output.log.clusters,
        },
        reproduce=command,
        cautions=cautions(output.results),
        skipped=output.skipped,
    )


def _further(rows: tuple[ResultRow, ...], output: BacktestOutput) -> Picture:
    """The learned policy and the segments against every other practice, one line a pair."""
    named = [_named(row) for row in rows]
    said = "; ".join(
        f"{row.policy} {interval_text(row.difference.low, row.difference.high)}" for row in named if row.difference
    )
    return Picture(differences(named, "further differences", output.log.metric), f"Further differences: {said}.")


def _named(row: ResultRow) -> ResultRow:
    baseline = row.difference.baseline if row.difference else "?"
    return replace(row, policy=f"{row.policy} - {baseline}")
