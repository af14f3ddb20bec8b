"""`tactful state`: facts into the store of contact state, and leases that are over out of it."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.table import Table

from experiments.cli.console import Json, guarded, progress, show
from experiments.cli.contact_keys import KeyFile, key_line, key_of_store, key_output
from experiments.cli.inputs import Facts

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
    from experiments.state import RecordRequest, record_file

    with guarded(as_json=as_json):
        found = key_of_store(state, key_file, owner="state record", create=create)
        with progress("recording", None) as advance:
            output = record_file(RecordRequest(state, facts, found.text, create=create), advance)
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
    from experiments.decide import parse_now
    from experiments.state import expire_at

    with guarded(as_json=as_json):
        output = expire_at(state, parse_now(now))
        table = Table("released", "quota grants", "unsettled", title="Leases that are over")
        table.add_row(str(output.released), str(output.quota_grants), str(len(output.unsettled)))
        show(output, [table], [f"unsettled: {name}" for name in output.unsettled], as_json=as_json)
