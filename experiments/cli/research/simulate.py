"""`tactful simulate`: a log of a simulated scenario."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from engine.contacts.key import SIMULATED_KEY
from experiments.cli.console import Json, Overrides, Replace, free_out, guarded, progress, show
from experiments.cli.contact_keys import FIXED_KEY, key_of_simulation
from experiments.cli.results import price_tables

if TYPE_CHECKING:
    from experiments.simulate.outputs import SimulateOutput


def run(
    out: Annotated[Path, typer.Option(help="The joined log to write (Parquet); the other files stand beside it.")],
    replace: Replace = False,
    as_json: Json = False,
    overrides: Overrides = None,
) -> None:
    """Run a scenario from day to day through the real decision path, and write the log that a sender would have.

    Overrides, for instance: scenario=newsletter policy=segments contacts=20000 days=30 seed=1 explore_share=0.1
    workers=2. Policies: never, uniform, always:ACTION, merge_tag, segments, vw (learns in the loop), or a trained
    folder. A run that was killed goes on when it is asked for again.
    """
    from experiments.settings import compose_settings
    from experiments.simulate.run import SimulateRequest, simulate
    from experiments.simulate.run_spec import SimulateConfig

    with guarded(as_json=as_json):
        free_out(out, replace=replace)
        config = compose_settings("simulate", overrides or [], SimulateConfig)
        request = SimulateRequest(out, key_of_simulation())
        with progress("simulating", float(config.contacts * config.days)) as advance:
            output = simulate(request, config, advance)
        lines = [*output.notes, f"log: {output.log}", *(f"{name}: {path}" for name, path in output.files.items())]
        if request.contact_key == SIMULATED_KEY:
            lines.append(FIXED_KEY)
        if output.resumed_from:
            lines.append(f"went on after day {output.resumed_from} of an earlier run")
        show(output, tables(output), lines, as_json=as_json)


def tables(output: SimulateOutput) -> list[Table]:
    """What truly happened by group, and what the log knows of it."""
    title = f"SIMULATED: {output.scenario}, {output.policy}, {output.contacts:,} contacts, {output.days} days"
    groups = Table(
        *("group", "contact-days", "sends", "orders by message", "organic", "unsubscribed", "complained"),
        *("reward, USD", "per contact-day"),
        title=title,
    )
    for name, group in output.groups.items():
        each = group.reward_per_contact_day_usd
        groups.add_row(
            *(name, f"{group.contact_days:,}", f"{group.sends:,}", f"{group.orders_by_message:,}"),
            *(f"{group.orders_organic:,}", f"{group.unsubscribed:,}", f"{group.complained:,}"),
            *(f"{group.reward_usd:,.2f}", "-" if each is None else f"{each:.4f}"),
        )
    joined = Table("metric", "credited", "late", "matured", "pending", title=f"{output.decisions:,} decisions joined")
    for name, metric in output.metrics.items():
        joined.add_row(name, *map(str, (metric.credited, metric.late, metric.matured, metric.pending)))
    reach = Table("may be sent advertising, first day", "last day", "sends by channel")
    by_channel = ", ".join(f"{name} {times:,}" for name, times in output.sends.items())
    reach.add_row(f"{output.reachable_first:,}", f"{output.reachable_last:,}", by_channel)
    rules = Table("rule", "actions removed", title="Guardrails")
    for name, pairs in output.removed.items():
        if pairs:
            rules.add_row(f"{name} {output.rules.get(name, '')}", f"{pairs:,}")
    return [groups, reach, *price_tables(output.prices), rules, joined]
