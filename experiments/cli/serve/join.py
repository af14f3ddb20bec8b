"""`tactful join`: outcomes to their decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from experiments.cli.console import Json, Overrides, Replace, free_out, guarded, show
from experiments.cli.contact_keys import KeyFile, key_if_given
from experiments.cli.inputs import Log, Outcomes
from experiments.outputs import CommandOutput, MetricJoin


class JoinOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful join --json`; see `engine.log.join.JoinReport` for every count.

    Attributes:
        given: outcomes that are no states of the dispatch, each once.
        credited: those of them that some metric counts.
        late: those of them that lie outside the window of every metric that reads them.
        unread: event that no metric reads -> outcomes.
        taken_back: decisions reported as dispatched and as suppressed; they count as not sent.
    """

    log: str
    decisions: int
    unusable: int
    outcomes: int
    duplicates: int
    after_now: int
    before_decision: int
    without_decision: int
    unused: int
    illegal_states: int
    taken_back: int
    metrics: dict[str, MetricJoin]
    given: int = 0
    credited: int = 0
    late: int = 0
    unread: dict[str, int] = {}


def run(
    log: Log,
    outcomes: Outcomes,
    now: Annotated[str, typer.Option(help="Until when outcomes are known, ISO 8601 with offset.")],
    out: Annotated[Path, typer.Option(help="The log with rewards to write (Parquet).")],
    key_file: KeyFile = None,
    replace: Replace = False,
    as_json: Json = False,
    overrides: Overrides = None,
) -> None:
    """Join outcomes by decision id into reward columns, with windows, duplicates and late events accounted for.

    Metrics are configuration (`conf/metrics/`): metrics=demo, or a group of your own.
    """
    from engine.audit.checks.credited import contradictory, uncredited
    from engine.contacts.key import require_same
    from engine.log.join import join
    from engine.log.parquet import LogReader
    from engine.records.outcomes import read_outcomes
    from experiments.serve.decide import parse_now
    from experiments.settings import JoinConfig, compose_settings

    with guarded(as_json=as_json):
        free_out(out, replace=replace, inputs=[log, outcomes, key_file])
        config = compose_settings("join", overrides or [], JoinConfig)
        found = key_if_given(key_file, owner="join")
        if found is not None:
            require_same(LogReader(log).meta.contact_key, found.text, where=str(log))
        table, read = read_outcomes(outcomes)
        report = join(log, table, config.metrics, parse_now(now), out)
        output = JoinOutput(
            log=str(out),
            decisions=report.decisions,
            unusable=report.unusable,
            outcomes=read.rows_read,
            duplicates=read.duplicates + report.duplicates,
            after_now=report.after_now,
            before_decision=report.before_decision,
            without_decision=report.without_decision,
            unused=report.unused,
            illegal_states=report.illegal_states,
            taken_back=report.taken_back,
            given=report.joined.given,
            credited=report.joined.credited,
            late=report.joined.late,
            unread=report.joined.unread,
            warnings=(*uncredited(report.joined), *contradictory(report.illegal_states, report.taken_back)),
            metrics={
                name: MetricJoin(credited=m.credited, late=m.late, matured=m.matured, pending=m.pending)
                for name, m in report.metrics.items()
            },
        )
        show(output, _tables(output), [*_passed_over(output), f"log: {out}"], as_json=as_json)


def _passed_over(output: JoinOutput) -> list[str]:
    """Outcomes that count nowhere."""
    counts = {
        "name no decision of this log": output.without_decision,
        "are earlier than their decision": output.before_decision,
        "are later than --now": output.after_now,
    }
    return [f"{count:,} outcomes {what}" for what, count in counts.items() if count]


def _tables(output: JoinOutput) -> list[Table]:
    table = Table("metric", "credited", "late", "matured", "pending", title=f"{output.decisions} decisions joined")
    for name, metric in output.metrics.items():
        table.add_row(name, *map(str, (metric.credited, metric.late, metric.matured, metric.pending)))
    unread = Table("event", "outcomes", title="Events that no metric reads")
    for event, times in output.unread.items():
        unread.add_row(event, str(times))
    return [table, *([unread] if output.unread else [])]
