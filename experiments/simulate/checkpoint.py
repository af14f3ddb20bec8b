"""The state of a batch of contacts on disk: plain arrays, whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from engine.errors import StorageError, reason_of
from engine.types import IntArray
from experiments.report.files import write_whole
from simulator.world.state import State
from simulator.world.world import World

_ARRIVING = "arriving"


def save_batch(path: Path, state: State, decided: IntArray) -> None:
    """Write a state and the steps of the contacts' last decisions.

    Raises:
        StorageError: the disk refused.
    """
    arrays: dict[str, Any] = {"decided": decided}
    _collect(state, "state", arrays)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_whole(path, buffer.getvalue())


def load_batch(path: Path, world: World) -> IntArray:
    """Put a world where the state on disk says; returns the steps of the contacts' last decisions.

    Raises:
        StorageError: the file is missing, or not of this world.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise StorageError(
            f"{path} cannot be read: {reason_of(error)}", hint="remove the folder and run again"
        ) from error
    decided: IntArray = arrays.pop("decided")
    if len(decided) != world.n:
        raise StorageError(f"{path} is of another batch of contacts", hint="remove the folder and run again")
    state = world.state
    _restore(state, "state", arrays)
    world.resume(state)
    return decided


def _collect(part: Any, name: str, arrays: dict[str, Any]) -> None:
    for field in fields(part):
        key, value = f"{name}.{field.name}", getattr(part, field.name)
        if field.name == _ARRIVING:
            _collect_arriving(value, key, arrays)
        elif is_dataclass(value):
            _collect(value, key, arrays)
        else:
            arrays[key] = np.asarray(value)


def _restore(part: Any, name: str, arrays: Mapping[str, Any]) -> None:
    for field in fields(part):
        key, value = f"{name}.{field.name}", getattr(part, field.name)
        if field.name == _ARRIVING:
            setattr(part, field.name, _arriving(key, arrays))
        elif is_dataclass(value):
            _restore(value, key, arrays)
        else:
            stored = arrays[key]
            setattr(part, field.name, stored.item() if stored.ndim == 0 else stored)


def _collect_arriving(arriving: Mapping[int, list[tuple[Any, ...]]], key: str, arrays: dict[str, Any]) -> None:
    """Entries one after the other, with their step, event and length: a few arrays whatever is on the way."""
    entries = [(step, *entry) for step, listed in arriving.items() for entry in listed]
    arrays[f"{key}.step"] = np.array([entry[0] for entry in entries], dtype=np.int64)
    arrays[f"{key}.event"] = np.array([entry[1] for entry in entries], dtype=np.str_)
    arrays[f"{key}.length"] = np.array([len(entry[2]) for entry in entries], dtype=np.int64)
    for position, (name, kind) in enumerate((("rows", np.int64), ("channels", np.int64), ("value", np.float64))):
        parts = [np.asarray(entry[2 + position], dtype=kind) for entry in entries]
        arrays[f"{key}.{name}"] = np.concatenate(parts) if parts else np.empty(0, dtype=kind)


def _arriving(key: str, arrays: Mapping[str, Any]) -> dict[int, list[tuple[Any, ...]]]:
    ends = np.cumsum(arrays[f"{key}.length"])
    found: dict[int, list[tuple[Any, ...]]] = {}
    start = 0
    for step, event, end in zip(arrays[f"{key}.step"], arrays[f"{key}.event"], ends, strict=True):
        entry = tuple(arrays[f"{key}.{name}"][start:end] for name in ("rows", "channels", "value"))
        found.setdefault(int(step), []).append((str(event), *entry))
        start = end
    return found
