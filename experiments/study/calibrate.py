"""Calibration as a command does it: groups fitted or checked, their yaml and picture written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ConfigError
from experiments.outputs import Output
from experiments.report.files import make_folder, write_whole
from experiments.report.moments import moments_picture
from simulator.calibration.files import Moment, numbers_in, text_of
from simulator.calibration.groups import asked_of, check, fit_group, groups_of

PICTURE = "moments.svg"


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
        contacts: of the simulated worlds; None is each group's own number.
        seed: of everything.
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
