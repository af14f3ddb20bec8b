"""`tactful rollback`: let the version before serve again."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.cli.console import Json, guarded, show, signer

if TYPE_CHECKING:
    from experiments.judge.promotion import RollbackOutput


def run(
    live: Annotated[Path, typer.Option(help="Live folder.")],
    to: Annotated[str | None, typer.Option(help="A version of its history; the one before the live one else.")] = None,
    why: Annotated[str, typer.Option(help="Why, in words; for the history.")] = "",
    who: Annotated[str, typer.Option(help="Who, for the history; the user of this process where left out.")] = "",
    as_json: Json = False,
) -> None:
    """Let an earlier version serve again; its hashes are verified first, and the history says who, when and why."""
    from experiments.judge.promotion import Signature, rollback

    with guarded(as_json=as_json):
        rollback(live, Signature(who or signer(), datetime.now(UTC), why), to, told=partial(_tell, as_json=as_json))


def _tell(output: RollbackOutput, *, as_json: bool) -> None:
    lines = [f"version {output.version} serves now; before: {output.previous}", *output.notes]
    show(output, [], lines, as_json=as_json)
