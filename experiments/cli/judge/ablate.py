"""`tactful ablate`: which signals and which decisions carry the value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from experiments.cli.console import REPORT, Json, Overrides, Replace, free_out, guarded, progress, show
from experiments.cli.inputs import Log
from experiments.report.words import figure_text, interval_text

if TYPE_CHECKING:
    from experiments.judge.ablate import LiftRow


def run(
    log: Log,
    metric: Annotated[str, typer.Option(help="The reward to learn and to judge by; more is better.")],
    out: Annotated[Path, typer.Option(help="Folder for the report.")],
    train_fraction: Annotated[float, typer.Option(help="Share of the log that trains, in (0, 1).")] = 0.5,
    split: Annotated[Literal["contact", "time"], typer.Option(help="What the split keeps apart.")] = "contact",
    replace: Replace = False,
    as_json: Json = False,
    overrides: Overrides = None,
) -> None:
    """Learn again without each signal group, and with each of the five decisions alone; say what carries the value.

    Nothing that is learnt sees the side of the log that judges. Intervals of one table hold together.
    """
    from experiments.judge.ablate import AblateConfig, AblateRequest, ablate
    from experiments.report.ablation import answer
    from experiments.settings import compose_settings

    with guarded(as_json=as_json):
        free_out(out, *REPORT, replace=replace, inputs=[log])
        config = compose_settings("ablate", overrides or [], AblateConfig)
        request = AblateRequest(log, metric, out, train_fraction, split)
        with progress("taking signals away", None) as advance:
            output = ablate(request, config, advance)
        tables = [
            _table("signal groups: lift over the policy without", (output.context, *output.signals)),
            _table("decisions learnt alone: lift over the best constant message", output.decisions),
            _table("beside them", output.references),
        ]
        lines = [*output.log.notes, answer(output)]
        lines += [f"{name}: n/a, {why}" for name, why in output.skipped.items()]
        lines += [f"{name}: {path}" for name, path in output.files.items()]
        show(output, tables, lines, as_json=as_json)


def _table(title: str, rows: Sequence[LiftRow]) -> Table:
    table = Table("name", "lift", "interval", "value", "verdict", title=title)
    for row in rows:
        if row.verdict == "insufficient":
            table.add_row(row.name, "-", "-", "-", row.verdict, style="dim italic")
        else:
            figures = (figure_text(row.lift), interval_text(row.low, row.high), figure_text(row.value))
            table.add_row(row.name, *figures, row.verdict)
    return table
