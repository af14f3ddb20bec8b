"""`tactful demo`: the whole loop, in two worlds, on data that the command makes itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from experiments.cli.console import Json, Replace, errors, free_out, guarded, show
from experiments.cli.contact_keys import FIXED_KEY

if TYPE_CHECKING:
    from experiments.demo.act import ActOutput


def run(
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path("demo-out"),
    contacts: Annotated[int, typer.Option(min=2000, help="Contacts of each test campaign.")] = 50_000,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same files.")] = 1,
    act: Annotated[str, typer.Option(help="Only this act: differ or alike; default both.")] = "",
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Test messages on a list, decide whether to launch a learned policy, and live with it for a month.

    Two acts: customers who differ, and customers who are alike. Everything is SIMULATED. Takes about a minute.
    """
    from experiments.demo.run import demo

    with guarded(as_json=as_json):
        free_out(out, replace=replace, folder=True)
        output = demo(out, contacts, seed, lambda line: errors.print(line, highlight=False), act)
        tables = [table for played in output.acts.values() for table in (figures_table(played), rule_table(played))]
        lines = [*output.said, *(f"{name}: {path}" for name, path in output.files.items())]
        lines += [f"launch report, {name}: {played.files['report']}" for name, played in output.acts.items()]
        show(output, tables, [*lines, FIXED_KEY], as_json=as_json)


def figures_table(act: ActOutput) -> Table:
    """What the log promised, what was possible, and what then happened: USD per decision over the segments."""
    live, gap = act.live["vw"], act.promised.difference
    table = Table(
        *(
            "the log promises",
            "true, same decisions",
            "most that is possible",
            f"{act.live_days} days live",
            "launched",
        ),
        title=f"SIMULATED. {act.title}: the learned policy over today's segments, USD per decision",
    )
    table.add_row(
        _with_interval(*((gap.value, gap.low, gap.high) if gap else (None, None, None))),
        *(f"{act.possible.learned:+.4f}", f"{act.possible.most:+.4f}"),
        _with_interval(live.difference, live.difference_low, live.difference_high),
        act.backtest.launch.policy,
    )
    return table


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:+.4f}" if low is None or high is None else f"{value:+.4f} ({low:+.4f} to {high:+.4f})"


def rule_table(act: ActOutput) -> Table:
    """The learned rule, group by group."""
    table = Table(
        "who", "decisions", "gets", "the segments", "USD a decision", "why", title=f"{act.title}: who gets what"
    )
    for row in act.rule:
        table.add_row(
            *(row.who, f"{100 * row.share:.0f} %", f"{row.gets} ({100 * row.gets_share:.0f} % of them)"),
            *(row.today, "-" if row.gain is None else f"{row.gain:+.4f}", row.why),
        )
    return table
