"""Writes the files of a report folder; each appears whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from engine.errors import StorageError, reason_of
from engine.files.parquet import seal
from engine.ope.estimate import Estimate
from engine.storage.parts import new_file


def make_folder(path: Path) -> Path:
    """Create a folder for results.

    Raises:
        StorageError: it cannot be created, or a file is in its place.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise StorageError(f"{path} is a file, and no folder can be made there", hint="give another --out") from error
    except OSError as error:
        raise StorageError(f"cannot create the folder {path}: {reason_of(error)}", hint="give another --out") from error
    return path


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write a file under a temporary name, then rename it.

    Raises:
        StorageError: the disk refused; what stood under the name before is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    with _writing(path) as part:
        part.write_bytes(data)
    return path


def tidy(rows: Sequence[Estimate], settings: dict[str, Any]) -> pd.DataFrame:
    """One line a policy x estimator, the difference in columns of its own, notes and settings in the last columns."""
    records = []
    for row in rows:
        record = {key: value for key, value in msgspec.to_builtins(row).items() if key not in ("difference", "notes")}
        for key in ("baseline", "value", "stderr", "low", "high"):
            record[f"difference_{key}"] = getattr(row.difference, key) if row.difference else None
        record["notes"] = "; ".join(row.notes)
        record["settings"] = msgspec.json.encode(settings, order="sorted").decode()
        records.append(record)
    return pd.DataFrame(records)


def write_table(path: Path, frame: pd.DataFrame) -> Path:
    """Write a tidy table as Parquet, whole or not at all.

    Raises:
        StorageError: the disk refused.
    """
    with _writing(path) as part:
        frame.to_parquet(part, index=False, write_page_checksum=True)
        seal(part)
    return path


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[Path]:
    try:
        with new_file(path) as part:
            yield part
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {reason_of(error)}", hint="free space, or give another --out"
        ) from error
