"""`tactful experiment`: a sweep over scenarios, policies and seeds in the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from experiments.cli.console import REPORT, Json, Overrides, Replace, free_out, guarded, make_places, progress, show

if TYPE_CHECKING:
    from experiments.season.outputs import ExperimentOutput, SeasonRow


def run(
    out: Annotated[Path, typer.Option(help="Folder for report.html, report.json, results.parquet and season.svg.")],
    sweep: Annotated[
        bool, typer.Option("--multirun", "-m", help="All values of every axis; else the first of each.")
    ] = False,
    docs: Annotated[Path | None, typer.Option(help="Also write the result as Markdown, its picture beside it.")] = None,
    replace: Replace = False,
    as_json: Json = False,
    overrides: Overrides = None,
) -> None:
    """Play scenarios x variants x policies x seeds under the same luck, and compare what the policies earn.

    Overrides, for instance: experiment=season scenarios=[newsletter,winback] policies=[never,segments,vw] seeds=5
    contacts=20000 days=90 workers=2. Further experiments stand in conf/experiment. A run that was killed goes on when
    it is asked for again.
    """
    from experiments.report.season import write_docs
    from experiments.season.config import ExperimentConfig
    from experiments.season.run import ExperimentRequest, asked, cells_of, experiment
    from experiments.settings import compose_settings

    with guarded(as_json=as_json):
        free_out(out, *REPORT, replace=replace)
        make_places(docs)
        config = compose_settings("experiment", overrides or [], ExperimentConfig)
        cells = cells_of(asked(config, sweep=sweep))
        request = ExperimentRequest(out, sweep, tuple(overrides or ()))
        with progress(f"playing {cells} seasons", float(cells)) as advance:
            output = experiment(request, config, advance)
        lines = [*output.said, "", *output.notes, *(f"{name}: {path}" for name, path in output.files.items())]
        if output.played < output.cells:
            lines.append(f"{output.cells - output.played} of {output.cells} seasons were there from an earlier run")
        if docs is not None:
            lines.append(f"docs: {write_docs(output, docs)}")
        show(output, tables(output), lines, as_json=as_json)


def tables(output: ExperimentOutput) -> list[Table]:
    """One table per scenario and variant."""
    found = []
    for gap in output.gaps:
        table = Table(
            *("policy", "USD per contact", f"against {output.baseline}", "interval", "sends", "unsubscribes"),
            *("complaints", "at a discount", "regret per day", "gap closed"),
            title=f"SIMULATED: {gap.scenario}, {gap.variant}, {output.days} days, seeds {len(output.seeds)}",
        )
        for row in output.rows:
            if (row.scenario, row.variant) == (gap.scenario, gap.variant):
                table.add_row(*cells_text(row))
        found.append(table)
    return found


def cells_text(row: SeasonRow) -> list[str]:
    """One line of the table."""
    return [
        row.policy,
        f"{row.profit:.3f}",
        "-" if row.difference is None else f"{row.difference:+.3f} {row.verdict}",
        "-" if row.difference_low is None else f"{row.difference_low:+.3f} to {row.difference_high:+.3f}",
        f"{row.sends:.2f}" + (" (more)" if row.more_sends else ""),
        f"{row.unsubscribes:.4f}" + (" (more)" if row.more_unsubscribes else ""),
        f"{row.complaints:.5f}",
        "-" if row.discount_share is None else f"{100 * row.discount_share:.1f} %",
        "-" if row.regret_per_day is None else f"{row.regret_per_day:.5f}",
        "-" if row.gap_closed is None else f"{100 * row.gap_closed:.0f} %",
    ]
