"""Reading a table with the columns that an analysis needs, all or nothing."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from engine.errors import DataError


def read_columns(path: Path, numeric: Sequence[str], text: Sequence[str] = ()) -> pd.DataFrame:
    """Read a csv, plain or compressed, and keep the columns named.

    Args:
        path: path of the file.
        numeric: columns that must hold a finite number in every row.
        text: columns that must hold a text in every row.

    Raises:
        DataError: no such file, no csv, no rows, a column missing, a cell that is no finite number.
    """
    unreadable = (OSError, UnicodeDecodeError, EOFError, pd.errors.ParserError, pd.errors.EmptyDataError)
    try:
        with warnings.catch_warnings():
            # Cells beyond the header would become an index and shift every column; pandas only warns of them.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(path, dtype=dict.fromkeys(text, str), index_col=False)
    except (*unreadable, pd.errors.ParserWarning) as error:
        raise DataError(f"{path.name} cannot be read: {error}", hint="give the path of the published csv") from error
    missing = [name for name in (*numeric, *text) if name not in table.columns]
    if missing:
        raise DataError(f"{path.name} has no column {missing[0]!r}", hint=f"needed: {[*numeric, *text]}")
    if table.empty:
        raise DataError(f"{path.name} has no rows", hint="give the path of the published csv")
    return check_numbers(table[[*numeric, *text]], numeric, path.name)


def check_numbers(table: pd.DataFrame, numeric: Sequence[str], name: str) -> pd.DataFrame:
    """The table with its numeric columns as float64.

    Raises:
        DataError: a cell that is no finite number, or a text that is missing.
    """
    numbers = {column: pd.to_numeric(table[column], errors="coerce").astype(np.float64) for column in numeric}
    for column in table.columns:
        bad = ~np.isfinite(numbers[column].to_numpy()) if column in numbers else table[column].isna().to_numpy()
        if bad.any():
            row = int(np.argmax(bad))
            raise DataError(
                f"row {row + 1} of {name} has {table[column].iloc[row]!r} in {column!r}",
                hint="each row must be complete",
            )
    return table.assign(**numbers)
