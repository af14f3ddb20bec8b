"""`tactful promote` and `tactful rollback`: let a new version serve if a recent log lets it, or the one before it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from experiments.cli.console import Json, Overrides, errors, guarded, progress, show, signer
from experiments.cli.inputs import Log
from experiments.report.words import figure_text

if TYPE_CHECKING:
    from engine.ope.metrics.gate import Gate
    from experiments.judge.promotion import PromoteOutput, RollbackOutput


def run(
    policy: Annotated[Path, typer.Option(help="Folder of the new version.")],
    live: Annotated[Path, typer.Option(help="Live folder; the first promotion makes it.")],
    log: Log,
    metric: Annotated[str, typer.Option(help="Primary metric of the log; more is better.")],
    why: Annotated[str, typer.Option(help="Why, in words; for the history.")] = "",
    who: Annotated[str, typer.Option(help="Who, for the history; the user of this process where left out.")] = "",
    override: Annotated[str, typer.Option(help="Promote whatever the gate says, for this reason.")] = "",
    as_json: Json = False,
    overrides: Overrides = None,
) -> None:
    """Promote a new version where it is shown to be not worse than the live one; else leave with exit code 8.

    Judged on the primary metric, the sends, and the unsubscribes and complaints that the log has. Every attempt is
    written into the live folder's history.
    """
    from engine.errors import GateError
    from experiments.judge.promotion import Signature, promote
    from experiments.judge.promotion_gate import PromoteConfig
    from experiments.settings import compose_settings

    with guarded(as_json=as_json):
        config = compose_settings("promote", overrides or [], PromoteConfig)
        signed = Signature(who or signer(), datetime.now(UTC), why)
        with progress("judging", None) as advance:
            output = promote(policy, live, log, metric, config, signed, override=override, advance=advance)
        show(output, [_table(output.gate)] if output.gate else [], _lines(output), as_json=as_json)
    if not output.promoted:
        reason = output.gate.reason if output.gate else "not judged"
        errors.print(f"error: not promoted: {reason}", style="red", markup=False, highlight=False, soft_wrap=True)
        serves = f"version {output.previous} goes on serving" if output.previous else "nothing serves, as before"
        hint = f"hint: {serves}; judge on a log with more rows, or promote all the same with --override REASON"
        errors.print(hint, markup=False, soft_wrap=True)
        raise typer.Exit(GateError.exit_code)


def _table(gate: Gate) -> Table:
    table = Table(
        *("metric", "role", gate.baseline, gate.policy, "gain", "bound", "limit", "verdict"),
        title=f"{gate.policy} against {gate.baseline}, one-sided error {gate.error:g}",
    )
    for check in gate.checks:
        figures = (check.baseline_value, check.value, check.gain, check.bound, check.limit)
        table.add_row(check.metric, check.role, *map(figure_text, figures), check.verdict)
    return table


def _lines(output: PromoteOutput) -> list[str]:
    before = output.previous or "none"
    if output.promoted:
        done = f"serves now in {output.live}, as change number {output.sequence}; before: {before}"
    else:
        done = f"was not promoted to {output.live}; what serves there: {before}"
    lines = [f"version {output.version} {done}"]
    if output.overridden:
        lines.append(f"the gate was overridden: {output.overridden}")
    return [*lines, *([output.gate.reason] if output.gate else []), *output.notes]


def rollback(
    live: Annotated[Path, typer.Option(help="Live folder.")],
    to: Annotated[str | None, typer.Option(help="A version of its history; the one before the live one else.")] = None,
    why: Annotated[str, typer.Option(help="Why, in words; for the history.")] = "",
    who: Annotated[str, typer.Option(help="Who, for the history; the user of this process where left out.")] = "",
    as_json: Json = False,
) -> None:
    """Let an earlier version serve again; its hashes are verified first, and the history says who, when and why."""
    from experiments.judge.promotion import Signature
    from experiments.judge.promotion import rollback as roll_back

    with guarded(as_json=as_json):
        roll_back(live, Signature(who or signer(), datetime.now(UTC), why), to, told=partial(_tell, as_json=as_json))


def _tell(output: RollbackOutput, *, as_json: bool) -> None:
    lines = [f"version {output.version} serves now; before: {output.previous}", *output.notes]
    show(output, [], lines, as_json=as_json)
