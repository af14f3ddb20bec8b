"""Identifiers as files hold them: trimmed, in one Unicode form, and refused where a spreadsheet or float damaged them.

A spreadsheet turns 491521000000 into 4.91521E+11, and thousands of people become one; a table with a hole in its column
of ids turns 123 into 123.0, which no other file calls so. A letter with its accent is one character or two, by the
program that wrote it: both are read as the composed form (NFC), so that one id is one person.
"""

from __future__ import annotations

import unicodedata
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import DataError
from engine.types import BoolArray, IntArray, KeyArray, ObjectArray

# Python's own white space, and what no eye sees: byte-order mark, zero-width and direction marks.
_BLANKS: Final = "\\p{Z}\\p{Cc}\\x{200B}-\\x{200F}\\x{202A}-\\x{202E}\\x{2060}-\\x{206F}\\x{FEFF}"
_AROUND: Final = f"^[{_BLANKS}]+|[{_BLANKS}]+$"
_STRIPPED: Final = "".join(
    one
    for one in map(chr, (*range(0x3001), 0xFEFF))
    if unicodedata.category(one) in ("Zs", "Zl", "Zp", "Cc")
    or "\u200b" <= one <= "\u200f"
    or "\u202a" <= one <= "\u202e"
    or "\u2060" <= one <= "\u206f"
    or one == "\ufeff"
)
_INSIDE: Final = "[\\p{Cc}\\x{200B}-\\x{200F}\\x{202A}-\\x{202E}\\x{2060}-\\x{206F}\\x{FEFF}]"
# 4.91521E+11, 4,91521E+11, 4.9e11, 1E+11; and 123.0. An id of hexadecimal digits (12e4) has neither point nor sign.
_FLOAT: Final = r"^[+-]?(\d[.,]\d+[eE][+-]?\d+|\d[eE][+-]\d+|\d+[.,]0+)$"
DAMAGED: Final = (
    "a spreadsheet or a column of floats wrote it, and different ids may have become one: export the ids as text, "
    "or as integers without holes"
)
UNSEEN: Final = "it holds a character that no eye sees, so that two ids look like one: take it out"


def trimmed(column: pa.Array) -> pa.Array:
    """Texts without white space and unseen characters around them, accents composed (NFC); empty is null."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    texts = composed(column.cast(pa.string()))
    odd = pc.match_substring_regex(texts, _AROUND)
    if pc.any(odd).as_py():
        texts = pc.replace_substring_regex(texts, _AROUND, "")
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def composed(texts: pa.Array) -> pa.Array:
    """Texts with their accents composed (NFC), by Python's tables alone.

    Older versions of pyarrow decompose where they are asked to compose, and newer ones know other letters than Python.
    """
    odd = pc.invert(pc.string_is_ascii(texts)).fill_null(fill_value=False)
    if not pc.any(odd).as_py():
        return texts
    whole = [unicodedata.normalize("NFC", text) for text in texts.filter(odd).to_pylist()]
    return pc.replace_with_mask(texts, odd, pa.array(whole, texts.type))


def plain_id(text: str) -> str:
    """One id as `trimmed` gives it: nothing unseen around it, its accents composed (NFC)."""
    return unicodedata.normalize("NFC", text.strip(_STRIPPED))


def is_float(texts: pa.Array) -> BoolArray:
    """(n,) bool: a trimmed id that is a float or in scientific notation."""
    return _matches(texts, _FLOAT)


def is_unseen(texts: pa.Array) -> BoolArray:
    """(n,) bool: a trimmed id that holds characters that no eye sees."""
    return _matches(texts, _INSIDE)


def _matches(texts: pa.Array, pattern: str) -> BoolArray:
    found: BoolArray = (
        pc.match_substring_regex(texts, pattern).fill_null(False).to_numpy(zero_copy_only=False).astype(np.bool_)
    )
    return found


def ids_of(column: pa.Array, name: str, *, source: str, first_row: int = 1) -> pa.Array:
    """The ids of a column as trimmed texts; null where empty.

    Args:
        column: texts, integers or a dictionary of either.
        name: the column's name, for errors.
        source: the file, for errors.
        first_row: number of the first row in the file.

    Raises:
        DataError: ids that are floats, in scientific notation, of another kind, or with control characters inside.
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_floating(kind):
        raise DataError(f"{source}: column {name!r} holds floats ({kind}), which are no ids", hint=DAMAGED)
    if pa.types.is_nested(kind) or pa.types.is_boolean(kind):
        raise DataError(f"{source}: column {name!r} must hold ids, holds {kind}", hint="write the ids as text")
    texts = trimmed(column)
    refuse_damaged(texts, name, source=source, first_row=first_row)
    return texts


def refuse_damaged(texts: pa.Array, name: str, *, source: str, first_row: int = 1) -> None:
    """Refuse trimmed ids of which any is a float or holds a character that no eye sees.

    Raises:
        DataError: names the first one and its row.
    """
    what, rows = f"{source}: column {name!r}", np.arange(first_row, first_row + len(texts))
    refuse_floats(texts, what, rows)
    _refuse(is_unseen(texts), texts, what, rows, UNSEEN)


def refuse_floats(texts: pa.Array, what: str, rows: IntArray) -> None:
    """Refuse trimmed ids of which any is a float: many may have become one, so that no row can be trusted.

    Args:
        texts: (n,) ids.
        what: begins the error: the file and the column.
        rows: (n,) numbers of the rows in the file.

    Raises:
        DataError: names the first one and its row.
    """
    _refuse(is_float(texts), texts, what, rows, DAMAGED)


def _refuse(bad: BoolArray, texts: pa.Array, what: str, rows: IntArray, hint: str) -> None:
    if bad.any():
        first = int(np.argmax(bad))
        raise DataError(
            f"{what} holds {texts[first].as_py()!r} in row {rows[first]} ({int(bad.sum())} such rows in its block), "
            "which is no id",
            hint=hint,
        )


def trimmed_objects(cells: ObjectArray) -> ObjectArray:
    """(n,) strings as `trimmed` gives them, but empty stays the empty string."""
    texts: Any = trimmed(pa.array(cells, pa.string())).fill_null("")
    out: ObjectArray = texts.to_numpy(zero_copy_only=False).astype(object)
    return out


class SeenHashes:
    """A growing set of the 64-bit hashes of ids in eight bytes each, for duplicates in files of any length.

    It keeps sorted runs of doubling lengths, merged as in a log-structured tree: adding a block costs O(block log n),
    amortised.
    """

    def __init__(self) -> None:
        self._runs: list[KeyArray] = []

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def known(self, hashes: KeyArray) -> BoolArray:
        """(n,) which of the hashes were added before."""
        found = np.zeros(len(hashes), dtype=np.bool_)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
            found |= run[at] == hashes
        return found

    def add(self, hashes: KeyArray) -> None:
        """Add hashes, each new."""
        if not len(hashes):
            return
        run = np.sort(hashes)
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        self._runs.append(run)
