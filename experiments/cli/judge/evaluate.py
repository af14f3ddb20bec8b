"""`tactful evaluate`: judge policies on a log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.console import REPORT, Json, OverrideLearnt, Overrides, Replace, free_out, guarded, progress, show
from experiments.cli.inputs import Log, file_names

DEFAULT_ESTIMATORS = "ips,clipped,snips,dm,dr"


def run(
    log: Log,
    policy: Annotated[
        list[str],
        typer.Option(help="always:ACTION | uniform | logged | column:NAME[@action] | FOLDER | NAME@LOG; repeatable."),
    ],
    metric: Annotated[str, typer.Option(help="The reward to judge by, a metric of the log.")],
    baseline: Annotated[str, typer.Option(help="Policy that the differences are taken to.")] = "logged",
    estimator: Annotated[
        str, typer.Option(help="Comma-separated; docs/evaluation.md names them all.")
    ] = DEFAULT_ESTIMATORS,
    out: Annotated[Path | None, typer.Option(help="Folder for report.html, report.json and results.parquet.")] = None,
    columns: Annotated[
        Path | None, typer.Option(help="CSV or Parquet keyed by decision_id with further columns for column:NAME.")
    ] = None,
    not_exact: Annotated[
        bool,
        typer.Option(
            "--not-exact", help="Allow a model-based estimate of a log without propensities, marked `exact: false`."
        ),
    ] = False,
    quantiles: Annotated[
        str, typer.Option(help="Comma-separated levels in (0, 1): quantiles of the reward under each policy.")
    ] = "",
    uplift: Annotated[
        bool,
        typer.Option("--uplift", help="How well each policy's chance to send says whom a message helps: AUUC, Qini."),
    ] = False,
    volume: Annotated[
        bool,
        typer.Option("--volume", help="Value and harm against the share of sends kept, for the first trained policy."),
    ] = False,
    recency: Annotated[str, typer.Option(help="With --volume: the numeric feature that counts days since.")] = "",
    override_learnt: OverrideLearnt = None,
    replace: Replace = False,
    as_json: Json = False,
    overrides: Overrides = None,
) -> None:
    """Off-policy evaluation with intervals, differences to a baseline, diagnostics and verdicts.

    Clusters are what the log's mapping declares. A log without propensities is refused unless --not-exact asks for a
    model's opinion. Overrides, for instance: evaluation.alpha=0.1 evaluation.interval=bootstrap.
    """
    from experiments.cli.results import curve_table, metrics_table, quantiles_table, results_table, uplift_table
    from experiments.judge.evaluate import EvaluateRequest, evaluate_log, levels_of
    from experiments.report.evaluation import drawn_rows
    from experiments.report.launch_metrics import missing_metrics
    from experiments.report.volume_curve import curve_lines
    from experiments.report.words import Names, tried
    from experiments.settings import EvaluateConfig, compose_settings

    with guarded(as_json=as_json):
        free_out(out, *REPORT, replace=replace, inputs=[log, columns])
        config = compose_settings("evaluate", overrides or [], EvaluateConfig)
        request = EvaluateRequest(
            log=log,
            policies=tuple(policy),
            baseline=baseline,
            metric=metric,
            estimators=tuple(name.strip() for name in estimator.split(",") if name.strip()),
            out=out,
            columns=columns,
            allow_inexact=not_exact,
            quantiles=levels_of(quantiles),
            uplift=uplift,
            volume=volume,
            recency=recency,
            override_learnt=override_learnt,
        )
        with progress("evaluating", None) as advance:
            output = evaluate_log(request, config, advance)
        said = tried(drawn_rows(output.results), "policies", Names(output.log.hold, baseline))
        lines = [said] if said else []
        lines += [f"{name}: {path}" for name, path in output.files.items()]
        lines += [f"skipped {s.policy} by {s.estimator}: {s.reason}" for s in output.skipped]
        tables = [results_table(output.results, f"{metric} on {file_names(log)}")]
        if output.metrics:
            tables.append(metrics_table(output.metrics, f"metrics, {baseline} first"))
            lines = [*(f"n/a {line}" for line in missing_metrics(output.metrics)), *lines]
        if output.quantiles:
            tables.append(quantiles_table(output.quantiles, f"quantiles of {metric}, {baseline} first"))
        if output.uplift:
            tables.append(uplift_table(output.uplift, f"whom a message helps, by the chance to send ({metric})"))
        if output.volume_curve:
            tables.append(curve_table(output.volume_curve))
            lines += curve_lines(output.volume_curve)
        show(
            output,
            tables,
            [*output.log.notes, *lines],
            as_json=as_json,
        )
