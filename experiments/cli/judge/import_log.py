"""`tactful import`: turn a log that others wrote into our records, by a mapping."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from experiments.cli.console import Json, Replace, free_out, guarded, progress, show
from experiments.cli.contact_keys import KeyFile, key_beside, key_line, key_output
from experiments.outputs import CommandOutput, KeyOutput

if TYPE_CHECKING:
    from engine.contacts.key import ContactKey
    from engine.mapping.importer import ImportReport
    from engine.storage.given import Given


class ImportOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful import --json`.

    Attributes:
        contact_key: the key under which the contacts' ids were replaced.
        notes: sentences that every report of the log repeats, the warnings among them.
        warnings: what is wrong with rows that were lost; the audit fails on them.
    """

    rows_read: int
    rows_kept: int
    rows_rejected: int
    reasons: dict[str, int]
    actions: int
    action_names: tuple[str, ...]
    propensity: str
    log: str
    rejects: str | None
    notes: tuple[str, ...] = ()
    contact_key: KeyOutput | None = None


def run(
    mapping: Annotated[str, typer.Option(help="A shipped mapping by name, or the path of a mapping yaml.")],
    source: Annotated[Path, typer.Option("--input", help="CSV (.gz), Parquet or JSON-lines file.")],
    out: Annotated[Path, typer.Option(help="The log to write; rejected rows go to a file beside it.")],
    key_file: KeyFile = None,
    show_rejected_values: Annotated[
        bool, typer.Option(help="Write ids and features of rejected rows as they are; they are masked by default.")
    ] = False,
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Import a log by a mapping; nothing is dropped in silence.

    Rows that break the mapping are written with their number and reason to OUT.rejects.csv. Contact ids are
    replaced by keyed hashes. The key is --contact-key-file, or the environment variable TACTFUL_CONTACT_KEY or
    TACTFUL_CONTACT_KEY_FILE, or contact.key in the folder of OUT, where a random one is made on first use.
    """
    from engine.mapping.dialect import load_mapping
    from engine.mapping.importer import import_log
    from engine.mapping.rejects_file import rejects_path

    with guarded(as_json=as_json):
        spec = load_mapping(mapping)
        inputs: list[Given | None] = [source, mapping, key_file]
        free_out(out, replace=replace, inputs=inputs)
        free_out(rejects_path(out), replace=True, inputs=inputs)
        found = key_beside(out, key_file, owner="import")
        with progress("importing", None) as advance:
            report = import_log(
                spec,
                source,
                out,
                contact_key=found.text,
                progress=lambda _done, _all: advance(1.0),
                show_values=show_rejected_values,
            )
        output = _output(report, out, found)
        show(
            output,
            [_table(output)],
            [
                f"log: {out}",
                *([f"rejects: {output.rejects}"] if output.rejects else []),
                key_line(found),
                *output.notes,
            ],
            as_json=as_json,
        )


def _output(report: ImportReport, out: Path, found: ContactKey) -> ImportOutput:
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
        contact_key=key_output(found),
        warnings=tuple(report.warnings),
    )


def _table(output: ImportOutput) -> Table:
    table = Table("rows read", "kept", "rejected", "actions", "propensity", title="Import")
    table.add_row(
        *map(str, (output.rows_read, output.rows_kept, output.rows_rejected, output.actions, output.propensity))
    )
    for reason, rows in output.reasons.items():
        table.add_row("", "", f"{rows}: {reason}", "", "")
    return table
