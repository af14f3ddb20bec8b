"""`tactful explain`: why one decision came out as it did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from experiments.cli.console import Json, guarded, show
from experiments.cli.inputs import DecisionLog
from experiments.report.words import figure_text

if TYPE_CHECKING:
    from experiments.serve.explain import ComparisonRow, ExplainOutput


def run(
    log: DecisionLog,
    decision: Annotated[str, typer.Option(help="A decision id of the log.")],
    policy: Annotated[Path | None, typer.Option(help="The policy's folder, where it has moved.")] = None,
    as_json: Json = False,
) -> None:
    """Show what moved the score of a decision, and every action with its probability and the rules that removed it."""
    from experiments.serve.explain import explain_decision

    with guarded(as_json=as_json):
        output = explain_decision(log, decision, policy)
        tables = [_table(output), *(_parts(output, row) for row in output.comparisons)]
        show(output, tables, _lines(output), as_json=as_json)


def _lines(output: ExplainOutput) -> list[str]:
    """The decision in sentences."""
    chances = f"p_respond {figure_text(output.p_respond)}, p_unsub {figure_text(output.p_unsub)}"
    lines = [
        f"chosen: {output.action} with propensity {output.propensity:.6g} (group {output.group})",
        f"expected {output.metric}: {figure_text(output.expected_value)}; {chances}",
    ]
    lines += [f"{action} in parts: {words}" for action, words in output.in_parts.items()]
    held = output.holdback
    if held is not None and held.reason is not None:
        best = f"; the best was {held.best} at {figure_text(held.best_expected_value)}" if held.best else ""
        lines.append(f"nothing sent: {held.sentence}{best}, no message at {figure_text(held.hold_expected_value)}")
    elif held is not None and held.held:
        lines.append("sent although nothing is worth more than no message: exploration")
    for row in output.comparisons:
        moved = ", ".join(f"{part.name} {part.value:+.3g}" for part in row.groups[:4])
        lines.append(f"against {row.against}: {row.difference:+.4g} = {moved}{', ...' if len(row.groups) > 4 else ''}")
    lines += [
        f"{row.name}: {row.budget:.6g} {row.unit}, {row.expected:.6g} expected, price {row.price:.4g}"
        for row in (output.prices.rows if output.prices else ())
    ]
    return lines + list(output.notes)


def _parts(output: ExplainOutput, row: ComparisonRow) -> Table:
    """Signal groups by factor; both margins add up to the difference."""
    table = Table(title=f"{output.action} against {row.against}: {row.difference:+.4g} {output.metric}")
    table.add_column("signal group", no_wrap=True)
    for factor in row.factors:
        table.add_column(factor.name, justify="right")
    table.add_column("sum", justify="right")
    for group in row.groups:
        cells = (f"{group.of[f.name]:+.3g}" if f.name in group.of else "" for f in row.factors)
        table.add_row(group.name, *cells, f"{group.value:+.3g}")
    table.add_row("sum", *(f"{f.value:+.3g}" for f in row.factors), f"{row.difference:+.3g}", style="bold")
    return table


def _table(output: ExplainOutput) -> Table:
    table = Table(title=f"Decision {output.decision_id} at {output.decided_at}")
    table.add_column("action", no_wrap=True)
    table.add_column("score", justify="right")
    priced = any(row.price for row in output.actions)
    if priced:
        table.add_column("price", justify="right")
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
            *([f"{row.price:.4g}"] if priced else []),
            f"{row.probability:.4g}",
            removed,
            style="" if row.eligible else "dim",
        )
    return table
