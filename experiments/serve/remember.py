"""The contacts' own past: counted into a log for training and judging, and from a log for the decisions of today."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from engine.contacts.contacts import ContactBatch
from engine.contacts.key import require_same
from engine.content.eligibility import is_modular
from engine.errors import ConfigError, DataError
from engine.features import Column
from engine.identity import contact_pseudonyms, keyed_hash
from engine.log.parquet import LogReader, conform_to, instants
from engine.log.whole_file import ParquetFile
from engine.records import schema as records
from engine.records.schema import LogMeta, Remembered
from engine.storage.given import Given
from engine.time.localtime import instant_of
from engine.types import KeyArray, ObjectArray
from experiments.outputs import CommandOutput
from policies.parts.memory.columns import GROUP, kinds, memory_features, with_memory
from policies.parts.memory.sums import Memory
from policies.trained import TrainedFolder

_CHUNKS_PER_GROUP: Final = 32


class RememberOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful remember --json`.

    Attributes:
        log: the log that was written.
        rows / sends / hits: decisions, and the sends and hits among them that are counted.
        kinds: kind -> its levels, as they are counted.
        features: how many features were added or written anew.
    """

    log: str
    rows: int
    metric: str
    known_days: float
    sends: int
    hits: int
    kinds: dict[str, list[str]]
    features: int


def remember(log: Given, metric: str, known_days: float, out: Path) -> RememberOutput:
    """Write a log again with the counts of each contact's own past, as they were known at each decision.

    Memory holds some 40 bytes a send and kind, beside a few chunks of decisions.

    Args:
        log: with the metric, one file or several: what they do not show is not remembered.
        metric: 0 or 1: the stage whose hits are counted.
        known_days: days after a decision from which on its stage counts as known, at least the window of the join.
        out: final name of the new log; it appears whole or not at all.

    Raises:
        DataError: no such metric, or a value that is neither 0 nor 1; a modular catalog.
        LogFormatError: no log of ours.
        ParameterError: `known_days` is negative or not finite.
        StorageError: the new log could not be written.
    """
    reader = LogReader(log)
    memory = _memory(reader, metric, known_days)
    sends, hits = _read(memory, reader)
    catalog = reader.meta.catalog
    meta = msgspec.structs.replace(
        reader.meta,
        features=with_memory(reader.meta.features, catalog, metric),
        memory=Remembered(stage=metric, known_days=known_days),
    )
    schema = _schema(reader, meta)
    with ParquetFile(out, schema) as file:
        held: list[pa.Table] = []
        for batch in reader.batches():
            at = instants(batch.column("decided_at"))
            who = batch.column("contact_id").to_numpy(zero_copy_only=False).astype(object)
            held.append(_with_counts(batch, memory.at(keys_of(who), at), meta, schema))
            if len(held) == _CHUNKS_PER_GROUP:
                file.append(_together(held))
                held = []
        if held:
            file.append(_together(held))
    return RememberOutput(
        log=str(out),
        rows=reader.rows,
        metric=metric,
        known_days=known_days,
        sends=sends,
        hits=hits,
        kinds={kind.name: list(kind.levels) for kind in kinds(catalog)},
        features=len(memory_features(catalog, metric)),
    )


@dataclass(frozen=True)
class Recollection:
    """What the contacts of today answered before, counted from logs of earlier decisions.

    Attributes:
        memory: of the logs.
        contact_key: under which their pseudonyms were made.
        note: what is counted, for the footer of the decisions.
    """

    memory: Memory
    contact_key: str
    note: Remembered

    @classmethod
    def of(cls, history: Given, trained: TrainedFolder, contact_key: str) -> Recollection:
        """Count what a policy remembers.

        Args:
            history: logs with the policy's stage.
            trained: whose training log was made by `remember`.
            contact_key: of the contacts that are decided for.

        Raises:
            ConfigError: the policy reads nothing of the contacts' past, or the logs are under another key.
            DataError: the logs lack the stage.
        """
        said: Mapping[str, Any] | None = trained.source.get(GROUP)
        if said is None:
            raise ConfigError(
                f"{trained.path} was trained on a log that counts nothing of the contacts' past, so `history` is of no "
                "use to it",
                hint="drop --history, or train on a log that `tactful remember` wrote",
            )
        reader = LogReader(history)
        require_same(reader.meta.contact_key, contact_key, where=str(reader.path))
        note = msgspec.convert(said, Remembered)
        memory = _memory(reader, note.stage, note.known_days)
        _read(memory, reader)
        return cls(memory, contact_key, note)

    def into(self, contacts: ContactBatch, now: datetime) -> ContactBatch:
        """The contacts with their counts at an instant; what their file says of them is replaced."""
        who = keys_of(contact_pseudonyms(contacts.contact_id, self.contact_key))
        at = np.full(contacts.n, instant_of(now, owner="history"), dtype=np.int64)
        context = contacts.context
        return replace(contacts, context=self.memory.context(context, who, at, context.schema))


def _memory(reader: LogReader, metric: str, known_days: float) -> Memory:
    reader.require_metric(metric)
    if is_modular(reader.meta.catalog):
        raise DataError(
            f"{reader.path} has a modular catalog, whose arms are not remembered", hint="see docs/modular-content.md"
        )
    return Memory(reader.meta.catalog, metric, known_days)


def _read(memory: Memory, reader: LogReader) -> tuple[int, int]:
    """Give the memory every send of a log; how many sends and hits are known."""
    sends, hits = 0, 0.0
    for batch in reader.rounds(rewards=[memory.stage], extra=["contact_id"], context=False):
        stage = batch.rewards[memory.stage]
        wrong = ~np.isnan(stage) & (stage != 0.0) & (stage != 1.0)
        if wrong.any():
            raise DataError(
                f"{memory.stage!r} must be 0 or 1, got {stage[wrong][0]:g} for {batch.decision_id[wrong][0]!r}",
                hint="remember a stage (a click, a visit, a reply), not money",
            )
        kept = memory.add(batch, keys_of(batch.extra["contact_id"]))
        sends, hits = sends + int(kept.sum()), hits + float(stage[kept].sum())
    return sends, int(hits)


def keys_of(contact: ObjectArray) -> KeyArray:
    """(n,) keys by which pseudonyms are remembered."""
    return keyed_hash(contact, "memory")


def _schema(reader: LogReader, meta: LogMeta) -> pa.Schema:
    """The columns of the log's schema, then those that the log has beside it."""
    schema: Any = records.log_schema(meta)
    for field in reader.schema:
        if field.name not in schema.names:
            schema = schema.append(field)
    return schema


def _together(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def _with_counts(batch: pa.RecordBatch, counts: Mapping[str, Column], meta: LogMeta, schema: pa.Schema) -> pa.Table:
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    for name, column in counts.items():
        columns[records.CONTEXT + name] = pa.array(column.values, from_pandas=True)
        columns[records.STATE + name] = pa.array(column.state)
    version = pa.array([meta.features.version] * batch.num_rows, pa.string())
    columns["schema_version"] = version.dictionary_encode()
    return conform_to(pa.table({name: columns[name] for name in schema.names}), schema)
