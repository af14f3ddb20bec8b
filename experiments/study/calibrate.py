"""Calibration as a command does it: groups fitted or checked, their yaml and picture written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from engine.errors import ConfigError
from experiments.outputs import Output
from experiments.report.figures import GRID, INK, MUTED, STYLE, svg_text
from experiments.report.files import make_folder, write_whole
from simulator.calibration.files import Moment, numbers_in, text_of
from simulator.calibration.groups import asked_of, check, fit_group, groups_of

PICTURE = "moments.svg"
MET, MISSED = "#11734b", "#b3261e"
# Differences beyond this are drawn at the edge.
FURTHEST = 2.5


class CalibratedGroup(Output, frozen=True, kw_only=True):
    """One group that was fitted or checked.

    Attributes:
        numbers: dotted name -> fitted number; empty for a check.
        data: the data set that its goals come from; null where they are published, or stored with the shipped numbers.
    """

    scenario: str
    contacts: int
    moments: tuple[Moment, ...]
    numbers: dict[str, float]
    data: str | None


class CalibrateOutput(Output, frozen=True, kw_only=True):
    """`tactful calibrate --json`.

    Attributes:
        checked: whether the shipped numbers were measured, and nothing was fitted.
        groups: group -> its table.
        missed: claimed figures that are not met.
        skipped: group -> why it was left out.
        files: what was written, by name.
    """

    checked: bool
    seed: int
    groups: dict[str, CalibratedGroup]
    missed: tuple[str, ...]
    skipped: dict[str, str]
    files: dict[str, str]


@dataclass(frozen=True)
class CalibrateRequest:
    """What to calibrate.

    Attributes:
        groups: names; none is all.
        data: folder with the data sets.
        contacts: size of the simulated worlds; None is each group's own number.
        seed: the seed of every draw.
        check: measure the shipped numbers, and fit nothing.
        out: folder for yaml and picture; None writes nothing.
    """

    groups: tuple[str, ...] = ()
    data: Path | None = None
    contacts: int | None = None
    seed: int = 1
    check: bool = False
    out: Path | None = None


def calibrate(request: CalibrateRequest, say: Callable[[str], None] = lambda _: None) -> CalibrateOutput:
    """Fit or check groups.

    Args:
        request: what to do.
        say: told the progress, a line at a time.

    Raises:
        ParameterError: an unknown group, or fewer than 1 contact.
        DataError: no such folder of data, or a data set that cannot be read.
        StorageError: the folder cannot be written.
    """
    groups: dict[str, CalibratedGroup] = {}
    skipped: dict[str, str] = {}
    texts: dict[str, str] = {}
    for group in groups_of(request.groups):
        asked = asked_of(group, request.contacts, request.seed, request.data, say)
        if group.patterns and asked.data is None and not request.check:
            skipped[group.name] = f"its goals come from {group.patterns[0]}, which --data does not have"
            say(f"{group.name}: skipped, {skipped[group.name]}")
            continue
        numbers: dict[str, float] = {}
        if request.check:
            moments = check(group, asked)
        else:
            file = fit_group(group, asked)
            moments, numbers = file.moments, numbers_in(file.parts)
            texts[f"{group.file}.yaml"] = text_of(file, group.about)
        groups[group.name] = CalibratedGroup(
            scenario=group.scenario,
            contacts=asked.contacts,
            moments=tuple(moments),
            numbers=numbers,
            data=asked.data.name if asked.data else None,
        )
    return CalibrateOutput(
        checked=request.check,
        seed=request.seed,
        groups=groups,
        missed=tuple(row.id for group in groups.values() for row in group.moments if row.claimed and not row.met),
        skipped=skipped,
        files=_written(request.out, texts, groups),
    )


def _written(out: Path | None, texts: Mapping[str, str], groups: Mapping[str, CalibratedGroup]) -> dict[str, str]:
    if out is None:
        return {}
    drawn = {**texts, PICTURE: moments_picture({name: group.moments for name, group in groups.items()})}
    folder = make_folder(out)
    return {name: str(write_whole(folder / name, text)) for name, text in drawn.items()}


def refusal(output: CalibrateOutput) -> ConfigError | None:
    """What is wrong with the shipped numbers; None where every claimed figure is met."""
    if not output.checked or not output.missed:
        return None
    return ConfigError(
        f"claimed figures are missed: {', '.join(output.missed)}",
        hint="fit anew with `tactful calibrate`, or take the claim out of the scenario and say why",
    )


def moments_picture(groups: Mapping[str, Sequence[Moment]]) -> str:
    """Published figures beside simulated ones: one line a figure, its difference in units of its tolerance.

    A mark is filled where the figure is claimed, and lies within the band where it is met.
    """
    lines = [(name, row) for name, rows in groups.items() for row in rows]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 1.4 + 0.24 * max(len(lines), 1)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvspan(-1.0, 1.0, color=GRID, alpha=0.6, linewidth=0)
        axes.axvline(0.0, color=MUTED, linewidth=1)
        for y, (_, row) in enumerate(lines):
            off = max(-FURTHEST, min(FURTHEST, row.difference / row.tolerance))
            colour = MET if row.met else MISSED
            axes.plot([0.0, off], [y, y], color=colour, linewidth=1.4)
            axes.plot([off], [y], "o", color=colour, markerfacecolor=colour if row.claimed else "white", markersize=5)
        axes.set_yticks(range(len(lines)), [f"{row.id}  ({name})" for name, row in lines], fontsize=8)
        axes.set_ylim(max(len(lines), 1) - 0.4, -0.6)
        axes.set_xlim(-FURTHEST * 1.05, FURTHEST * 1.05)
        axes.set_xlabel("difference / tolerance (hollow: not claimed)")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_title(
            "How well the simulator meets its figures", loc="left", fontsize=11, fontweight="bold", color=INK
        )
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(axis="y", length=0)
        return svg_text(figure)
