"""`tactful`: the console script; one module per command, this one only gathers them."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, Literal, TextIO

import typer

from engine.errors import StorageError
from engine.shadows import check_names
from experiments.cli import schema
from experiments.cli.console import errors, guarded
from experiments.cli.failures import cannot_write
from experiments.cli.judge import ablate, audit, backtest, evaluate, import_log, plan, promote, train
from experiments.cli.research import calibrate, demo, experiment, simulate
from experiments.cli.serve import catalog, decide, dispatch, erase, explain, guardrails, join, monitor, remember, state
from experiments.cli.terminal import forgiving

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
app.command("rollback")(promote.rollback)
app.command("decide")(decide.run)
app.command("dispatch")(dispatch.run)
app.command("explain")(explain.run)
app.command("join")(join.run)
app.command("remember")(remember.run)
app.command("monitor")(monitor.run)
app.command("erase")(erase.run)
app.command("simulate")(simulate.run)
app.command("calibrate")(calibrate.run)
app.command("experiment")(experiment.run)
app.command("demo")(demo.run)
app.add_typer(catalog.app, name="catalog")
app.command("schema")(schema.run)
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


def main() -> int:
    """Entry point of the console script; the exit code, whatever becomes of standard output and standard error."""
    if sys.stdin is None:
        sys.stdin = _nowhere("r")
    if sys.stderr is None:
        sys.stderr = _nowhere("w")
    if sys.stdout is None:
        # Before any work: the next file that is opened would take the place of standard output.
        return _failed(StorageError("standard output is closed", hint="send it to a file or to /dev/null"))
    forgiving(sys.stdout)
    forgiving(sys.stderr)
    stream, code = sys.stdout, 0
    try:
        app()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except OSError as error:
        code = _failed(cannot_write(error))
    try:
        if sys.stdout is not stream:
            # The command line library has met a closed pipe and put something silent in its place.
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        stream.flush()
    except (OSError, ValueError) as error:
        code = code if code > 1 else _failed(cannot_write(error))
        _silenced(stream)
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        _silenced(sys.stderr)
    return code


def _silenced(stream: TextIO) -> None:
    """Send what is still in a stream's buffer nowhere: it would fail once more when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _nowhere(mode: Literal["r", "w"]) -> TextIO:
    return Path(os.devnull).open(mode, encoding="utf-8")


def _failed(error: StorageError) -> int:
    errors.print(f"error: {error.message}", style="red", soft_wrap=True)
    errors.print(f"hint: {error.hint}", soft_wrap=True)
    return error.exit_code
