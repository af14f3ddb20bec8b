"""`tactful decide`: guardrails, scores, sampling and log for a contact file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.table import Table

from experiments.cli.console import Json, Overrides, Replace, free_out, guarded, progress, show
from experiments.cli.contact_keys import KeyFile, key_beside, key_line, key_of_store, key_output
from experiments.cli.inputs import Contacts, OptionalHistory
from experiments.cli.results import price_tables

if TYPE_CHECKING:
    from experiments.serve.decide import DecideOutput

SHOWN = 12


def run(
    policy: Annotated[Path, typer.Option(help="Folder of a trained policy, or a file of rules (.yaml).")],
    contacts: Contacts,
    now: Annotated[str, typer.Option(help="Instant of the decisions, ISO 8601 with offset.")],
    out: Annotated[Path, typer.Option(help="Decision log to write (Parquet).")],
    conditions: Annotated[
        Path | None, typer.Option(help="The sender's side: health of channels, volumes, switches (yaml or JSON).")
    ] = None,
    state: Annotated[
        str | None, typer.Option(help="Store of contact state: sqlite:///FILE or postgresql://USER@HOST/NAME.")
    ] = None,
    limits: Annotated[
        str | None, typer.Option(help="Limits over all contacts, by name or path of a yaml; needs --state.")
    ] = None,
    history: OptionalHistory = None,
    key_file: KeyFile = None,
    replace: Replace = False,
    as_json: Json = False,
    overrides: Overrides = None,
) -> None:
    """Decide for every contact of a file, of any size, in flat memory.

    Guardrails run first: a policy never sees a removed action. The log appears whole or not at all. Overrides, for
    instance: guardrails=default seed=7 control_share=0.1 uniform_share=0.05.
    """
    from experiments.serve.decide import DecideRequest, decide_file, parse_now
    from experiments.settings import DecideConfig, compose_settings

    with guarded(as_json=as_json):
        free_out(out, replace=replace, inputs=[contacts, conditions, history, key_file])
        config = compose_settings("decide", overrides or [], DecideConfig)
        instant = parse_now(now)
        found = (
            key_beside(out, key_file, owner="decide")
            if state is None
            else key_of_store(state, key_file, owner="decide")
        )
        request = DecideRequest(policy, contacts, instant, out, found.text, conditions, state, limits, replace, history)
        with progress("deciding", None) as advance:
            output = decide_file(request, config, advance)
        output = msgspec.structs.replace(output, contact_key=key_output(found))
        said = [output.prices.note] if output.prices and output.prices.note else []
        if output.decided_before:
            said.append(f"{output.decided_before} of {output.contacts} were decided by an earlier run and read")
        show(output, summary_tables(output), [*said, f"log: {output.log}", key_line(found)], as_json=as_json)


def summary_tables(output: DecideOutput) -> list[Table]:
    """Who is held, what is sent, and which rules removed what."""
    people = Table("contacts", "sends", "held by the policy", "held, all sends removed", title="Decisions")
    people.add_row(
        str(output.contacts),
        str(output.contacts - output.held - output.suppressed),
        str(output.held - output.held_all_removed),
        str(output.held_all_removed),
    )
    sends = Table("action", "sends", title="Most chosen sends")
    for name, times in sorted(output.sends.items(), key=lambda item: -item[1])[:SHOWN]:
        sends.add_row(name, str(times))
    rules = Table("rule", "actions removed", "contacts it blocks alone", title="Guardrails")
    for name, pairs in output.removed.items():
        rules.add_row(f"{name} {output.rules.get(name, '')}", str(pairs), str(output.blocked_contacts[name]))
    brakes = Table("channel and rate", "tier", title="Brakes that are on")
    for name, tier in output.brakes.items():
        brakes.add_row(name, tier)
    shared = Table("limit or cap", "contacts limited", "sends suppressed", title="Limits and promises")
    for name in sorted({*output.limited, *output.suppressed_by}):
        shared.add_row(name, str(output.limited.get(name, 0)), str(output.suppressed_by.get(name, 0)))
    return [
        people,
        *price_tables(output.prices),
        sends,
        rules,
        *([brakes] if output.brakes else []),
        *([shared] if shared.rows else []),
    ]
