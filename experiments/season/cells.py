"""One cell - a scenario, a variant, a seed and a policy - and its file, which appears whole or not at all."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import msgspec
import numpy as np

from engine.errors import StorageError, reason_of
from engine.types import FloatArray
from experiments.report.files import write_whole
from experiments.season.config import ExperimentConfig
from experiments.season.episode import Played

# Keys on which no cell depends: a run goes on after they were changed.
_FREE = (
    "name",
    "question",
    "scenarios",
    "policies",
    "baseline",
    "versus",
    "reference",
    "seeds",
    "alpha",
    "workers",
    "at_most",
)
# Parts of the configuration -> policies that read them; the other parts matter to all.
_READ_BY = {
    "learner": ("vw", "vw_greedy", "volume"),
    "exploration": ("vw", "vw_horizon", "vw_parts", "vw_parts_memory"),
    "parts": (
        *("vw_parts", "vw_parts_greedy", "vw_parts_memory", "vw_parts_memory_greedy"),
        *("vw_parts_safe", "segments_of_parts"),
    ),
    "horizon": ("vw_horizon", "vw_horizon_greedy", "vw_horizon_simulated"),
    "simulated": ("vw_horizon_simulated",),
    "segments": ("segments", "segments_of_parts", "segments_undiscounted", "vw_parts_safe"),
}


@dataclass(frozen=True)
class CellGroup:
    """Cells that share a world: run one after the other, in one process.

    Attributes:
        scenario / variant / seed: names and number.
    """

    scenario: str
    variant: str
    seed: int

    def file(self, folder: Path, policy: str) -> Path:
        """Where a cell of it lies."""
        mark = hashlib.sha256(self.variant.encode()).hexdigest()[:8]
        return folder / f"{self.scenario}-{mark}-{self.seed:05d}-{policy}.npz"


class CellNote(msgspec.Struct, frozen=True, kw_only=True):
    """What a cell's file says of itself.

    Attributes:
        key: hash of what the cell depends on.
        counts / money: see `Played`.
        bound: in the cell of the baseline: what nobody can pass, USD per contact over that minus the baseline on the
            same contacts; null where none is proved, or none was asked for.
        silence: in the cell of `never`: mean and standard error of its value minus its closed form, by contact; null
            where there is none.
    """

    key: str
    counts: dict[str, int]
    money: dict[str, float]
    bound: float | None = None
    silence: tuple[float, float] | None = None


@dataclass(frozen=True)
class Cell:
    """A season that was played.

    Attributes:
        played: the season.
        note: what was kept beside it.
    """

    played: Played
    note: CellNote


def cell_key(config: ExperimentConfig, group: CellGroup, policy: str) -> str:
    """Hash of everything that a cell depends on."""
    told = {key: value for key, value in msgspec.to_builtins(config).items() if key not in _FREE}
    for part, readers in _READ_BY.items():
        if policy not in readers:
            told.pop(part)
    told["variants"] = told["variants"][group.variant]
    told["prefixes"] = config.prefixes
    told["contacts"] = config.contacts_of(policy)
    told["cell"] = (group.scenario, group.seed, policy)
    return hashlib.sha256(msgspec.json.encode(told, order="sorted")).hexdigest()[:16]


def write_cell(path: Path, cell: Cell) -> None:
    """Write a cell.

    Raises:
        StorageError: the disk refused.
    """
    played = cell.played
    arrays: dict[str, Any] = {f"by_step.{size}": means for size, means in played.by_step.items()}
    note = np.frombuffer(msgspec.json.encode(cell.note, order="sorted"), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        total=played.total,
        sends=played.sends.astype(np.int32),
        left=played.left.astype(np.int32),
        complained=played.complained.astype(np.int32),
        sends_by_step=played.sends_by_step,
        note=note,
        **arrays,
    )
    write_whole(path, buffer.getvalue())


def read_cell(path: Path) -> Cell:
    """A cell from its file.

    Raises:
        StorageError: the file is missing or damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        note = msgspec.json.decode(arrays.pop("note").tobytes(), type=CellNote)
    except (OSError, ValueError, KeyError, BadZipFile, msgspec.DecodeError) as error:
        raise StorageError(f"{path} cannot be read: {reason_of(error)}", hint="remove it and run again") from error
    return Cell(_played(arrays, note), note)


def is_done(path: Path, key: str) -> bool:
    """Whether a whole cell of this key lies there.

    Raises:
        StorageError: a cell of another configuration lies there, or a damaged file.
    """
    if not path.exists():
        return False
    if read_cell(path).note.key != key:
        raise StorageError(
            f"{path} comes from another configuration", hint="give another --out, or remove the folder `parts`"
        )
    return True


def _played(arrays: dict[str, Any], note: CellNote) -> Played:
    total: FloatArray = arrays["total"]
    sends, left, complained = (arrays[name].astype(np.int64) for name in ("sends", "left", "complained"))
    by_step = {int(name.partition(".")[2]): values for name, values in arrays.items() if name.startswith("by_step.")}
    return Played(total, sends, left, complained, by_step, arrays["sends_by_step"], note.counts, note.money)
