"""`tactful import`: turn a log that others wrote into our records, by a mapping."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from experiments.cli.console import Json, Replace, contact_key, free_out, guarded, progress, show
from experiments.outputs import ImportOutput

if TYPE_CHECKING:
    from engine.mapping.importer import ImportReport


def run(
    mapping: Annotated[str, typer.Option(help="A shipped mapping by name, or the path of a mapping yaml.")],
    source: Annotated[Path, typer.Option("--input", help="CSV (.gz), Parquet or JSON-lines file.")],
    out: Annotated[Path, typer.Option(help="The log to write; rejected rows go to a file beside it.")],
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Import a log by a mapping; nothing is dropped in silence.

    Rows that break the mapping are written with their number and reason to OUT.rejects.csv. Contact ids are
    replaced by keyed hashes (key: environment variable TACTFUL_CONTACT_KEY).
    """
    from engine.mapping.dialect import load_mapping
    from engine.mapping.importer import import_log

    with guarded(as_json=as_json):
        free_out(out, replace=replace)
        with progress("importing", None) as advance:
            report = import_log(
                load_mapping(mapping), source, out, contact_key=contact_key(), progress=lambda _done, _all: advance(1.0)
            )
        output = _output(report, out)
        show(
            output,
            [_table(output)],
            [f"log: {out}", *([f"rejects: {output.rejects}"] if output.rejects else []), *output.notes],
            as_json=as_json,
        )


def _output(report: ImportReport, out: Path) -> ImportOutput:
    return ImportOutput(
        rows_read=report.rows_read,
        rows_kept=report.rows_kept,
        rows_rejected=report.rows_rejected,
        reasons=dict(report.reasons),
        actions=report.actions,
        action_names=tuple(report.action_names),
        propensity=report.propensity,
        log=str(out),
        rejects=str(report.rejects_file) if report.rejects_file else None,
        notes=tuple(report.notes),
    )


def _table(output: ImportOutput) -> Table:
    table = Table("rows read", "kept", "rejected", "actions", "propensity", title="Import")
    table.add_row(
        *map(str, (output.rows_read, output.rows_kept, output.rows_rejected, output.actions, output.propensity))
    )
    for reason, rows in output.reasons.items():
        table.add_row("", "", f"{rows}: {reason}", "", "")
    return table
