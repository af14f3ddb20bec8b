"""`tactful dispatch`: the guardrails again, at the instant of the sends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.table import Table

from engine.errors import UnsettledError
from experiments.cli.console import Json, Replace, end, free_out, guarded, make_places, progress, show
from experiments.cli.contact_keys import KeyFile, key_if_given, key_line, key_of_log, key_output
from experiments.cli.inputs import Decisions, Done, OptionalContacts

if TYPE_CHECKING:
    from experiments.serve.dispatch import DispatchOutput

SHOWN = 5


def run(
    decisions: Decisions,
    now: Annotated[str, typer.Option(help="Instant at which the sends leave, ISO 8601 with offset.")],
    out: Annotated[Path, typer.Option(help="Outcome file to write: events dispatched and suppressed (Parquet).")],
    contacts: OptionalContacts = None,
    state: Annotated[
        str | None, typer.Option(help="Store of contact state, in which the sends were reserved at the decision.")
    ] = None,
    pack: Annotated[str | None, typer.Option(help="Pack in force now, by name or path; else the log's own.")] = None,
    conditions: Annotated[Path | None, typer.Option(help="The sender's side now (yaml or JSON).")] = None,
    done: Done = None,
    reasons: Annotated[Path | None, typer.Option(help="Write why each send was suppressed (Parquet).")] = None,
    reserved: Annotated[bool, typer.Option(help="The contacts' sends hold these sends already, as reserved.")] = False,
    key_file: KeyFile = None,
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Judge the due sends of a decision log once more, with the contacts as they are now.

    A contact who withdrew consent in between, or whose quiet hours have begun, gets nothing: the decision becomes
    `suppressed`, and learning and evaluation leave it out. Give the outcomes of earlier runs with --done. With --state
    a run that was killed may be run again: it goes on, and names the sends of which it cannot know (exit code 9).
    """
    from experiments.serve.decide import parse_now
    from experiments.serve.dispatch import DispatchRequest, dispatch_file

    with guarded(as_json=as_json):
        instant = parse_now(now)
        # What else is there may be this very run's own, which goes on: `dispatch_file` tells.
        free_out(out, replace=True, inputs=[decisions, contacts, conditions, key_file])
        make_places(reasons)
        # A store knows its contacts by the pseudonyms of the log: a key is compared there, and not needed.
        found = key_if_given(key_file, owner="dispatch")
        if found is None and state is None:
            found = key_of_log(decisions, out, key_file, owner="dispatch")
        request = DispatchRequest(
            decisions,
            contacts or None,
            instant,
            out,
            "" if found is None else found.text,
            pack=pack,
            conditions=conditions,
            done=done or (),
            reasons=reasons,
            reserved=reserved,
            state=state,
            replace=replace,
        )
        with progress("dispatching", None) as advance:
            output = dispatch_file(request, advance)
        output = msgspec.structs.replace(output, contact_key=None if found is None else key_output(found))
        said = [] if found is None else [key_line(found)]
        show(output, summary_tables(output), [f"outcomes: {output.outcomes}", *said], as_json=as_json)
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
        code = name.rpartition(" ")[0]
        rules.add_row(f"{code} {output.rules[code]}" if code in output.rules else name, str(times))
    return [sends, rules]
