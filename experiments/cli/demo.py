"""`tactful demo`: the whole loop on data that the command makes itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.console import Json, errors, guarded, show


def run(
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path("demo-out"),
    contacts: Annotated[int, typer.Option(min=1000, help="Contacts of the logged campaign.")] = 40_000,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same files.")] = 1,
    as_json: Json = False,
) -> None:
    """Simulate a randomised campaign, backtest on its log, decide for fresh contacts. Takes under a minute."""
    from experiments.cli.decide import summary_tables
    from experiments.cli.results import results_table
    from experiments.demo import METRIC, demo

    with guarded(as_json=as_json):
        output = demo(out, contacts, seed, lambda line: errors.print(line, highlight=False))
        judged = output.backtest
        deciding = [row for row in judged.results if row.estimator == "dr" and not row.policy.startswith("always:")]
        lines = [
            *judged.log.notes,
            f"launch: {judged.launch.policy} ({judged.launch.verdict})",
            judged.launch.reason,
            f"report: {judged.files['report']}",
            f"policy: {judged.files['policy']}",
            f"decisions: {output.decisions.log}",
        ]
        learned, today, nothing = (output.truth[name] for name in ("vw", "static_segments", "always:hold"))
        lines.append(
            f"true values in this world: vw {learned:.4g}, static_segments {today:.4g} "
            f"({100 * (learned / today - 1):+.1f} % for vw), always:hold {nothing:.4g}"
        )
        show(
            output,
            [*summary_tables(output.decisions)[:1], results_table(deciding, f"{METRIC} per decision, by dr")],
            lines,
            as_json=as_json,
        )
