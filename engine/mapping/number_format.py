"""How a foreign log writes its numbers: the format that the mapping states, and doubt where it states none.

`1.234` is 1.234 in one country and 1234 in another. Where the mapping states the marks, texts are read by them and by
nothing else. Where it does not, a column is read with the point for the decimals, unless its texts leave in doubt
whether the point stands for that.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import DataError
from engine.files.documents import Number
from engine.mapping.dialect import expressions
from engine.mapping.sources import Source, TextBatch
from engine.mapping.spec import Key, Mapping, NumberFormat
from engine.types import ObjectArray

OUTSIDE: Final = " (not in the stated number format)"
_WORDS: Final = frozenset({"", "true", "false", "yes", "no"})
_LONGEST: Final = 80
# A sign of thousands is one character, but typists and typesetters have several for the same.
_MARKS: Final = {" ": "[ \u00a0\u2009\u202f]", "'": "['\u2019\u02bc]"}
_SIGN: Final = "(?P<sign>[+\\-\u2212]?)"

# The point stands for decimals: too few or too many digits after it for a group, a zero or four digits before it.
_POINT: Final = re.compile(
    r"[+-]?(?:0\d*\.\d*|\.\d+|\d+\.\d{0,2}|\d+\.\d{4,}|\d{4,}\.\d+|\d{1,3}(?:,\d{2,3})+\.\d+|\d*\.?\d*[eE][+-]?\d+)"
)
# The comma does, or the point groups.
_COMMA: Final = re.compile(
    r"[+-]?(?:\d+,\d{1,2}|\d+,\d{4,}|0\d*,\d+|\d{4,},\d+|\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,})"
)
_DOUBTFUL: Final = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}")
# A number to the eye, whatever else stands around it.
_NUMBER_LIKE: Final = re.compile(
    r"[^\w]{0,4}(?:[A-Z]{3} ?)?[\d.,' \u00a0\u2009\u202f\u2019]*\d[\d.,]*[^\w]{0,4}(?:[A-Z]{3})?"
)


@dataclass(frozen=True)
class Reader:
    """Reads texts in a stated format."""

    format: NumberFormat

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        mark = self.format.thousands
        group = _MARKS.get(mark, re.escape(mark))
        grouped = rf"|\d{{1,3}}(?:{group}\d{{3}})+" if mark else ""
        # In India groups of two digits stand before the last, and commas between them.
        grouped += r"|\d{1,2}(?:,\d{2})+,\d{3}" if mark == "," else ""
        return re.compile(
            rf"{_SIGN}(?P<whole>\d+{grouped})?(?:{re.escape(self.format.decimal)}(?P<part>\d*))?(?P<power>[eE][+-]?\d+)?",
            re.ASCII,
        )

    def read(self, cells: ObjectArray) -> ObjectArray:
        """(n,) texts as numbers with a point; typed numbers as they are."""
        known: dict[str, str] = {}
        out = np.empty(len(cells), dtype=object)
        for row, cell in enumerate(cells):
            if isinstance(cell, Number):
                out[row] = cell
                continue
            if cell not in known:
                known[cell] = self.plain(cell)
            out[row] = known[cell]
        return out

    def plain(self, text: str) -> str:
        """The text as a number with a point, or marked so that it is none."""
        bare = text.strip()
        if bare.lower() in _WORDS:
            return bare
        number = self._number(bare) if len(bare) <= _LONGEST else None
        return text + OUTSIDE if number is None else number

    def _number(self, bare: str) -> str | None:
        percent = self.format.percent and bare.endswith("%")
        found = self._pattern.fullmatch(self._without_currency(bare[:-1].rstrip() if percent else bare))
        if found is None or not (found["whole"] or found["part"]):
            return None
        whole = re.sub(r"\D", "", found["whole"] or "0", flags=re.ASCII)
        sign = "-" if found["sign"] in ("-", "\u2212") else ""
        number = f"{sign}{whole}.{found['part'] or '0'}{found['power'] or ''}"
        return str(Decimal(number).scaleb(-2)) if percent else number

    def _without_currency(self, bare: str) -> str:
        for symbol in self.format.currency:
            sign, rest = (bare[0], bare[1:]) if bare[:1] in ("+", "-", "\u2212") else ("", bare)
            if rest.startswith(symbol):
                return sign + rest[len(symbol) :].lstrip()
            if rest.endswith(symbol):
                return sign + rest[: -len(symbol)].rstrip()
        return bare


def with_format(mapping: Mapping, source: Source) -> Source:
    """The source, the texts of its number columns read by the format that the mapping states, if it does.

    Numbers that are typed in the file stay as they are.
    """
    if mapping.numbers is None:
        return source
    reader, names = Reader(mapping.numbers), frozenset(number_columns(mapping))

    def batches() -> Iterator[TextBatch]:
        for batch in source.batches():
            own = names & batch.cells.keys() - batch.typed
            yield replace(batch, cells=batch.cells | {name: reader.read(batch.cells[name]) for name in own})

    return replace(source, batches=batches)


def number_columns(mapping: Mapping) -> dict[str, float]:
    """Columns that are read as numbers and as nothing else -> the largest value that is declared."""
    found = {reward.column: reward.high for reward in mapping.rewards.values() if reward.column is not None}
    for feature in mapping.features:
        if feature.type == "numeric":
            found[feature.cells] = np.inf if feature.high is None else feature.high
    for expression in expressions(mapping).values():
        found |= {name: np.inf for name in expression.columns if name not in found}
    if mapping.propensity.column is not None:
        found[mapping.propensity.column] = 1.0
    return {name: high for name, high in found.items() if name not in _other_columns(mapping)}


def _other_columns(mapping: Mapping) -> set[str]:
    keys = [key for key in (mapping.contact, mapping.cluster, mapping.decision_id) if isinstance(key, Key)]
    found = {name for key in keys for name in key.names}
    found |= {name for _, axis in mapping.catalog.items() for name in axis.names}
    found |= {feature.cells for feature in mapping.features if feature.type == "categorical"}
    if mapping.hold is not None and mapping.hold.column is not None:
        found.add(mapping.hold.column)
    return found


@dataclass
class Doubts:
    """What the texts of the columns of a log say about the marks of its numbers.

    Attributes:
        seen: (column, "point" / "comma" / "doubtful" / "marked") -> number of texts.
        example: the same -> one of them.
    """

    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    example: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, name: str, cells: ObjectArray, typed: frozenset[str]) -> None:
        """Count the texts of a batch."""
        if name in typed:
            return
        if self.seen[name, "point"]:
            # Nothing but digits and points says nothing new, and most columns of numbers are that.
            marks = pc.match_substring_regex(pa.array(cells, pa.string()), "[^0-9.eE+-]")
            if not pc.any(marks).as_py():
                return
        texts = [cell for cell in cells.tolist() if type(cell) is not Number]
        for cell, rows in Counter(texts).items():
            kind = _kind(cell)
            if kind is not None:
                self.seen[name, kind] += rows
                self.example.setdefault((name, kind), cell)

    def doubtful(self, name: str) -> bool:
        """Whether a point in this column may group thousands: nothing shows that it does not, or a comma does."""
        point, comma, doubt = (self.seen[name, kind] for kind in ("point", "comma", "doubtful"))
        return doubt > 0 and (comma > 0 or point == 0)

    def refuse(self, columns: dict[str, float]) -> None:
        """Refuse a log in which a number may be a thousand times what it would be read as.

        Raises:
            DataError: names the column, a text and the key that settles it.
        """
        for name, high in columns.items():
            # A share cannot be 1000, so that 1.000 is one.
            if self.doubtful(name) and high > 1:
                raise DataError(
                    f"column {name!r} holds {self.example[name, 'doubtful']!r}, which may be "
                    f"{self.example[name, 'doubtful'].replace('.', '')} ({self.seen[name, 'doubtful']} such texts, and "
                    f"{self.seen[name, 'point']} that show a decimal point)",
                    hint="state the marks in the mapping: numbers: {decimal: ',', thousands: '.'}, or "
                    "numbers: {decimal: '.'}",
                )

    def hints(self, columns: dict[str, float]) -> tuple[str, ...]:
        """A sentence for each number column that holds numbers with marks which are not read."""
        found = []
        for name in columns:
            count = self.seen[name, "comma"] + self.seen[name, "marked"]
            if count:
                example = self.example.get((name, "marked"), self.example.get((name, "comma"), ""))
                # The shape alone: the sentence is repeated by reports, and the number may be a person's.
                shape = re.sub(r"\d", "9", example[:40])
                found.append(
                    f"{count} texts of the column {name!r} look like numbers and are not read as such ({shape!r}): "
                    "state decimal and thousands marks, currency or percent under `numbers` in the mapping"
                )
        return tuple(found)


def _kind(cell: str) -> str | None:
    bare = cell.strip()
    if not bare or len(bare) > _LONGEST or bare.isdigit():
        return None
    if _DOUBTFUL.fullmatch(bare):
        return "doubtful"
    if _COMMA.fullmatch(bare):
        return "comma"
    if _readable(bare):
        return "point" if _POINT.fullmatch(bare) else None
    if _POINT.fullmatch(bare) or _NUMBER_LIKE.fullmatch(bare):
        return "marked"
    return None


def _readable(bare: str) -> bool:
    try:
        float(bare)
    except ValueError:
        return False
    return True
