"""`tactful state`: facts into the store of contact state, leases that are over out of it, and open ends settled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from experiments.cli.console import Json, guarded, progress, show
from experiments.cli.contact_keys import KeyFile, key_line, key_of_store, key_output
from experiments.cli.inputs import DecisionLog, Facts, OptionalOutcomes

app = typer.Typer(
    name="state",
    help="The store of contact state: record facts, free what dead processes held, settle what they left open.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Url = Annotated[str, typer.Option(help="The store: sqlite:///FILE or postgresql://USER@HOST/NAME.")]


@app.command()
def record(
    state: Url,
    facts: Facts,
    create: Annotated[bool, typer.Option("--create", help="Make a new store where there is none.")] = False,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Record consents, withdrawals, suppressions, events, profiles, past sends, raw replies and providers' codes.

    The same fact again changes nothing, so a file may be given twice. A first file needs --create: a URL that is
    mistyped would else make another store, and facts that are recorded there stop nothing.

    A reply is read and not kept: a stop closes its channel, one in doubt closes it until somebody settles it
    (docs/state.md).
    """
    from experiments.serve.state import record_file

    with guarded(as_json=as_json):
        found = key_of_store(state, key_file, owner="state record", create=create)
        with progress("recording", None) as advance:
            output = record_file(state, facts, found.text, create=create, advance=advance)
        output = msgspec.structs.replace(output, contact_key=key_output(found))
        table = Table("fact", "rows", title=f"{output.rows} rows, {output.new} new facts")
        for name, rows in sorted(output.kinds.items()):
            table.add_row(name, str(rows))
        shown = [table]
        for title, read in (("replies", output.replies), ("provider codes", output.provider_codes)):
            if read:
                shown.append(Table("read as", "rows", title=title))
                for name, rows in sorted(read.items()):
                    shown[-1].add_row(name, str(rows))
        notes = [
            f"{rows} facts name the channel {name!r}, which is none of the usual ones: unless the catalog has it, "
            "those that speak against a send close every channel"
            for name, rows in output.unusual_channels.items()
        ]
        show(output, shown, [*notes, key_line(found)], as_json=as_json)


@app.command()
def expire(
    state: Url,
    now: Annotated[str, typer.Option(help="Leases that ended by then are over; ISO 8601 with offset.")],
    as_json: Json = False,
) -> None:
    """Release reservations and quota of processes that died, and list the sends that nobody has settled."""
    from experiments.serve.decide import parse_now
    from experiments.serve.state import expire_at

    with guarded(as_json=as_json):
        output = expire_at(state, parse_now(now))
        table = Table("released", "quota grants", "unsettled", title="Leases that are over")
        table.add_row(str(output.released), str(output.quota_grants), str(len(output.unsettled)))
        show(output, [table], [f"unsettled: {name}" for name in output.unsettled], as_json=as_json)


@app.command()
def unsettled(state: Url, as_json: Json = False) -> None:
    """List the sends that some dispatch took and nobody has settled.

    A dispatch that was killed leaves them: only who sends knows whether they went out. Then `tactful state settle`.
    """
    from experiments.serve.state import unsettled_of

    with guarded(as_json=as_json):
        output = unsettled_of(state)
        table = Table("decision", "channel", "taken at", title=f"{len(output.unsettled)} sends are not settled")
        for send in output.unsettled:
            table.add_row(send.decision_id, send.channel, send.taken_at)
        show(output, [table], [], as_json=as_json)


@app.command()
def rebuild(
    state: Url,
    now: Annotated[str, typer.Option(help="Due sends without an outcome count as taken; ISO 8601 with offset.")],
    log: DecisionLog,
    outcomes: OptionalOutcomes = None,
    create: Annotated[bool, typer.Option("--create", help="Make a new store where there is none.")] = False,
    as_json: Json = False,
) -> None:
    """Bring an older copy of a store, or an empty one, up to date from logs and outcomes.

    Decisions, promises, sends and the use of limits come back; facts do not: record their files again.
    """
    from experiments.serve.decide import parse_now
    from experiments.serve.state import rebuild_store

    with guarded(as_json=as_json):
        output = rebuild_store(state, log, outcomes or (), parse_now(now), create=create)
        table = Table("send", "added or changed", title=f"{output.decisions} decisions put back")
        for name, times in output.sends.items():
            table.add_row(name, str(times))
        show(output, [table], output.said, as_json=as_json)


@app.command()
def settle(
    state: Url,
    now: Annotated[str, typer.Option(help="When this is said, ISO 8601 with offset.")],
    decision: Annotated[list[str] | None, typer.Option(help="A decision id; may be given several times.")] = None,
    ended: Annotated[str | None, typer.Option(help="How those decisions' sends ended: dispatched or failed.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="Or a file with the columns decision_id and state (dispatched, failed).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say how sends ended that a killed dispatch had taken: all of them or none.

    The next `tactful dispatch` of their log writes them into its outcome file.
    """
    from engine.errors import ParameterError
    from experiments.serve.decide import parse_now
    from experiments.serve.state import ends_in, settle_sends

    with guarded(as_json=as_json):
        if (file is None) != bool(decision) or bool(decision) != (ended is not None):
            raise ParameterError("decision", "settle", allowed="with --ended, or else --file", got=decision)
        ends = ends_in(file) if file is not None else dict.fromkeys(decision or (), ended or "")
        output = settle_sends(state, ends, parse_now(now))
        table = Table("settled", "known before", "still unsettled", title="Sends settled by hand")
        table.add_row(str(output.settled), str(output.known), str(output.unsettled))
        show(output, [table], [], as_json=as_json)
