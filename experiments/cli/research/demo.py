"""`tactful demo`: the whole loop on data that the command makes itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from experiments.cli.console import Json, Replace, errors, free_out, guarded, show
from experiments.cli.contact_keys import FIXED_KEY

if TYPE_CHECKING:
    from experiments.demo import DemoOutput


def run(
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path("demo-out"),
    contacts: Annotated[int, typer.Option(min=1000, help="Contacts of the log, and of the live run.")] = 16_000,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same files.")] = 1,
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Simulate a log under today's segments, backtest, decide what to launch, and live with it for a month.

    Everything is SIMULATED. Takes about a minute.
    """
    from experiments.cli.research.simulate import tables
    from experiments.cli.results import results_table
    from experiments.cli.serve.decide import summary_tables
    from experiments.demo import demo
    from policies.parts.surrogate import STAGE_WORTH

    with guarded(as_json=as_json):
        free_out(out, replace=replace, folder=True)
        output = demo(out, contacts, seed, lambda line: errors.print(line, highlight=False))
        judged = output.backtest
        deciding = [row for row in judged.results if row.estimator == "dr" and not row.policy.startswith("always:")]
        offline = results_table(deciding, f"SIMULATED log: {STAGE_WORTH} per decision, by dr")
        lines = [
            *judged.log.notes,
            *output.said,
            *(f"{name}: {path}" for name, path in output.files.items()),
            f"policy: {judged.files['policy']}",
            f"decisions: {output.decisions.log}",
            FIXED_KEY,
        ]
        show(
            output,
            [*tables(output.simulated)[:1], offline, live_table(output), *summary_tables(output.decisions)[:1]],
            lines,
            as_json=as_json,
        )


def live_table(output: DemoOutput) -> Table:
    """The estimate beside what then happened, USD per decision."""
    table = Table(
        *("policy", "log said, against segments", "first days live, likewise", f"{output.live_days} days live"),
        "against segments",
        *("verdict", "sends per contact", "list lost"),
        title=f"SIMULATED, {output.live_contacts:,} fresh contacts, same luck for all: USD per decision",
    )
    for name, row in output.live.items():
        said = "-" if row.offline is None else f"{row.offline:+.4f}"
        if row.offline_low is not None and row.offline_high is not None:
            said += f" ({row.offline_low:+.4f} to {row.offline_high:+.4f})"
        first = "-" if row.live_first is None else f"{row.live_first:+.4f}"
        gap = "-"
        if row.difference is not None and row.difference_low is not None and row.difference_high is not None:
            gap = f"{row.difference:+.5f} ({row.difference_low:+.5f} to {row.difference_high:+.5f})"
        table.add_row(
            *(name, said, first, f"{row.live:.4f} +- {row.live_stderr:.4f}", gap, row.verdict or "-"),
            *(f"{row.sends:.1f}", f"{100 * row.list_lost:.1f} %"),
        )
    return table
