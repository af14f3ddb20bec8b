"""What every command shares: options, progress on standard error, tables or one JSON object on standard output."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from engine.errors import TactfulError
from engine.storage.given import Given
from experiments.cli.failures import INTERRUPTED, as_ours, cannot_write
from experiments.cli.terminal import ErrorConsole, PlainConsole, one_line, write_json
from experiments.outputs import CommandOutput, ErrorOutput, Output, json_bytes

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Hydra overrides of the configuration.", show_default=False),
]
OverrideAudit = Annotated[
    str | None,
    typer.Option(help="Go on though the audit of the log fails; the reason is kept in the report and the manifest."),
]
OverrideLearnt = Annotated[
    str | None,
    typer.Option(help="Judge trained policies on rows that they learnt from; the reason is kept in every output."),
]

Replace = Annotated[bool, typer.Option("--replace", help="Overwrite what stands under --out; else it is refused.")]

REPORT = ("report.html", "report.json")
WIDE = 160

errors = ErrorConsole()
Advance = Callable[[float], None]


def signer() -> str:
    """Who runs this process, for a history."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return f"{os.getuid()}@{socket.gethostname()}"


def free_out(
    out: Path | None, *names: str, replace: bool, inputs: Sequence[Given | None] = (), folder: bool = False
) -> None:
    """Refuse to write over what is there, before any work is done, unless `--replace` was said and may be obeyed.

    The folder of an output that may be written is made where it is missing, so that every output has a place.

    Args:
        out: a file, or a folder.
        names: what will be written in the folder, where it may hold other things too.
        replace: whether it was said.
        inputs: what the command reads; None where an option was left out.
        folder: whether the output is a folder that appears whole.

    Raises:
        ParameterError: the file, or a folder with something in it, is there; or it is an input, a store or no plain
            file, which even `--replace` does not overwrite.
        StorageError: its folder cannot be made.
    """
    # Help and other commands need no Parquet.
    from engine.storage.replaceable import require_free

    if out is not None:
        require_free(out, replace=replace, within=names, inputs=inputs, folder=folder)
        make_places(out)


def make_places(*outputs: Path | None) -> None:
    """Make the folders in which files are going to be written, where they are missing.

    Raises:
        StorageError: a folder cannot be made.
    """
    from experiments.report.files import make_folder

    for out in outputs:
        if out is not None:
            make_folder(out.parent)


def show(output: Output, tables: Sequence[Table], lines: Sequence[str], *, as_json: bool) -> None:
    """Print the object, or its tables, its warnings and the lines.

    Raises:
        StorageError: standard output is full or closed.
    """
    try:
        if as_json:
            write_json(json_bytes(output).decode())
            return
        console = PlainConsole()
        if not console.is_terminal:
            # A file or a pipe has no width of its own; tables must not be cut there.
            console = PlainConsole(width=WIDE)
        for table in tables:
            console.print(table)
        for warning in output.warnings if isinstance(output, CommandOutput) else ():
            console.print(one_line(f"warning: {warning}"), style="yellow", soft_wrap=True)
        for line in lines:
            console.print(one_line(line), soft_wrap=True)
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        raise cannot_write(error) from error


def fail(error: TactfulError, *, as_json: bool) -> NoReturn:
    """Print the error with its hint, one line each, and leave with its exit code."""
    if as_json:
        # Where standard output is what failed, standard error and the exit code have to say it.
        with suppress(OSError, ValueError):
            write_json(json_bytes(ErrorOutput(error=error.message, hint=error.hint)).decode())
    end(error)


def end(error: TactfulError) -> NoReturn:
    """`fail` for a command that has shown its result: the error goes to standard error alone."""
    errors.print(f"error: {one_line(error.message)}", style="red", soft_wrap=True)
    if error.hint:
        errors.print(f"hint: {one_line(error.hint)}", soft_wrap=True)
    raise typer.Exit(error.exit_code)


@contextmanager
def guarded(*, as_json: bool) -> Iterator[None]:
    """Turn every error into a message and an exit code; of a defect, TACTFUL_TRACEBACK shows where it is."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        errors.print("error: interrupted", style="red")
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:  # noqa: BLE001 (the one place where nothing may get past)
        fail(as_ours(error), as_json=as_json)


@contextmanager
def progress(label: str, total: float | None) -> Iterator[Advance]:
    """A progress bar on standard error; silent where that is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    if not errors.is_terminal:
        # A bar that is switched off still prints an empty line where older versions of its library end it.
        yield lambda _: None
        return
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda amount: bar.advance(task, amount)
