"""`tactful catalog`: what the messages of a catalog are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from experiments.cli.console import Json, guarded, show

if TYPE_CHECKING:
    from engine.content.preview import Assembly

app = typer.Typer(
    name="catalog",
    help="Show what the messages of a catalog are made of.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command()
def preview(
    name: Annotated[str, typer.Argument(metavar="CATALOG", help="Name of a shipped catalog, or path of a .yaml file.")],
    arm: Annotated[
        list[str] | None, typer.Option(help="Id of an assembly to show: one block per slot, joined by +. Repeatable.")
    ] = None,
    block: Annotated[
        list[str] | None, typer.Option(help="Show assemblies that hold this block. Repeatable: all of them.")
    ] = None,
    most: Annotated[int, typer.Option(help="Largest number of assemblies to show where no --arm is given.")] = 10,
    before: Annotated[
        str | None, typer.Option(help="An earlier catalog, by name or path: also say what happened to each block.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show assemblies of a modular catalog: block, version and approval by slot, and whether they may be sent."""
    from experiments.serve.catalog_preview import preview_catalog

    with guarded(as_json=as_json):
        output = preview_catalog(name, arm or (), block or (), most, before)
        counts = f"{output.sendable} of {output.assemblies} assemblies may be sent, {len(output.shown)} are shown"
        lines = [f"{output.catalog} (version {output.version}): {counts}", *output.changes]
        show(output, [_shown(one) for one in output.shown], lines, as_json=as_json)


def _shown(assembly: Assembly) -> Table:
    verdict = "may be sent" if assembly.sendable else "must not be sent: a block is not approved, or the set is barred"
    channels, locale = ", ".join(assembly.channels) or "all", assembly.locale or "any"
    table = Table("slot", "block", "version", "status", "approved by", "on", title=f"{assembly.arm}: {verdict}")
    table.caption = f"channels: {channels}; locale: {locale}; discount: {assembly.discount_depth:g}"
    for one in assembly.blocks:
        style = "" if one.status == "approved" else "red"
        table.add_row(one.slot, one.block, one.version, one.status, one.approved_by, one.approved_at, style=style)
    return table
