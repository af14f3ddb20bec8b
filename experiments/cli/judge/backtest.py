"""`tactful backtest`: the main job of a team before launch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from experiments.cli.console import REPORT, Json, OverrideAudit, Overrides, Replace, free_out, guarded, progress, show
from experiments.cli.inputs import Log, file_names

# What a refusing gate leaves with everywhere: what is live stays live.
STAY_EXIT_CODE = 8


def run(
    log: Log,
    metric: Annotated[str, typer.Option(help="The reward to judge by, a metric of the log.")],
    out: Annotated[Path, typer.Option(help="Folder for the report, the results and the trained policy.")],
    train_fraction: Annotated[float, typer.Option(help="Share of the log that trains, in (0, 1).")] = 0.5,
    split: Annotated[Literal["contact", "time"], typer.Option(help="What the split keeps apart.")] = "contact",
    baseline: Annotated[
        str,
        typer.Option(
            help="What is replaced: logged (what the log did), static_segments (tuned on it), merge_tag_blast, "
            "uniform, any_send, always:ACTION, RULE.yaml or column:NAME@action (your choice per decision)."
        ),
    ] = "logged",
    practice: Annotated[
        Path | None, typer.Option(help="Your own rule as the baseline: a yaml of attributes and actions.")
    ] = None,
    columns: Annotated[
        Path | None,
        typer.Option(help="CSV or Parquet keyed by decision_id with further columns for column:NAME@action."),
    ] = None,
    override_audit: OverrideAudit = None,
    volume: Annotated[
        bool,
        typer.Option("--volume", help="Value and harm against the share of sends kept, and its price."),
    ] = False,
    recency: Annotated[str, typer.Option(help="With --volume: the numeric feature that counts days since.")] = "",
    exit_code: Annotated[
        bool,
        typer.Option(
            "--exit-code", help="For pipelines: leave with 0 where the learned policy is to be launched, else with 8."
        ),
    ] = False,
    replace: Replace = False,
    as_json: Json = False,
    overrides: Overrides = None,
) -> None:
    """Train on one part of a log, judge on the other, and say what to launch.

    Learnt and tuned policies never see the part that they are judged on. The estimator that decides is fixed in the
    configuration before any result is seen.
    """
    from experiments.cli.results import curve_table, gate_table, metrics_table, results_table, volume_table
    from experiments.judge.backtest import BacktestRequest, backtest
    from experiments.judge.contenders import LEARNED
    from experiments.judge.launch.practice import practice_of
    from experiments.report.first_screen import first_screen
    from experiments.report.launch_metrics import absent_metrics
    from experiments.report.volume_curve import curve_lines
    from experiments.settings import BacktestConfig, compose_settings

    with guarded(as_json=as_json):
        free_out(out, *REPORT, replace=replace, inputs=[log, columns])
        if practice is not None:
            baseline = practice_of(practice, baseline)
        config = compose_settings("backtest", overrides or [], BacktestConfig)
        request = BacktestRequest(
            log=log,
            metric=metric,
            out=out,
            train_fraction=train_fraction,
            split=split,
            baseline=baseline,
            columns=columns,
            override_audit=override_audit,
            volume=volume,
            recency=recency,
        )
        with progress("backtesting", None) as advance:
            output = backtest(request, config, advance)
        deciding = [row for row in output.results if row.estimator == config.deciding_estimator]
        lines = [*first_screen(output, baseline, config.deciding_estimator).lines, *output.log.notes]
        tables = [results_table(deciding, f"{metric} on {file_names(log)}, by {config.deciding_estimator}")]
        if output.volume:
            tables.append(volume_table(output.volume))
        if output.volume_curve is not None:
            tables.append(curve_table(output.volume_curve))
            lines += curve_lines(output.volume_curve)
        if output.metrics:
            shown = [row for row in output.metrics if row.policy in (baseline, LEARNED)]
            absent = absent_metrics(shown, (baseline, LEARNED))
            known = [row for row in shown if row.label not in absent.split(", ")]
            tables.append(metrics_table(known, f"metrics, {baseline} first"))
            lines += [f"The log cannot say: {absent}."] if absent else []
        if output.gate is not None:
            tables.append(gate_table(output.gate))
        lines += [f"{name}: {path}" for name, path in output.files.items()]
        show(output, tables, lines, as_json=as_json)
        if exit_code and output.launch.policy != LEARNED:
            raise typer.Exit(STAY_EXIT_CODE)
