"""What a calibration leaves: the yaml in conf/calibration with numbers, where they are from, and how well they do."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from engine.errors import ConfigError, DataError, reason_of
from simulator.calibration.fit import Goal, Row
from simulator.scenario import shipped_yaml

DIGITS = 5
# A moment is a line.
WIDE = 1000


class DataFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A data set that was read: its name and the SHA-256 of its bytes."""

    name: str
    sha256: str


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to get the same bytes again.

    Attributes:
        command: that wrote the file.
        seed / contacts: seed and size of the simulated worlds.
        version: version of Tactful.
        data: files that were fitted to.
    """

    command: str
    seed: int
    contacts: int
    version: str
    data: tuple[DataFile, ...] = ()


class Moment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of the table: what was published, and what the fitted world does.

    Attributes:
        claimed: whether the scenario says that it meets the figure.
    """

    id: str
    published: float
    simulated: float
    difference: float
    tolerance: float
    met: bool
    claimed: bool
    unit: str
    source: str

    @property
    def missed(self) -> bool:
        """Claimed, and not met."""
        return self.claimed and not self.met


class CalibrationFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One yaml of conf/calibration.

    Attributes:
        parts: kind of part -> numbers, which go into scenarios that name the file.
        carried: the same, of numbers that other scenarios take over; `tactful calibrate campaign` puts them in its own.
        provenance: how to get the file again.
        moments: the table at these numbers.
    """

    parts: dict[str, dict[str, Any]]
    provenance: Provenance
    moments: tuple[Moment, ...]
    carried: dict[str, dict[str, Any]] = {}


def load_calibration(name: str) -> CalibrationFile:
    """A shipped file.

    Raises:
        ConfigError: no such file, or one with other keys.
    """
    try:
        return msgspec.convert(shipped_yaml("calibration", name), CalibrationFile)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"conf/calibration/{name}.yaml is no calibration: {reason_of(error)}",
            hint="write it anew with `tactful calibrate`; see docs/calibration.md",
        ) from error


def moments_table(rows: Sequence[Row], claims: Collection[str]) -> tuple[Moment, ...]:
    """Rows of a fit with what the scenario claims, to five digits."""
    return tuple(
        Moment(
            id=row.id,
            published=short(row.published),
            simulated=short(row.simulated),
            difference=short(row.difference),
            tolerance=short(row.tolerance),
            met=row.met,
            claimed=row.id in claims,
            unit=row.unit,
            source=row.source,
        )
        for row in rows
    )


def stored_goals(file: CalibrationFile) -> tuple[Goal, ...]:
    """The goals that a file was fitted to, where the data that they came from is not at hand."""
    return tuple(Goal(one.id, one.id, one.published, one.tolerance, one.unit, one.source) for one in file.moments)


def text_of(file: CalibrationFile, about: str) -> str:
    """The yaml: the same file gives the same bytes.

    Args:
        file: what to write.
        about: one line on what the numbers are.
    """
    data = {key: value for key, value in msgspec.to_builtins(file).items() if value or key != "carried"}
    ordered = {key: data[key] for key in ("provenance", "parts", "carried", "moments") if key in data}
    head = f"# {about}\n# Written by `{file.provenance.command}`; see docs/calibration.md.\n"
    return head + yaml.safe_dump(ordered, sort_keys=False, default_flow_style=None, width=WIDE, allow_unicode=True)


def data_file(path: Path) -> DataFile:
    """Name and digest of a data set."""
    return DataFile(name=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def find_data(folder: Path | None, patterns: Sequence[str]) -> Path | None:
    """The first file below a folder that fits a pattern; None without a folder or such a file.

    Raises:
        DataError: a folder that does not exist.
    """
    if folder is None:
        return None
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder", hint="give --data the folder in which the data sets lie")
    for pattern in patterns:
        found = sorted(path for path in folder.rglob(pattern) if path.is_file())
        if found:
            return found[0]
    return None


def short(value: float) -> float:
    """Five digits, so that what ships is what was measured, wherever the last bits differ."""
    return float(f"{value:.{DIGITS}g}")


def numbers_in(parts: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Every number of a file by its dotted name."""
    out: dict[str, float] = {}
    for key, value in parts.items():
        name = f"{prefix}{key}"
        out |= numbers_in(value, f"{name}.") if isinstance(value, Mapping) else {name: float(value)}
    return out
