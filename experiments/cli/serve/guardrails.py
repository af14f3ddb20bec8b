"""`tactful guardrails`: check, compare, replay and explain rule packs."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from experiments.cli.console import Json, Replace, free_out, guarded, progress, show
from experiments.cli.inputs import Contacts, DecisionLog

if TYPE_CHECKING:
    from experiments.serve.guardrails import Change, DiffOutput, ExplainContactOutput, LintOutput, Setting
    from experiments.serve.replay import ReplayOutput

app = typer.Typer(
    name="guardrails",
    help="Check, compare, replay and explain guardrail packs.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

PackName = Annotated[str, typer.Argument(metavar="PACK", help="Name of a shipped pack, or the path of a .yaml file.")]
CatalogName = Annotated[str, typer.Option(help="Name of a shipped catalog, or the path of a .yaml file.")]
Features = Annotated[str | None, typer.Option(help="Feature schema by name or path; without it no feature is read.")]
ConditionsFile = Annotated[
    Path | None, typer.Option(help="Yaml of the sender's side (volumes, rates, switches); without it nothing is known.")
]


@app.command()
def lint(
    pack: PackName,
    catalog: Annotated[
        str | None, typer.Option(help="Also find rules that cannot reach any action of this catalog (name or path).")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    part: Annotated[
        bool, typer.Option("--part", help="The file is a fragment that lists nothing but `rules`.")
    ] = False,
    today: Annotated[
        str | None, typer.Option(help="Date to judge provenance by, YYYY-MM-DD; the machine's UTC date by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find what is wrong with a pack before anybody sends with it.

    Unknown keys, wrong types, contradictions, rules that can never fire, numbers looser than a legal one, missing
    provenance. Leaves with 4 on errors (with --strict also on warnings), else 0.
    """
    from engine.errors import ConfigError
    from experiments.serve.guardrails import lint_named

    with guarded(as_json=as_json):
        output = lint_named(pack, _date(today), catalog, strict=strict, part=part)
        line = f"{output.errors} errors, {output.warnings} warnings in {output.rules} rules of {pack}"
        show(output, [_flaws(output)] if output.flaws else [], [line], as_json=as_json)
    if not output.ok:
        raise typer.Exit(ConfigError.exit_code)


@app.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="PACK_A", help="The pack in force: shipped name or .yaml path.")],
    second: Annotated[str, typer.Argument(metavar="PACK_B", help="The pack that would take over.")],
    contacts: Contacts,
    now: Annotated[str, typer.Option(help="Instant of the decisions, ISO 8601 with offset.")],
    catalog: CatalogName = "default",
    features: Features = None,
    conditions: ConditionsFile = None,
    out: Annotated[Path | None, typer.Option(help="Parquet file to write, one row per contact.")] = None,
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Show who gains or loses which actions when PACK_B takes over from PACK_A, in flat memory."""
    from experiments.serve.guardrails import diff_packs

    with guarded(as_json=as_json):
        free_out(out, replace=replace, inputs=[contacts, first, second, catalog, features, conditions])
        setting = _setting(contacts, now, catalog, features, conditions)
        with progress("comparing", None) as advance:
            output = diff_packs(first, second, setting, out, advance)
        lines = [f"{output.contacts} contacts: {output.held} are left with hold alone, {output.freed} no longer are"]
        lines += [f"per contact: {output.out}"] if output.out else []
        show(output, _changes(output), lines, as_json=as_json)


@app.command()
def replay(
    log: DecisionLog,
    pack: Annotated[str, typer.Option(help="The pack to try: shipped name or .yaml path.")],
    metric: Annotated[
        str | None, typer.Option(help="Metric of the log to price rules in; without it nothing is priced.")
    ] = None,
    instead: Annotated[
        str, typer.Option(help="Where a rule removes the logged choice: hold, or next (best of what is left).")
    ] = "hold",
    policy: Annotated[Path | None, typer.Option(help="The policy that decided, where its folder has moved.")] = None,
    alpha: Annotated[float, typer.Option(help="Error rate of the intervals.")] = 0.05,
    conditions: Annotated[
        Path | None, typer.Option(help="Yaml of the sender's side; without it what the log keeps of it holds.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show which logged sends a pack would have blocked, per rule, and at what price.

    Prices are estimates from the log and HYPOTHETICAL: nobody applied the rule. Legal rules are never priced.
    """
    from experiments.serve.replay import ReplayRequest, replay_pack

    with guarded(as_json=as_json):
        request = ReplayRequest(log, pack, metric, instead, policy, alpha, conditions)
        with progress("replaying", None) as advance:
            output = replay_pack(request, advance)
        lines = [f"{output.blocked} of {output.sends} logged sends would have been blocked by {output.pack}"]
        show(output, [_replayed(output)], [*lines, *output.notes], as_json=as_json)


