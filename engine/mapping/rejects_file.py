"""The CSV of the rows that an import rejected: nothing in it that a spreadsheet would run, and one line a row."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import unicodedata
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Self

from engine.mapping.rows import Reject
from engine.storage.parts import Part, disk_errors

_COLUMNS: Final = ("row", "reason", "value", "decision_id")
# Spreadsheets skip white space and quotes before a formula, and take full-width signs for the plain ones.
_FORMULA: Final = re.compile(r"[\s\"'`\u2018\u2019\u201c\u201d]*[=+\-@|%\uff1d\uff0b\uff0d\uff20\u2212]")
_NUMBER: Final = re.compile(r"[+-]?\d+([.,]\d+)*([eE][+-]?\d+)?%?")


def rejects_path(out: Path) -> Path:
    """Where the rejected rows of an import stand."""
    return out.with_name(f"{out.name}.rejects.csv")


class RejectsFile:
    """A CSV of rejected rows, under a temporary name until all went well; an earlier one is replaced or removed."""

    def __init__(self, path: Path, *, show_values: bool) -> None:
        self._path, self._show = path, show_values
        self._part: Part | None = None
        self._file: Any = None
        self._rows = 0
        self.example = ""

    def __enter__(self) -> Self:
        with self._storage_errors():
            self._part = Part(self._path)
            try:
                self._file = self._part.path.open("w", encoding="utf-8", newline="")
                csv.writer(self._file).writerow(_COLUMNS)
            except BaseException:
                self._part.discard()
                raise
        return self

    def append(self, rejects: Sequence[Reject]) -> None:
        with self._storage_errors():
            csv.writer(self._file).writerows(self._row(reject) for reject in rejects)
        self._rows += len(rejects)
        if rejects and not self.example:
            row, reason, value, _ = self._row(rejects[0])
            self.example = f"row {row}, {reason}, {value}"

    def _row(self, reject: Reject) -> tuple[int, str, str, str]:
        value, decision_id = reject.value, reject.decision_id
        if not self._show:
            value, decision_id = masked(value) if reject.private or "@" in value else value, masked(decision_id)
        return reject.row, safe_cell(reject.reason), safe_cell(value), safe_cell(decision_id)

    def sync(self) -> None:
        with self._storage_errors():
            self._file.flush()
            os.fsync(self._file.fileno())

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._part is not None:
                with self._storage_errors():
                    if self._rows:
                        self._part.publish()
                    else:
                        self._path.unlink(missing_ok=True)
        finally:
            with contextlib.suppress(OSError):
                self._file.close()
            if self._part is not None:
                self._part.discard()

    def _storage_errors(self) -> AbstractContextManager[None]:
        return disk_errors(f"write {self._path}", "free space or choose another folder for the output")


def safe_cell(text: str) -> str:
    """The text as a cell that a spreadsheet shows and does not run; numbers stay as they are."""
    shown = "".join(_plain(character) for character in text)
    if _NUMBER.fullmatch(shown):
        return shown
    # What began with a control character is escaped too: that character is where the formula would have been.
    return f"'{shown}" if _FORMULA.match(shown) or shown[:1] != text[:1] else shown


def masked(text: str) -> str:
    """A text that says how long the given one is, and nothing else of it."""
    return f"(masked, {len(text)} characters)" if text else ""


def _plain(character: str) -> str:
    if unicodedata.category(character)[0] == "C" or character in "\u2028\u2029":
        return character.encode("unicode_escape").decode()
    return character
