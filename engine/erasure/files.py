"""Erasing persons from files: logs, outcomes, rejects, contact and fact files, each rewritten whole or not at all.

A row goes where its `contact_id` or `decision_id` is the persons'; a line of a rejects file goes where it names them at
all. All other rows stay as they were: Parquet keeps its schema, footer and row groups, text keeps its bytes.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import gzip
import json
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.erasure.persons import Persons
from engine.erasure.traces import NAMED, bytes_name, left_in_bytes, names_in, old_spellings
from engine.errors import DataError, StorageError, reason_of
from engine.files.ids import composed, plain_id
from engine.files.parquet import open_parquet
from engine.files.stream import GZIP, marked_encoding
from engine.files.tables import heading_of
from engine.log.whole_file import ParquetFile
from engine.names import name_key
from engine.storage.parts import sync
from engine.types import BoolArray

CONTACT: Final = "contact_id"
DECISION: Final = "decision_id"
_CSV: Final = (".csv", ".tsv", ".txt")
_LINES: Final = (".jsonl", ".ndjson", ".json")
_DELIMITERS: Final = ",;\t|"
_KEYS: Final = {name_key(name): name for name in (CONTACT, DECISION)}
_MAGIC: Final = b"PAR1"
_ARROW_SCHEMA: Final = b"ARROW:schema"

Judge = Callable[[str], bool]


@dataclass(frozen=True)
class ErasedFile:
    """What became of one file.

    Attributes:
        kind: "log", "outcomes", "table", "rejects", "text" or "other".
        removed: rows that were removed.
        left: why the file still names a person, or "".
    """

    kind: str
    removed: int = 0
    left: str = ""


def kind_of(path: Path) -> str:
    """What a file is: Parquet with our footer is a log, with decisions but no contacts outcomes, and so on.

    Raises:
        DataError: it cannot be read.
    """
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".rejects.csv"):
        return "rejects"
    if _starts_with(path, _MAGIC):
        with _parquet(path) as file:
            known = {_plain(column) for column in file.schema_arrow.names}
        if CONTACT in known:
            return "log" if DECISION in known else "table"
        return "outcomes" if DECISION in known else "other"
    return "text" if name.endswith((*_CSV, *_LINES)) else "other"


def decisions_in(path: Path, persons: Persons) -> set[str]:
    """Ids of the persons' decisions in a log; empty for any other file.

    Raises:
        DataError: the file is damaged.
    """
    if kind_of(path) != "log":
        return set()
    found: set[str] = set()
    with _parquet(path) as file:
        who, ids = _column(file, CONTACT), _column(file, DECISION)
        if who is None or ids is None:
            return found
        for batch in file.iter_batches(columns=[who, ids]):
            mine = _among(batch.column(who), persons.contacts)
            found.update(str(name) for name in _texts(batch.column(ids)).filter(pa.array(mine)).to_pylist())
    return found


def erase_from(path: Path, persons: Persons) -> ErasedFile:
    """Remove the persons from one file.

    Raises:
        DataError: the file is damaged; it is as it was.
        StorageError: the disk refused; the file is as it was.
    """
    kind = kind_of(path)
    # Another name of the same bytes would keep them; a rename would put a file in place of a link.
    target = path.resolve()
    if kind in ("log", "outcomes", "table"):
        removed, left = _erase_parquet(target, persons)
    elif kind in ("rejects", "text"):
        removed, left = _erase_lines(target, _judge(target, kind, persons), persons)
    elif _starts_with(target, _MAGIC):
        removed, left = 0, _left_in_parquet(target, persons)
    else:
        with _reading(target):
            removed, left = 0, left_in_bytes(target, persons)
    return ErasedFile(kind, removed, left)


def remove_leftover(path: Path) -> bool:
    """Remove what a killed writer left behind (`.NAME.*.part`); false where its writer is alive.

    Raises:
        DataError: it cannot be removed.
    """
    with _reading(path):
        descriptor = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            path.unlink()
            return True
        finally:
            os.close(descriptor)


def _erase_parquet(path: Path, persons: Persons) -> tuple[int, str]:
    with _parquet(path) as file:
        gone = [_rows_of(file, group, persons) for group in range(file.num_row_groups)]
        removed = int(sum(mask.sum() for mask in gone))
        if removed:
            _require_one_name(path)
            with _same_mode(path), ParquetFile(path, file.schema_arrow) as out:
                # What was noted beside the schema, such as the change of the store that the rows know.
                for key, value in (file.metadata.metadata or {}).items():
                    if key != _ARROW_SCHEMA and key not in (file.schema_arrow.metadata or {}):
                        out.note(key, value)
                for group, mask in enumerate(gone):
                    kept = file.read_row_group(group).filter(pa.array(~mask))
                    if kept.num_rows:
                        out.append(_without_dictionaries(kept))
    return removed, _left_in_parquet(path, persons)


def _rows_of(file: pq.ParquetFile, group: int, persons: Persons) -> BoolArray:
    mine = np.zeros(file.metadata.row_group(group).num_rows, dtype=np.bool_)
    for name, values in ((CONTACT, persons.contacts), (DECISION, persons.decisions)):
        column = _column(file, name)
        if column is not None and values:
            mine |= _among(file.read_row_group(group, columns=[column]).column(0).combine_chunks(), values)
    return mine


def _without_dictionaries(table: pa.Table) -> pa.Table:
    """A dictionary keeps the values of rows that are gone."""
    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        plain = column.cast(field.type.value_type) if pa.types.is_dictionary(field.type) else column
        columns.append(plain.dictionary_encode().cast(field.type) if plain is not column else column)
    return pa.Table.from_arrays(columns, schema=table.schema)


def _left_in_parquet(path: Path, persons: Persons) -> str:
    """Columns beside the ids that still hold a name of the persons, as a whole or inside a text."""
    named: set[str] = set()
    with _parquet(path) as file:
        notes = {**(file.metadata.metadata or {}), **(file.schema_arrow.metadata or {})}
        noted = any(names_in(_said(note), persons) for key, note in notes.items() if key != _ARROW_SCHEMA)
        for batch in file.iter_batches():
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if name not in named and _column_names(column, _plain(name) in (CONTACT, DECISION), persons):
                    named.add(name)
    if named:
        return f"columns {', '.join(sorted(named))} still name a person"
    with _reading(path):
        return NAMED if noted or bytes_name(path, persons) else ""


def _column_names(column: pa.Array, of_ids: bool, persons: Persons) -> bool:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_primitive(kind) or pa.types.is_null(kind):
        return False
    if of_ids:
        return bool(_is_text(kind) and _among(column, persons.telling).any())
    values = column.cast(kind) if kind is not column.type else column
    values = values if pa.types.is_nested(kind) else values.unique()
    return names_in("\n".join(map(_said, values.to_pylist())), persons)


def _said(value: Any) -> str:
    """A value as a text that holds every text inside it."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_said_inside)


