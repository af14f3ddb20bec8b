"""`tactful dispatch`: the guardrails again, at the instant of the sends."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from engine.errors import UnsettledError
from experiments.cli.console import Json, Replace, contact_key, end, guarded, progress, show
from experiments.outputs import DispatchOutput

SHOWN = 5


def run(
    decisions: Annotated[Path, typer.Option(help="A decision log that `tactful decide` wrote.")],
    now: Annotated[str, typer.Option(help="Instant at which the sends leave, ISO 8601 with offset.")],
    out: Annotated[Path, typer.Option(help="Outcome file to write: events dispatched and suppressed (Parquet).")],
    contacts: Annotated[Path | None, typer.Option(help="The contacts as they are now; not with --state.")] = None,
    state: Annotated[
        str | None, typer.Option(help="Store of contact state, in which the sends were reserved at the decision.")
    ] = None,
    pack: Annotated[str | None, typer.Option(help="Pack in force now, by name or path; else the log's own.")] = None,
    conditions: Annotated[Path | None, typer.Option(help="The sender's side now (yaml or JSON).")] = None,
    done: Annotated[
        list[Path] | None, typer.Option(help="Outcome files of earlier runs; what they name is over.")
    ] = None,
    reasons: Annotated[Path | None, typer.Option(help="Write why each send was suppressed (Parquet).")] = None,
    reserved: Annotated[bool, typer.Option(help="The contacts' sends hold these sends already, as reserved.")] = False,
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Judge the due sends of a decision log once more, with the contacts as they are now.

    A contact who withdrew consent in between, or whose quiet hours have begun, gets nothing: the decision becomes
    `suppressed`, and learning and evaluation leave it out. Give the outcomes of earlier runs with --done. With --state
    a run that was killed may be run again: it goes on, and names the sends of which it cannot know (exit code 9).
    """
    from experiments.decide import parse_now
    from experiments.dispatch import DispatchRequest, dispatch_file

    with guarded(as_json=as_json):
        request = DispatchRequest(
            decisions,
            contacts,
            parse_now(now),
            out,
            contact_key(),
            pack=pack,
            conditions=conditions,
            done=tuple(done or ()),
            reasons=reasons,
            reserved=reserved,
            state=state,
            replace=replace,
        )
        with progress("dispatching", None) as advance:
            output = dispatch_file(request, advance)
        show(output, summary_tables(output), [f"outcomes: {output.outcomes}"], as_json=as_json)
        if output.unsettled:
            end(unsettled_error(output))


def unsettled_error(output: DispatchOutput) -> UnsettledError:
    """What to do about sends that another run took."""
    shown = ", ".join(output.unsettled_ids[:SHOWN])
    more = f" and {output.unsettled - SHOWN} more" if output.unsettled > SHOWN else ""
    return UnsettledError(
        f"{output.unsettled} sends were taken by another run and nobody has settled them, so nobody knows whether they "
        f"left: {shown}{more}",
        hint="if no dispatch is at work, ask who sends; then `tactful state settle`, and dispatch again",
    )


def summary_tables(output: DispatchOutput) -> list[Table]:
    """What left, what did not, and which rules refused it."""
    names = ("dispatched", "suppressed", "not_due", "deferred", "unsettled", "done", "holds")
    sends = Table(*names, title=f"{output.decisions} decisions")
    sends.add_row(*(str(getattr(output, name)) for name in names))
    rules = Table("rule", "sends suppressed", title="Guardrails at dispatch")
    for name, times in output.reasons.items():
        rules.add_row(name, str(times))
    return [sends, rules]
