"""`tactful remember`: what each contact answered before, counted into a log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from experiments.cli.console import Json, Replace, free_out, guarded, progress, show
from experiments.cli.inputs import Log


def run(
    log: Log,
    metric: Annotated[str, typer.Option(help="The stage to remember, a metric of 0 and 1: clicked, visited.")],
    known_days: Annotated[
        float,
        typer.Option("--known-days", help="Days from a decision until its stage is known: the join's window."),
    ],
    out: Annotated[Path, typer.Option(help="The log with counts to write (Parquet).")],
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Count each contact's own sends and hits before every decision, by channel, hour and attributes of the arms.

    Only what was decided and known before a decision is counted for it. `tactful train` on the new log lets the chance
    of the stage remember the contact where that is worth it.
    """
    from experiments.serve.remember import remember

    with guarded(as_json=as_json):
        free_out(out, replace=replace, inputs=[log])
        with progress("remembering", None):
            output = remember(log, metric, known_days, out)
        table = Table("kind", "levels", title=f"{output.sends:,} sends, {output.hits:,} of them {output.metric}")
        for kind, levels in output.kinds.items():
            table.add_row(kind, ", ".join(levels))
        show(output, [table], [f"log: {out}"], as_json=as_json)
