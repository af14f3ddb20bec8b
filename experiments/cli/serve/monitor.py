"""`tactful monitor`: how a live policy does, and whether somebody must step in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from experiments.cli.console import REPORT, Json, Overrides, Replace, free_out, guarded, show
from experiments.cli.inputs import Log, OptionalOutcomes

if TYPE_CHECKING:
    from experiments.serve.monitor import MonitorOutput

EXIT_CODES = {"fine": 0, "alert": 10, "pause": 11, "kill": 12, "unknown": 13}
_STYLES = {"alert": "yellow", "pause_arm": "red", "pause_channel": "red", "kill": "bold red"}


def run(
    log: Log,
    metric: Annotated[str, typer.Option(help="Metric of the logs that the effects are of.")],
    outcomes: OptionalOutcomes = None,
    offline: Annotated[Path | None, typer.Option(help="report.json of the backtest, to stand beside.")] = None,
    conditions: Annotated[
        Path | None, typer.Option(help="The sender's side until now; without it nothing is known of it.")
    ] = None,
    now: Annotated[
        str | None, typer.Option(help="Until when events are known, ISO 8601 with offset; else all of them.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.html, report.json and conditions.yaml for `decide`.")
    ] = None,
    replace: Replace = False,
    as_json: Json = False,
    overrides: Overrides = None,
) -> None:
    """Treatment against control and the uniform slice, with intervals that may be looked at every day, and escalations.

    Leaves with 0 (fine), 10 (alert), 11 (an arm or a channel is paused), 12 (kill switch) or 13 (cannot tell yet).
    Overrides, for instance: monitor.alpha=0.01.
    """
    from engine.time.localtime import instant_of
    from experiments.serve.decide import parse_now
    from experiments.serve.monitor import MonitorConfig, monitor
    from experiments.settings import compose_settings

    with guarded(as_json=as_json):
        free_out(out, *REPORT, "conditions.yaml", replace=replace, inputs=[log, outcomes, offline, conditions])
        config = compose_settings("monitor", overrides or [], MonitorConfig)
        now_at = None if now is None else instant_of(parse_now(now), owner="monitor")
        output = monitor(
            log, metric, config, outcomes=outcomes, offline=offline, conditions=conditions, now_at=now_at, out=out
        )
        show(output, _tables(output), _lines(output), as_json=as_json)
    if output.state != "fine":
        raise typer.Exit(EXIT_CODES[output.state])


def _tables(output: MonitorOutput) -> list[Table]:
    from experiments.report.words import figure_text, interval_text

    effects = Table("treatment less", "verdict", "live", "interval, all days", "backtest", "its interval", "decisions")
    offline = {row.against: row for row in output.offline}
    for effect in output.effects:
        now, known = effect.now, offline.get(effect.against)
        live = ("n/a", "n/a") if now is None else (figure_text(now.value), interval_text(now.low, now.high))
        said = ("n/a", "n/a") if known is None else (figure_text(known.value), interval_text(known.low, known.high))
        effects.add_row(effect.against, effect.verdict, *live, *said, "0" if now is None else f"{now.treated:,}")
    tables = [effects]
    if output.raised:
        raised = Table("rule", "effect", "where", "since", "seen")
        for one in output.raised:
            raised.add_row(one.name, one.effect, one.scope or "all", one.since, one.what, style=_STYLES[one.effect])
        tables.append(raised)
    return tables


def _lines(output: MonitorOutput) -> list[str]:
    from experiments.report.monitor import answer, foreseen

    waits = [f"against {effect.against}: {effect.missing}" for effect in output.effects if effect.missing]
    silent = [f"not judged: {name}: {why}" for name, why in output.silent.items()]
    files = [f"{name}: {path}" for name, path in output.files.items()]
    said = "" if output.foresight is None else foreseen(output.foresight)
    lines = [*output.notes, *waits, *silent, *([said] if said else []), *files]
    return [*lines, f"monitor: {output.state}: {answer(output)}"]
