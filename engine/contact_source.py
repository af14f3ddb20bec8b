"""Blocks of rows from Parquet, CSV (plain or gzip) and JSON-lines, each in flat memory."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from engine.contact_columns import Block
from engine.errors import DataError
from engine.plain_data import DuplicateKeyError, read_json

PARQUET = (".parquet",)
CSV = (".csv", ".csv.gz")
JSON_LINES = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")
_CSV_BUFFER_BYTES = 2 << 20


def row_blocks(path: Path, rows: int) -> Iterator[Block]:
    """Blocks of at most `rows` rows, in file order.

    Raises:
        DataError: no such file, another kind of file, a damaged one, or one without rows.
    """
    name = path.name.lower()
    if not path.is_file():
        raise DataError(f"there is no contact file {str(path)!r}")
    if name.endswith(PARQUET):
        batches = _parquet(path, rows)
    elif name.endswith(CSV):
        batches = _csv(path, rows)
    elif name.endswith(JSON_LINES):
        batches = _json_lines(path, rows)
    else:
        raise DataError(
            f"{path.name} is no contact file", hint=f"the name must end in {', '.join(PARQUET + CSV + JSON_LINES)}"
        )
    first = 1
    try:
        for columns, n in batches:
            if n:
                yield Block(columns, first, n, path.name)
            first += n
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path.name} cannot be read after row {first - 1}: {error}", hint="the file is damaged or cut short"
        ) from error
    if first == 1:
        raise DataError(
            f"{path.name} holds no contacts", hint="an empty file is more often a failed export than nobody"
        )


Columns = tuple[dict[str, pa.Array], int]


def _columns(batch: pa.RecordBatch) -> Columns:
    names = batch.schema.names
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"column names must be unique, got {repeated} twice")
    return dict(zip(names, batch.columns, strict=True)), batch.num_rows


def _parquet(path: Path, rows: int) -> Iterator[Columns]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=rows):
            yield _columns(batch)


def _csv(path: Path, rows: int) -> Iterator[Columns]:
    """Everything as strings: the parsers of the columns know better than a guess from the first rows."""
    with _opened(path) as file:
        header = file.readline().decode("utf-8-sig").rstrip("\r\n")
    if not header:
        raise DataError(f"{path.name} is empty", hint="the first line names the columns")
    names = pa_csv.read_csv(io.BytesIO(f"{header}\n".encode())).column_names
    convert = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
    )
    parse = pa_csv.ParseOptions(newlines_in_values=True)
    read = pa_csv.ReadOptions(block_size=_CSV_BUFFER_BYTES, use_threads=False)
    with _opened(path) as file, pa_csv.open_csv(pa.PythonFile(file, mode="r"), read, parse, convert) as reader:
        for batch in reader:
            for start in range(0, batch.num_rows, rows):
                yield _columns(batch.slice(start, rows))


def _json_lines(path: Path, rows: int) -> Iterator[Columns]:
    row = 0
    with _opened(path) as file:
        lines = (line for line in file if line.strip())
        while chunk := list(islice(lines, rows)):
            objects = []
            for line in chunk:
                row += 1
                try:
                    objects.append(_object(line))
                except (msgspec.MsgspecError, DuplicateKeyError) as error:
                    raise DataError(f"{path.name}: row {row} is no JSON object: {error}") from error
            names = dict.fromkeys(name for one in objects for name in one)
            yield {name: _typed(path, name, [one.get(name) for one in objects]) for name in names}, len(objects)


def _object(line: bytes) -> dict[str, Any]:
    value = read_json(line)
    if not isinstance(value, dict):
        raise msgspec.ValidationError(f"expected an object, got {type(value).__name__}")
    return value


def _typed(path: Path, name: str, values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
        raise DataError(f"{path.name}: column {name!r} mixes kinds of values: {error}") from error


def _opened(path: Path) -> io.BufferedIOBase:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