def _said_inside(value: Any) -> str:
    return _said(value) if isinstance(value, bytes) else str(value)


def _judge(path: Path, kind: str, persons: Persons) -> Judge:
    """Whether a line (a CSV record, a JSON object) belongs to the persons."""
    if _has_lines(path):
        return lambda line: _json_names(line, persons)
    if kind == "rejects":
        every = persons.contacts | persons.decisions
        names = sorted(every.union(*map(old_spellings, every)), key=len, reverse=True)
        pattern = re.compile(rf"(?<![\w@.+-])(?:{'|'.join(map(re.escape, names))})(?![\w@+-])")
        return lambda line: pattern.search(line) is not None or names_in(line, persons)
    columns, delimiter = _heading(path)
    wanted = [(at, _values(persons, name)) for at, name in enumerate(columns) if name in (CONTACT, DECISION)]

    def named(line: str) -> bool:
        cells = next(csv.reader([line], delimiter=delimiter), [])
        return any(at < len(cells) and plain_id(cells[at]) in values for at, values in wanted)

    return named


def _heading(path: Path) -> tuple[list[str], str]:
    """The columns of a CSV and its delimiter, as contact files are read; of an old encoding only ids may differ."""
    try:
        heading = heading_of(path, encoding="latin-1")
    except DataError:
        header = next((line for line in _records(path) if line.strip()), "")
        delimiter = max(_DELIMITERS, key=header.count)
        return [_plain(name) for name in next(csv.reader([header], delimiter=delimiter), [])], delimiter
    return [_plain(name) for name in heading.names], heading.delimiter


