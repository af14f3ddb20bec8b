"""`tactful state`: facts into the store of contact state, and leases that are over out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from experiments.cli.console import Json, contact_key, guarded, progress, show

app = typer.Typer(
    name="state",
    help="The store of contact state: record facts, free what dead processes held.",
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
        notes = [
            f"{rows} facts name the channel {name!r}, which is none of the usual ones: unless the catalog has it, "
            "those that speak against a send close every channel"
            for name, rows in output.unusual_channels.items()
        ]
        show(output, [table], notes, as_json=as_json)


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