@app.command()
def explain(
    contact: Annotated[str, typer.Option(help="A contact_id of the file.")],
    contacts: Contacts,
    now: Annotated[str, typer.Option(help="Instant of the decision, ISO 8601 with offset.")],
    pack: Annotated[str, typer.Option(help="Name of a shipped pack, or the path of a .yaml file.")] = "default",
    catalog: CatalogName = "default",
    features: Features = None,
    conditions: ConditionsFile = None,
    as_json: Json = False,
) -> None:
    """Show every action for one contact: allowed, or every rule that removes it and when that would end."""
    from experiments.serve.guardrails import explain_contact

    with guarded(as_json=as_json):
        setting = _setting(contacts, now, catalog, features, conditions)
        with progress("looking for the contact", None) as advance:
            output = explain_contact(contact, pack, setting, advance)
        lines = [f"{output.allowed} sends allowed, {output.removed} removed by {output.pack}; hold is always allowed"]
        show(output, [_explained(output)], lines, as_json=as_json)


def _date(text: str | None) -> dt.date:
    from engine.errors import ParameterError

    if text is None:
        return dt.datetime.now(dt.UTC).date()
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise ParameterError("today", "lint", allowed="a date like 2026-11-22", got=text) from error


def _setting(contacts: list[Path], now: str, catalog: str, features: str | None, conditions: Path | None) -> Setting:
    from experiments.serve.decide import parse_now
    from experiments.serve.guardrails import Setting

    return Setting(contacts, parse_now(now), catalog, features, conditions)


def _flaws(output: LintOutput) -> Table:
    table = Table("level", "where", "flaw", "hint", title=f"Flaws of {output.pack}")
    for flaw in output.flaws:
        style = "red" if flaw.level == "error" else "yellow"
        table.add_row(flaw.level, flaw.where, f"{flaw.code}: {flaw.text}", flaw.hint, style=style)
    return table


def _changes(output: DiffOutput) -> list[Table]:
    people = Table("", "contacts", "pairs", title=f"{output.first} -> {output.second}")
    people.add_row("gain", str(output.gained.contacts), str(output.gained.pairs))
    people.add_row("lose", str(output.lost.contacts), str(output.lost.pairs))
    tables = [people]
    for axis in ("channel", "arm", "hour"):
        table = Table(axis, "gained", "lost", title=f"Pairs per {axis}")
        gained, lost = (getattr(change, f"by_{axis}") for change in (output.gained, output.lost))
        for name in gained:
            if gained[name] or lost[name]:
                table.add_row(name, str(gained[name]), str(lost[name]))
        tables.append(table)
    return [*tables, *(_shares(title, change) for title, change in _sides(output))]


def _sides(output: DiffOutput) -> list[tuple[str, Change]]:
    return [("Lost by rules of the second pack", output.lost), ("Gained from rules of the first pack", output.gained)]


def _shares(title: str, change: Change) -> Table:
    table = Table("rule", "pairs", "no other rule", title=title)
    for share in change.by_rule:
        table.add_row(f"{share.id} {share.rule}", str(share.pairs), str(share.alone))
    return table


def _replayed(output: ReplayOutput) -> Table:
    table = Table("rule", "kind", "blocked", "no other rule", "price per decision", "interval", "verdict")
    table.title = f"HYPOTHETICAL: {output.pack} on {output.log}"
    for rule in output.rules:
        cells = [f"{rule.id} {rule.rule}", rule.kind, str(rule.blocked), str(rule.alone)]
        for price in rule.prices:
            known = price.value is not None and price.verdict != "insufficient"
            figure = f"{price.value:.4g} {price.metric} ({price.estimator})" if known else f"- ({price.estimator})"
            span = f"{price.low:.4g} to {price.high:.4g}" if known and price.low is not None else "-"
            table.add_row(*cells, figure, span, price.verdict)
            cells = ["", "", "", ""]
        if not rule.prices:
            table.add_row(*cells, rule.not_priced, "", "")
    return table


def _explained(output: ExplainContactOutput) -> Table:
    table = Table("action", "removed by", "observed", "limit", "next allowed at")
    table.title = f"{output.contact} at {output.now}"
    for row in output.actions:
        name = row.action
        for removal in row.removed_by:
            limit = "" if removal.limit is None else str(removal.limit)
            later = removal.next_allowed_at or ""
            table.add_row(name, f"{removal.rule}: {removal.reason}", str(removal.observed), limit, later, style="dim")
            name = ""
        if row.allowed:
            table.add_row(name, "", "", "", "now")
    return table
