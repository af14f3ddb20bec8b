"""Options that take several files: repeated, a folder of files, or a glob in quotes; all are taken together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.storage.given import named

SEVERAL = "Repeat it, or give a folder or a glob in quotes, for several files."

Log = Annotated[list[Path], typer.Option("--log", help=f"A log in our schema. {SEVERAL}")]
OptionalLog = Annotated[list[Path] | None, typer.Option("--log", help=f"A log in our schema. {SEVERAL}")]
OptionalHistory = Annotated[
    list[Path] | None,
    typer.Option("--history", help=f"A log with outcomes: what the contacts answered before. {SEVERAL}"),
]
DecisionLog = Annotated[
    list[Path], typer.Option("--log", help=f"A decision log that `tactful decide` wrote. {SEVERAL}")
]
Decisions = Annotated[
    list[Path], typer.Option("--decisions", help=f"A decision log that `tactful decide` wrote. {SEVERAL}")
]
Outcomes = Annotated[
    list[Path], typer.Option("--outcomes", help=f"Outcome file: decision_id, event, at, value_usd. {SEVERAL}")
]
OptionalOutcomes = Annotated[
    list[Path] | None, typer.Option("--outcomes", help=f"Outcome file: decision_id, event, at, value_usd. {SEVERAL}")
]
Done = Annotated[
    list[Path] | None,
    typer.Option("--done", help=f"Outcome files of earlier runs; what they name is over. {SEVERAL}"),
]
Contacts = Annotated[
    list[Path], typer.Option("--contacts", help=f"Contact file: Parquet, CSV (.gz) or JSON lines. {SEVERAL}")
]
OptionalContacts = Annotated[
    list[Path] | None, typer.Option("--contacts", help=f"The contacts as they are now; not with --state. {SEVERAL}")
]
Facts = Annotated[
    list[Path], typer.Option("--facts", help=f"Facts: Parquet, CSV (.gz) or JSON lines, one a row. {SEVERAL}")
]


def file_names(given: list[Path]) -> str:
    """The last parts of what was given, for titles."""
    return named([path.name for path in given])


def split_overrides(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Files, and overrides of the configuration, where both are arguments: what is there is a file."""
    files = [one for one in arguments if _is_there(one) or not ("=" in one or one.startswith("~"))]
    return files, [one for one in arguments if one not in files]


def _is_there(name: str) -> bool:
    """Whether a file has this name; a name that no file can have is none."""
    try:
        return Path(name).exists()
    except OSError:
        return False
