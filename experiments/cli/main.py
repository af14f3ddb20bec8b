"""`tactful`: the console script; one module per command, this one only gathers them."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.startup import check_names
from experiments.cli import (
    ablate,
    audit,
    backtest,
    calibrate,
    decide,
    demo,
    dispatch,
    erase,
    evaluate,
    experiment,
    explain,
    guardrails,
    import_log,
    join,
    monitor,
    plan,
    promote,
    rollback,
    simulate,
    state,
    train,
)
from experiments.cli.console import guarded

app = typer.Typer(
    name="tactful",
    help="Decide who gets a message, on which channel, at which hour, with which content, and when to stay silent.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command("import")(import_log.run)
app.command("audit")(audit.run)
app.command("evaluate")(evaluate.run)
app.command("plan")(plan.run)
app.command("train")(train.run)
app.command("backtest")(backtest.run)
app.command("ablate")(ablate.run)
app.command("promote")(promote.run)
app.command("rollback")(rollback.run)
app.command("decide")(decide.run)
app.command("dispatch")(dispatch.run)
app.command("explain")(explain.run)
app.command("join")(join.run)
app.command("monitor")(monitor.run)
app.command("erase")(erase.run)
app.command("simulate")(simulate.run)
app.command("calibrate")(calibrate.run)
app.command("experiment")(experiment.run)
app.command("demo")(demo.run)
app.add_typer(guardrails.app, name="guardrails")
app.add_typer(state.app, name="state")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tactful {version('tactful')}")
        raise typer.Exit


@app.callback()
def callback(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Check the installation before any command runs."""
    del version
    with guarded(as_json=False):
        check_names()


def main() -> None:
    """Entry point of the console script."""
    app()