@lru_cache(maxsize=16)
def _values(persons: Persons, column: str) -> frozenset[str]:
    """What a cell of the column holds where it is the persons', also in a text of an old encoding."""
    values = persons.contacts if column == CONTACT else persons.decisions
    return frozenset(map(plain_id, values)).union(*map(old_spellings, values))


def _json_names(line: str, persons: Persons) -> bool:
    found = _object(line)
    return any(
        isinstance(value, (str, int)) and plain_id(str(value)) in _values(persons, _plain(name))
        for name, value in (found or {}).items()
        if _plain(name) in (CONTACT, DECISION)
    )


def _object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_document(path: Path) -> bool:
    """One JSON document over several lines: without one of them it would be none."""
    name = path.name.lower().removesuffix(".gz")
    return name.endswith(".json") and any(line.strip() and _object(line) is None for line in _records(path))


def _has_lines(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(_LINES)


def _erase_lines(path: Path, judge: Judge, persons: Persons) -> tuple[int, str]:
    with _reading(path):
        if _is_document(path):
            return 0, left_in_bytes(path, persons)
        gone = [judge(line) for line in _records(path)]
    removed = sum(gone)
    if removed:
        _require_one_name(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with _same_mode(path), _text(temporary, "wt", like=path) as out:
                for line, mine in zip(_records(path), gone, strict=True):
                    if not mine:
                        out.write(line)
            temporary.chmod(stat.S_IMODE(path.stat().st_mode))
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise StorageError(
                f"cannot rewrite {path}: {reason_of(error)}", hint="the file is as it was; free space"
            ) from error
    with _reading(path):
        return removed, left_in_bytes(path, persons)


def _records(path: Path) -> Iterator[str]:
    """The records of a text as they stand, with their line ends: of a CSV, lines within quotes belong together."""
    quotes = not _has_lines(path)
    held = ""
    with _text(path, "rt", like=path) as file:
        for line in file:
            held += line
            if not quotes or held.count('"') % 2 == 0:
                yield held
                held = ""
    if held:
        yield held


def _text(path: Path, mode: Literal["rt", "wt"], *, like: Path) -> TextIO:
    """A text, packed and encoded like a file that is there; line ends stay as they are."""
    opened: Any = gzip.open if _starts_with(like, GZIP) else open
    with opened(like, "rb") as file:
        start = file.read(4)
    encoding = marked_encoding(start) or "utf-8"
    # Bytes that are no UTF-8 come back as they were.
    errors = "surrogateescape" if encoding.startswith("utf-8") else None
    text: TextIO = opened(path, mode, newline="", encoding=encoding, errors=errors)
    return text


def _require_one_name(path: Path) -> None:
    if path.stat().st_nlink > 1:
        raise DataError(
            f"{path} has other names (hard links), under which the persons would stay",
            hint="remove the other names, or give the file a copy of its own",
        )


@contextlib.contextmanager
def _same_mode(path: Path) -> Iterator[None]:
    """What is written inside gets the rights of the file that it replaces, at no moment wider ones."""
    mode = stat.S_IMODE(path.stat().st_mode)
    before = os.umask(0o777 & ~mode)
    try:
        yield
    finally:
        os.umask(before)
    path.chmod(mode)


def _parquet(path: Path) -> pq.ParquetFile:
    return open_parquet(path)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What may happen while a text is read, as an error of ours."""
    try:
        yield
    except (OSError, EOFError, UnicodeError, csv.Error, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read: {reason_of(error)}", hint="is it damaged?") from error


def _starts_with(path: Path, magic: bytes) -> bool:
    with _reading(path), path.open("rb") as file:
        return file.read(len(magic)) == magic


def _column(file: pq.ParquetFile, wanted: str) -> str | None:
    return next((name for name in file.schema_arrow.names if _plain(name) == wanted), None)


def _plain(name: str) -> str:
    """The name by which the readers of contact files know a column."""
    return _KEYS.get(name_key(name), name)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _texts(column: pa.Array) -> pa.Array:
    return pc.utf8_trim_whitespace(column.cast(pa.string()))


def _among(column: pa.Array, values: frozenset[str]) -> BoolArray:
    try:
        text = _texts(column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # Nested or binary: no id of ours.
        return np.zeros(len(column), dtype=np.bool_)
    wanted = sorted(frozenset(map(plain_id, values)))
    found = pc.is_in(composed(text), value_set=pa.array(wanted, pa.string()))
    mine: BoolArray = np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.bool_)
    return mine
