"""Cells of a foreign log: text in, numbers, truths and keys out, on whole columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from engine.catalog import SEPARATOR
from engine.errors import ParameterError
from engine.types import BoolArray, FloatArray, ObjectArray

_FRACTION: Final = re.compile(r"\d{1,300}/\d{1,300}")
# Longer than any number that is meant as one: the widest float has about 1,100 digits in full.
_LONGEST_NUMBER: Final = 1500
_WORDS: Final = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}


def numbers(cells: ObjectArray) -> tuple[FloatArray, BoolArray]:
    """(n,) strings -> (n,) floats, NaN where empty or no number; and (n,) bool: not empty, yet no finite number.

    The nearest float64 of the text, exactly; true, false, yes and no count as 1 and 0.
    """
    array = pa.array(cells, pa.string())
    present = cells != ""
    try:
        filled = pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)
        values = filled.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    except pa.ArrowInvalid:
        codes, unique = pd.factorize(cells)
        values = np.array([_number(text) for text in unique], dtype=np.float64)[codes]
    return values, present & ~np.isfinite(values)


def _number(text: str) -> float:
    if len(text) > _LONGEST_NUMBER:
        return np.nan
    word = text.strip().lower()
    if word in _WORDS:
        return _WORDS[word]
    try:
        return np.nan if "_" in word else float(word)
    except ValueError:
        return np.nan


def is_one_of(cells: ObjectArray, values: Sequence[str]) -> BoolArray:
    """(n,) bool: the cell is one of the values."""
    member: BoolArray = np.zeros(len(cells), dtype=np.bool_)
    for value in values:
        member |= (cells == value).astype(np.bool_)
    return member


def joined(columns: Sequence[ObjectArray]) -> ObjectArray:
    """Columns of (n,) strings -> (n,) strings, joined by `|`."""
    if len(columns) == 1:
        return columns[0]
    return np.array([SEPARATOR.join(parts) for parts in zip(*columns, strict=True)], dtype=object)


def text_of(value: str | float) -> str:
    """A yaml scalar as the text that a log would hold."""
    return value if isinstance(value, str) else repr(value)


def fraction(value: str | float, *, owner: str) -> float:
    """A probability in (0, 1], given as a number or as a fraction like "1/3".

    Raises:
        ParameterError: no number, or outside (0, 1].
    """
    try:
        text = value.replace(" ", "") if isinstance(value, str) else repr(value)
        # `Fraction` computes 10 to the power of an exponent in full, however long that takes.
        number = float(Fraction(text)) if _FRACTION.fullmatch(text) else float(text)
    except (ValueError, ZeroDivisionError, OverflowError):
        number = np.nan
    if not 0.0 < number <= 1.0:
        raise ParameterError("propensity", owner, allowed='in (0, 1], as 0.25 or "1/4"', got=value)
    return number


def check_one_group(pattern: str, *, owner: str) -> None:
    """Refuse a pattern that RE2 does not take, or that has another number of groups than one.

    Raises:
        ParameterError: says what RE2 says.
    """
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
        pc.replace_substring_regex(pa.array([""]), pattern, r"\1")
    except pa.ArrowInvalid as error:
        if "Rewrite" in str(error):
            raise ParameterError("pattern", owner, allowed="with exactly one group", got=pattern) from error
        raise ParameterError("pattern", owner, allowed=f"a regular expression ({error})", got=pattern) from error
    try:
        pc.replace_substring_regex(pa.array([""]), pattern, r"\2")
    except pa.ArrowInvalid:
        return
    raise ParameterError("pattern", owner, allowed="with exactly one group", got=pattern)


def first_groups(pattern: str, texts: Sequence[str]) -> list[str]:
    """The group of each text that a pattern of one group matches in full, in order."""
    whole = f"^(?:{pattern})$"
    column = pa.array(texts, pa.string())
    matching = column.filter(pc.match_substring_regex(column, whole))
    groups: list[str] = pc.replace_substring_regex(matching, whole, r"\1").to_pylist()
    return groups
