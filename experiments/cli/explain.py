"""`tactful explain`: why one decision came out as it did."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from experiments.cli.console import Json, guarded, show
from experiments.outputs import ExplainOutput


def run(
    log: Annotated[Path, typer.Option(help="A decision log that `tactful decide` wrote.")],
    decision: Annotated[str, typer.Option(help="A decision id of the log.")],
    policy: Annotated[Path | None, typer.Option(help="The policy's folder, where it has moved.")] = None,
    as_json: Json = False,
) -> None:
    """Show every action of a decision with its score, probability and the rules that removed it."""
    from experiments.explain import explain_decision

    with guarded(as_json=as_json):
        output = explain_decision(log, decision, policy)
        show(
            output,
            [_table(output)],
            [f"chosen: {output.action} with propensity {output.propensity:.6g}"],
            as_json=as_json,
        )


def _table(output: ExplainOutput) -> Table:
    table = Table(title=f"Decision {output.decision_id} at {output.decided_at}")
    table.add_column("action", no_wrap=True)
    table.add_column("score", justify="right")
    table.add_column("probability", justify="right")
    table.add_column("removed by")
    for row in sorted(output.actions, key=lambda row: (-row.probability, not row.eligible)):
        removed = "\n".join(
            f"{r.rule}: {r.reason}" + (f", next at {r.next_allowed_at}" if r.next_allowed_at else "")
            for r in row.removed_by
        )
        chosen = " <- chosen" if row.action == output.action else ""
        table.add_row(
            row.action + chosen,
            f"{row.score:.4g}" if row.score is not None else "",
            f"{row.probability:.4g}",
            removed,
            style="" if row.eligible else "dim",
        )
    return table
