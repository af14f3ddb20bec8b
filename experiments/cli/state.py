"""`tactful state`: facts into the store of contact state, leases that are over out of it, and open ends settled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from experiments.cli.console import Json, contact_key, guarded, progress, show

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
    facts: Annotated[Path, typer.Option(help="Facts: Parquet, CSV (.gz) or JSON lines, one a row.")],
    as_json: Json = False,
) -> None:
    """Record consents, withdrawals, suppressions, events, profiles and past sends.

    The same fact again changes nothing, so a file may be given twice.
    """
    from experiments.state import RecordRequest, record_file

    with guarded(as_json=as_json):
        with progress("recording", None) as advance:
            output = record_file(RecordRequest(state, facts, contact_key()), advance)
        table = Table("fact", "rows", title=f"{output.rows} facts, {output.new} of them new")
        for name, rows in sorted(output.kinds.items()):
            table.add_row(name, str(rows))
        show(output, [table], [], as_json=as_json)


@app.command()
def expire(
    state: Url,
    now: Annotated[str, typer.Option(help="Leases that ended by then are over; ISO 8601 with offset.")],
    as_json: Json = False,
) -> None:
    """Release reservations and quota of processes that died, and list the sends that nobody has settled."""
    from experiments.decide import parse_now
    from experiments.state import expire_at

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
    from experiments.state import unsettled_of

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
    log: Annotated[list[Path], typer.Option(help="A decision log; give every one since the copy was made.")],
    outcomes: Annotated[list[Path] | None, typer.Option(help="An outcome file; may be given several times.")] = None,
    as_json: Json = False,
) -> None:
    """Bring an older copy of a store, or an empty one, up to date from logs and outcomes.

    Decisions, promises, sends and the use of limits come back; facts do not: record their files again.
    """
    from experiments.decide import parse_now
    from experiments.rebuild import rebuild_store

    with guarded(as_json=as_json):
        output = rebuild_store(state, log, outcomes or [], parse_now(now))
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
    from experiments.decide import parse_now
    from experiments.state import ends_in, settle_sends

    with guarded(as_json=as_json):
        if (file is None) != bool(decision) or bool(decision) != (ended is not None):
            raise ParameterError("decision", "settle", allowed="with --ended, or else --file", got=decision)
        ends = ends_in(file) if file is not None else dict.fromkeys(decision or (), ended or "")
        output = settle_sends(state, ends, parse_now(now))
        table = Table("settled", "known before", "still unsettled", title="Sends settled by hand")
        table.add_row(str(output.settled), str(output.known), str(output.unsettled))
        show(output, [table], [], as_json=as_json)
