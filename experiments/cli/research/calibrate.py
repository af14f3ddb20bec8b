"""`tactful calibrate`: the simulator's free numbers against published figures and randomised data."""

from __future__ import annotations

from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from engine.errors import ConfigError
from experiments.cli.console import Json, Replace, errors, free_out, guarded, show

if TYPE_CHECKING:
    from experiments.study.calibrate import CalibratedGroup, CalibrateOutput


def run(
    groups: Annotated[
        list[str] | None,
        typer.Argument(metavar="[GROUP]...", help="organic, heartsteps, hillstrom, campaign, flows, or all."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with the data sets; what needs them is skipped.")] = None,
    contacts: Annotated[int | None, typer.Option(help="Simulated contacts; each group has its own number.")] = None,
    seed: Annotated[int, typer.Option(help="Of the simulated worlds.")] = 1,
    check: Annotated[bool, typer.Option("--check", help="Measure the shipped numbers only; 4 if one misses.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the yaml files and the picture.")] = None,
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Fit the simulator's free numbers, and say figure by figure how well they do: published, simulated, difference.

    With --check nothing is fitted: the shipped numbers are measured, and the exit code is 4 where a figure that a
    scenario claims is missed. Hillstrom's and CDNOW's goals come from the data sets; a check without them takes the
    goals that are stored with the shipped numbers.
    """
    with guarded(as_json=as_json):
        if util.find_spec("experiments.study") is None:
            raise ConfigError(
                "`tactful calibrate` needs a checkout of Tactful: an installed package has no calibration targets",
                hint="run it in a checkout; the fitted numbers themselves ship, and scenarios use them",
            )
        from experiments.study.calibrate import CalibrateRequest, calibrate, refusal

        free_out(out, "moments.svg", *(f"{name}.yaml" for name in groups or ()), replace=replace)
        request = CalibrateRequest(tuple(groups or ()), data, contacts, seed, check, out)
        output = calibrate(request, lambda line: errors.print(line, markup=False, highlight=False, soft_wrap=True))
        tables = [_table(name, group) for name, group in output.groups.items()]
        tables += [_numbers(name, group) for name, group in output.groups.items() if group.numbers]
        show(output, tables, _lines(output), as_json=as_json)
    wrong = refusal(output)
    if wrong is not None:
        errors.print(f"error: {wrong.message}", style="red", markup=False, highlight=False, soft_wrap=True)
        errors.print(f"hint: {wrong.hint}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(wrong.exit_code)


def _table(name: str, group: CalibratedGroup) -> Table:
    """Figure by figure; a figure that is not claimed says so where another is met or missed."""
    goals = f"goals from {group.data}" if group.data else "published or stored goals"
    table = Table(
        *("figure", "published", "simulated", "difference", "tolerance", "met", "unit"),
        title=f"SIMULATED: {name}, scenario {group.scenario}, {group.contacts:,} contacts; {goals}",
    )
    for row in group.moments:
        verdict = ("yes" if row.met else "NO") + ("" if row.claimed else " (not claimed)")
        figures = (f"{value:.5g}" for value in (row.published, row.simulated, row.difference, row.tolerance))
        table.add_row(row.id, *figures, verdict, row.unit)
    return table


def _numbers(name: str, group: CalibratedGroup) -> Table:
    table = Table("number", "fitted", title=f"{name}: fitted numbers")
    for number, value in group.numbers.items():
        table.add_row(number, f"{value:.5g}")
    return table


def _lines(output: CalibrateOutput) -> list[str]:
    claimed = [row for group in output.groups.values() for row in group.moments if row.claimed]
    lines = [f"{sum(row.met for row in claimed)} of {len(claimed)} claimed figures are met"]
    lines += [f"{name}: skipped, {why}" for name, why in output.skipped.items()]
    return lines + [f"{name}: {path}" for name, path in output.files.items()]
