"""`tactful audit`: may anything be learnt from this log, or judged on it?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from experiments.cli.console import REPORT, Json, Replace, free_out, guarded, progress, show
from experiments.cli.inputs import SEVERAL, OptionalOutcomes, split_overrides

if TYPE_CHECKING:
    from experiments.judge.audit import AuditOutput

_STYLES = {"pass": "green", "warn": "yellow", "fail": "red", "n/a": "dim"}


def run(
    log: Annotated[
        list[str],
        typer.Argument(metavar="LOG... [KEY=VALUE]...", help=f"A log in our schema, then overrides. {SEVERAL}"),
    ],
    outcomes: OptionalOutcomes = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Metric to look at; repeat for several; all of the log by default.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for report.html and report.json.")] = None,
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Audit a log before anything is learnt from it: propensities, ratios, duplicates, drift, leaks, consent, maturity.

    With --outcomes it also asks whether the outcomes are valid and have their decisions. Leaves with 3 where a check
    fails, else 0. Overrides, for instance: audit.uniform_share=0.05
    audit.explained=[0.4,0.8].
    """
    from engine.errors import DataError
    from experiments.judge.audit import AuditConfig, audit
    from experiments.settings import compose_settings

    with guarded(as_json=as_json):
        logs, overrides = split_overrides(log)
        free_out(out, *REPORT, replace=replace, inputs=[logs, outcomes])
        rule = compose_settings("audit", overrides, AuditConfig).audit
        with progress("auditing", None) as advance:
            output = audit(logs, rule, metrics=metric or (), outcomes=outcomes, out=out, advance=advance)
        show(output, [_questions(output), _checks(output)], _lines(output), as_json=as_json)
    if output.verdict == "fail":
        raise typer.Exit(DataError.exit_code)


def _checks(output: AuditOutput) -> Table:
    from experiments.report.audit import limit_text, measured_text

    table = Table("check", "verdict", "figure", "limit", "seen", title=f"{output.rows:,} rows of {output.log}")
    for found in output.findings:
        figures = (measured_text(found), "-" if found.value is None else limit_text(found))
        table.add_row(found.check, found.verdict, *figures, found.what, style=_STYLES[found.verdict])
    return table


def _questions(output: AuditOutput) -> Table:
    table = Table("consent record", "events with their decision", "events that pass the schema")
    asked = (output.readiness.permission, output.readiness.resolved, output.readiness.valid)
    table.add_row(*("n/a" if share is None else f"{100 * share:.4g} %" for share in asked))
    return table


def _lines(output: AuditOutput) -> list[str]:
    advice = [f"{found.check}: {found.advice}" for found in output.findings if found.verdict in ("warn", "fail")]
    files = [f"{name}: {path}" for name, path in output.files.items()]
    return [*output.notes, *advice, *files, f"audit: {output.verdict}"]
