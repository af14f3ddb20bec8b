"""One file of a log: opened, its rows checked against its footer, and read under the catalog that is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa

from engine.catalog import Catalog
from engine.errors import LogFormatError, reason_of
from engine.files.parquet import UNREADABLE, open_parquet
from engine.guardrails.pack import pack_from
from engine.log.action_names import CHECKED, NamedActions
from engine.log.columns import conform, used_labels
from engine.records import schema as records
from engine.records.rounds import CHUNK_ROWS
from engine.records.schema import MARK_KEY, SETTINGS_KEY, LogMeta
from engine.state.sequence import Mark

ENDINGS: Final = (".parquet",)
# Columns that say which action a row is about: none of them is read without looking whether they agree.
_OF_ACTIONS: Final = frozenset({*CHECKED, "eligible", "channel", "send_hour", "arm"})


class LogFile:
    """A Parquet file with a footer of ours.

    Attributes:
        path / schema / meta / rows: place, schema, footer and number of rows of the file.

    Raises:
        LogFormatError: missing, empty or truncated file, or no footer of ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not self.path.exists():
            raise LogFormatError(f"{self.path} does not exist", hint="make it with `tactful import`")
        self._file = open_parquet(self.path, LogFormatError)
        self.schema: pa.Schema = self._file.schema_arrow
        self.meta: LogMeta = records.meta_of(self.schema, source=str(self.path))
        self.rows: int = self._file.metadata.num_rows
        self._declared = records.log_schema(self.meta)
        self._pack: str | None = None
        self._actions = NamedActions(self.meta.catalog, self.meta.catalog, str(self.path))
        missing = set(self._declared.names) - set(self.schema.names)
        if missing:
            raise LogFormatError(f"{self.path} lacks the columns {sorted(missing)}", hint="see docs/schema.md")
        if self.rows == 0:
            raise LogFormatError(f"{self.path} holds no rows", hint="nothing can be learnt from an empty log")

    def read_under(self, catalog: Catalog) -> None:
        """Read the actions under this catalog from now on.

        Raises:
            LogFormatError: it does not know all actions of the file's own.
        """
        self._actions = NamedActions(self.meta.catalog, catalog, str(self.path))

    @property
    def mark(self) -> Mark | None:
        """The newest change of the state store among the decisions; None where there was no store.

        Raises:
            LogFormatError: a footer that cannot be read.
        """
        found = (self._file.metadata.metadata or {}).get(MARK_KEY)
        if found is None:
            return None
        try:
            return msgspec.json.decode(found, type=Mark)
        except msgspec.MsgspecError as error:
            why = reason_of(error)
            raise LogFormatError(f"{self.path} has a damaged footer: {why}", hint="write it again") from error

    @property
    def settings(self) -> bytes | None:
        """All that the decisions depended on besides contact and instant, as JSON; None where there was no store."""
        found: bytes | None = (self._file.metadata.metadata or {}).get(SETTINGS_KEY)
        return found

    def further(self) -> dict[str, pa.DataType]:
        """Columns that the schema does not declare, with their types: raw ones, and those that people added."""
        return {field.name: field.type for field in self.schema if field.name not in self._declared.names}

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Arrow batches in the declared types, the actions as `read_under` asked.

        Raises:
            LogFormatError: a row group that cannot be decoded, rows that break the schema, or rows whose actions do not
                belong to the footer's catalog.
        """
        wanted = list(self.schema.names if columns is None else columns)
        of_actions, of_rules = not _OF_ACTIONS.isdisjoint(wanted), "rule_inputs" in wanted
        further = [*(CHECKED if of_actions else ()), *(["pack_version"] if of_rules else [])]
        read = list(dict.fromkeys([*wanted, *further]))
        try:
            for batch in self._file.iter_batches(batch_size=CHUNK_ROWS, columns=read):
                rows = self._conform(batch)
                if of_rules:
                    self._check_pack(rows)
                if of_actions:
                    self._actions.check(rows)
                    rows = self._actions.read(rows)
                yield rows if read == wanted else rows.select(wanted)
        except UNREADABLE as error:
            if isinstance(error, LogFormatError):
                raise
            raise LogFormatError(f"{self.path} is damaged: {error}", hint="write the file again") from error

    def _check_pack(self, batch: pa.RecordBatch) -> None:
        """What rules read means nothing without their pack: rows of another one than the footer's are refused."""
        if self.meta.pack is None:
            return
        if self._pack is None:
            self._pack = pack_from(self.meta.pack, source=f"the footer of {self.path}").pack_version
        others = sorted(used_labels(batch.column("pack_version")) - {self._pack})
        if others:
            raise LogFormatError(
                f"{self.path} holds rows that were decided under the pack {others[0]}, its footer has {self._pack}",
                hint="give the files as they were written, beside each other: --log A --log B",
            )

    def _conform(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        # Other tools keep the footer but change the types (pandas writes large strings), or leave holes.
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        for name, column in columns.items():
            position = self._declared.get_field_index(name)
            if position < 0:
                continue
            field = self._declared.field(position)
            try:
                columns[name] = conform(column, field)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
                raise LogFormatError(
                    f"{self.path} does not keep the schema in column {name!r}: {error}", hint="see docs/schema.md"
                ) from error
        return pa.RecordBatch.from_pydict(columns)
