"""Cells of CSV files that we write: nothing that a spreadsheet would run, and no line but its own."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Spreadsheets skip white space and quotes before a formula, and take full-width signs for the plain ones.
_FORMULA: Final = re.compile(r"[\s\"'`\u2018\u2019\u201c\u201d]*[=+\-@|%\uff1d\uff0b\uff0d\uff20\u2212]")
_NUMBER: Final = re.compile(r"[+-]?\d+([.,]\d+)*([eE][+-]?\d+)?%?")


def safe_cell(text: str) -> str:
    """The text as a cell that a spreadsheet shows and does not run; numbers stay as they are."""
    shown = "".join(_plain(character) for character in text)
    if _NUMBER.fullmatch(shown):
        return shown
    # What began with a control character is escaped too: that character is where the formula would have been.
    return f"'{shown}" if _FORMULA.match(shown) or shown[:1] != text[:1] else shown


def masked(text: str) -> str:
    """Nothing of a text but how long it is."""
    return f"(masked, {len(text)} characters)" if text else ""


def _plain(character: str) -> str:
    if unicodedata.category(character)[0] == "C" or character in "\u2028\u2029":
        return character.encode("unicode_escape").decode()
    return character
