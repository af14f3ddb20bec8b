"""Rows of contact and fact files as blocks, read as every other table is (`engine.files.tables`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engine.contacts.columns import Block
from engine.errors import DataError
from engine.files.tables import column_blocks


def row_blocks(path: Path, rows: int) -> Iterator[Block]:
    """Blocks of at most `rows` rows, in file order.

    Raises:
        DataError: no such file, another kind of file, a damaged one, or one without rows.
    """
    first = 1
    for columns, n in column_blocks(path, rows):
        if n:
            yield Block(columns, first, n, path.name)
        first += n
    if first == 1:
        raise DataError(
            f"{path.name} holds no contacts", hint="an empty file is more often a failed export than nobody"
        )
