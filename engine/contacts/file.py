"""Contact files to batches: columns by convention (docs/contacts.md), flat memory, and no silent repair.

An absent value is missing, and rules block on it; a wrong value is an error with its row.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.catalog import Catalog
from engine.contacts.attributes import COLUMNS as ATTRIBUTES
from engine.contacts.attributes import CONSENT_DETAILS, CONSENT_TOLD, SUPPRESSED_TOLD, AttributeReader, consent_of
from engine.contacts.columns import ColumnBatch, coded, file_batches, flags, known, numbers
from engine.contacts.contacts import UNKNOWN, ContactBatch, LevelArray
from engine.contacts.histories import events_of, sends_of
from engine.contacts.names import column_names
from engine.contacts.places import COLUMNS as PLACES
from engine.contacts.places import PlaceReader
from engine.errors import DataError, ParameterError
from engine.features import (
    MISSING,
    PRESENT,
    Column,
    ContextBatch,
    FeatureSchema,
    FeatureSpec,
    age_states,
    categorical_column,
    numeric_column,
)
from engine.files.ids import SeenHashes, ids_of
from engine.files.stream import open_text
from engine.files.tables import ENDINGS, kind_of
from engine.identity import keyed_hash
from engine.storage.given import Given, files_of
from engine.time.localtime import instant_of
from engine.types import NOT_AN_INSTANT, CodeArray, IntArray, KeyArray, ObjectArray

DEFAULT_ROWS: Final = 8192
# Inputs that the reader makes itself, so that a rule's `reads` never fetches the raw column.
OF_THE_CONTRACT: Final = frozenset({*PLACES, *ATTRIBUTES, *CONSENT_DETAILS, CONSENT_TOLD, SUPPRESSED_TOLD, "events"})


def contact_batches(
    path: Given,
    schema: FeatureSchema,
    catalog: Catalog,
    now: datetime,
    rows: int = DEFAULT_ROWS,
    extra: Sequence[str] = (),
) -> Iterator[ContactBatch]:
    """Read a contact file batch by batch.

    Args:
        path: Parquet, CSV or JSON lines, text also in gzip (`engine.files.tables.KINDS`); a folder of such files, a
            glob, or several of these.
        schema: the features; a feature without a column is missing in every row.
        catalog: gives the channels.
        now: aware; values newer than it are not seen.
        rows: the most contacts that a batch may hold.
        extra: further columns that guardrail rules read (`Guardrails.extra_inputs`), kept as objects.

    Raises:
        DataError: a wrong value (with its row), a contact id that stands in the files twice, or a file that
            cannot be read.
        ParameterError: a naive `now`, or rows < 1.
    """
    if rows < 1:
        raise ParameterError("rows", "contact_batches", allowed="1 or more", got=rows)
    reader = _Reader(schema, catalog, instant_of(now, owner="contact_batches"), tuple(extra))
    for file in files_of(path, what="contact", endings=ENDINGS):
        for batch in file_batches(file, rows):
            yield reader.read(batch)


class _Reader:
    """What outlives a batch: the names met so far, and the hashes of the ids."""

    def __init__(self, schema: FeatureSchema, catalog: Catalog, now_at: int, extra: tuple[str, ...]) -> None:
        self._schema, self._catalog, self._now_at = schema, catalog, now_at
        self._extra = tuple(name for name in extra if name not in OF_THE_CONTRACT)
        self._places, self._attributes = PlaceReader(), AttributeReader()
        self._locales: dict[str, int] = {}
        self._seen = SeenHashes()
        features = [name for spec in schema.features for name in (spec.name, f"{spec.name}_at")]
        self._names = column_names(catalog, (*features, *self._extra))

    def read(self, batch: ColumnBatch) -> ContactBatch:
        batch = self._names.named(batch)
        ids = self._ids(batch)
        as_of = batch.instants("as_of")
        sends = sends_of(batch, self._catalog)
        consent, details = consent_of(batch, self._catalog, self._now_at)
        places = self._places.read(batch, as_of, self._now_at)
        extra = {**places.extra, **details, **self._attributes.read(batch)}
        told = np.stack([batch.tells(f"suppressed_{channel}") for channel in self._catalog.channels], axis=1)
        extra |= {SUPPRESSED_TOLD: told} if told.any() else {}
        levels = {**self._places.levels(), **self._attributes.levels()}
        own = {name: _objects(batch, name) for name in self._extra if name in batch.columns}
        return ContactBatch(
            contact_id=ids,
            zone_code=places.zone_code,
            zones=tuple(self._places.zones),
            context=self._context(batch, as_of),
            consent=consent,
            suppressed=self._suppressed(batch),
            sent_offsets=sends.offsets,
            sent_at=sends.at,
            sent_channel=sends.channel,
            sent_purpose=sends.purpose,
            history_known=sends.known,
            locale_code=self._locale_codes(batch),
            locales=tuple(self._locales),
            extra=own | extra,
            sent_details=sends.details,
            levels={name: known_levels for name, known_levels in levels.items() if name in extra} | sends.levels,
            events=events_of(batch, self._catalog, self._now_at),
        )

    def _ids(self, batch: ColumnBatch) -> ObjectArray:
        column = batch.column("contact_id")
        if column is None:
            raise DataError(
                f"{batch.source} has no column 'contact_id'", hint=f"its columns are {', '.join(batch.columns)}"
            )
        column = ids_of(column, "contact_id", source=batch.source, first_row=batch.first_row)
        batch.fail("contact_id", ~known(column), column, "must not be empty")
        ids: ObjectArray = column.to_numpy(zero_copy_only=False).astype(object)
        hashes: KeyArray = keyed_hash(ids, "contact file")
        again = np.ones(batch.n, dtype=np.bool_)
        again[np.unique(hashes, return_index=True)[1]] = False
        again |= self._seen.known(hashes)
        batch.fail("contact_id", again, ids, "must be unique", "keep one row per contact: two rows mean two decisions")
        self._seen.add(hashes)
        return ids

    def _locale_codes(self, batch: ColumnBatch) -> CodeArray:
        """Codes into a table that grows with the file."""
        column = batch.column("locale")
        if column is None:
            return np.full(batch.n, UNKNOWN, dtype=np.int32)
        codes, levels = coded(column)
        positions = [self._locales.setdefault(level, len(self._locales)) for level in levels]
        return np.array([*positions, UNKNOWN], dtype=np.int32)[codes]

    def _suppressed(self, batch: ColumnBatch) -> LevelArray:
        levels = np.full((batch.n, len(self._catalog.channels)), UNKNOWN, dtype=np.int8)
        for position, channel in enumerate(self._catalog.channels):
            column = batch.column(f"suppressed_{channel}")
            if column is not None:
                levels[:, position] = flags(batch, f"suppressed_{channel}", column)
        return levels

    def _context(self, batch: ColumnBatch, fallback: IntArray) -> ContextBatch:
        columns = {spec.name: self._feature(batch, spec, fallback) for spec in self._schema.features}
        return ContextBatch(self._schema, columns, batch.n)

    def _feature(self, batch: ColumnBatch, spec: FeatureSpec, fallback: IntArray) -> Column:
        column = batch.column(spec.name)
        if column is None:
            column = pa.nulls(batch.n, pa.float64() if spec.type == "numeric" else pa.string())
        as_of = batch.instants(f"{spec.name}_at")
        as_of = np.where(as_of == NOT_AN_INSTANT, fallback, as_of)
        if spec.type == "numeric":
            values, present = numbers(batch, spec.name, column)
            _check_range(batch, spec, column, values)
            return numeric_column(spec, values, self._states(spec, present, as_of))
        codes, levels = coded(column)
        _check_levels(batch, spec, column, codes, levels)
        return categorical_column(spec, codes, levels, self._states(spec, codes >= 0, as_of))

    def _states(self, spec: FeatureSpec, present: np.ndarray[Any, Any], as_of: IntArray) -> np.ndarray[Any, Any]:
        state = np.where(present, PRESENT, MISSING).astype(np.uint8)
        return age_states(state, as_of, self._now_at, spec.max_age_days, NOT_AN_INSTANT)


def _check_range(batch: ColumnBatch, spec: FeatureSpec, column: pa.Array, values: np.ndarray[Any, Any]) -> None:
    low = -np.inf if spec.low is None else spec.low
    high = np.inf if spec.high is None else spec.high
    batch.fail(spec.name, (values < low) | (values > high), column, f"must be in [{low:g}, {high:g}]")


def _check_levels(
    batch: ColumnBatch, spec: FeatureSpec, column: pa.Array, codes: CodeArray, levels: tuple[str, ...]
) -> None:
    if spec.levels:
        allowed = np.array([*(level in spec.levels for level in levels), True], dtype=np.bool_)
        batch.fail(spec.name, ~allowed[codes], column, f"must be one of {list(spec.levels)}")


def _objects(batch: ColumnBatch, name: str) -> np.ndarray[Any, Any]:
    values = np.empty(batch.n, dtype=object)
    values[:] = batch.columns[name].to_pylist()
    return values


def has_at_least(given: Given, rows: int) -> bool:
    """True if the contact files have `rows` rows or more; one that cannot be read has none, reading it will say why.

    Parquet says it in its footer; of text files the lines are counted, a heading included, and no further than needed.
    """
    found = 0
    for path in files_of(given, what="contact", endings=ENDINGS):
        found += _row_count(path, rows - found)
        if found >= rows:
            return True
    return False


def _row_count(path: Path, rows: int) -> int:
    lines = 0
    try:
        if kind_of(path) == "parquet":
            # No data is read here, so nothing is verified: reading the file does that.
            return int(pq.read_metadata(path).num_rows)
        with open_text(path) as file:
            while lines < rows and (chunk := file.read(1 << 20)):
                lines += chunk.count("\n")
    except (DataError, OSError, EOFError, UnicodeError, zlib.error, pa.ArrowException):
        return 0
    return lines
