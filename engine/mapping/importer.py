"""Import a foreign log: two passes in flat memory, a whole file or nothing, and every rejected row on record."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np
import pyarrow as pa

from engine.catalog import Catalog
from engine.contacts.key import marked
from engine.content.eligibility import refuse_modular
from engine.errors import DataError, ParameterError
from engine.files.ids import SeenHashes
from engine.log.parquet import ParquetFile
from engine.mapping.actions import catalog_of, check_eligible_names, propensity_table
from engine.mapping.needs import Scan, check_columns, raw_columns, scan
from engine.mapping.number_format import with_format
from engine.mapping.rejections import RejectTally, sentences
from engine.mapping.rejects_file import RejectsFile, rejects_path
from engine.mapping.rows import RowConverter
from engine.mapping.sources import TextBatch, open_source
from engine.mapping.spec import Mapping
from engine.records import schema as records
from engine.records.schema import LogMeta, log_schema
from engine.storage.artefact import sha256
from engine.types import HOLD

Progress = Callable[[int, int], None]
# Columns that name a person, by their usual names, alone or before `id`, `key`, `no` and the like.
_PERSON: Final = re.compile(
    r"(?:user|customer|client|member|contact|person|subscriber|recipient|household|visitor|account|donor|patient|voter"
    r"|e?mail|email_address|phone|msisdn)[_ -]?(?:id|key|no|nr|number|uuid|hash)?s?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ImportReport:
    """What an import did; rows_kept + rows_rejected = rows_read.

    Attributes:
        reasons: reason -> number of rejected rows.
        actions: number of actions that the log could take (hold counts where the log can hold).
        action_names: their names.
        propensity: "logged" or "absent".
        rejects_file: the CSV of the rejected rows; None where no row was rejected.
        notes: sentences that every report must repeat, the warnings among them.
        warnings: what is wrong with the rows that were lost.
        input_sha256: of the input file, hexadecimal.
    """

    rows_read: int
    rows_kept: int
    rows_rejected: int
    reasons: dict[str, int]
    actions: int
    action_names: tuple[str, ...]
    propensity: Literal["logged", "absent"]
    rejects_file: Path | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    input_sha256: str
    out: Path


def import_log(
    mapping: Mapping,
    input_path: Path | str,
    out_path: Path | str,
    *,
    contact_key: str,
    progress: Progress | None = None,
    show_values: bool = False,
) -> ImportReport:
    """Turn a foreign log into one of ours.

    Args:
        mapping: what `engine.mapping.dialect.load_mapping` gave.
        input_path: CSV, Parquet or JSON lines, also gzipped; companions lie beside it.
        out_path: the Parquet file to write; rejected rows go to `OUT.rejects.csv` beside it.
        contact_key: secret key of the pseudonyms of contacts; the same key gives the same pseudonyms.
        progress: called with (rows done, rows in all) after each batch.
        show_values: write ids and features of rejected rows as they are; masked by default.

    Raises:
        ParameterError: an empty key, or an output that is the input.
        ConfigError: the mapping contradicts the log (an unknown action in its tables, for example).
        DataError: the input cannot be read, lacks columns, or no row of it can be kept.
        StorageError: the output cannot be written. In every case nothing stands under the output's name that was
            not there before.
    """
    path, out = Path(input_path), Path(out_path)
    if not contact_key:
        raise ParameterError("contact_key", "import_log", allowed="a non-empty string", got=contact_key)
    if path.exists() and out.exists() and path.samefile(out):
        raise ParameterError("out_path", "import_log", allowed="another file than the input", got=str(out))
    source = with_format(mapping, open_source(path, mapping.format, mapping.csv))
    check_columns(mapping, source, path)
    raw = raw_columns(mapping, source)
    found = scan(mapping, source, raw)
    if found.rows == 0:
        raise DataError(f"{path} holds no rows", hint="a header alone is no log: export it again")
    catalog = catalog_of(mapping, source, found, path)
    refuse_modular(catalog, "an import")
    propensity_table(mapping, catalog)
    check_eligible_names(mapping, catalog)
    digest = sha256(path)
    meta = _meta(mapping, catalog, raw, f"{path.name} sha256:{digest}", contact_key, found.hints)
    schema = _with_raw(log_schema(meta), raw, found)
    converter = RowConverter(mapping, catalog, schema, {n: n not in found.text for n in raw}, contact_key, SeenHashes())
    even = propensity_table(mapping, catalog) is not None and mapping.eligible is None
    tally = RejectTally(catalog.action_names, even=even)
    rejects = RejectsFile(rejects_path(out), show_values=show_values)
    batches = _told(source.batches(), found.rows, progress)
    meta = _write(converter, batches, out, meta, tally, rejects)
    names = catalog.action_names[HOLD if mapping.hold is not None else HOLD + 1 :]
    return ImportReport(
        rows_read=tally.kept + tally.rejected,
        rows_kept=tally.kept,
        rows_rejected=tally.rejected,
        reasons=dict(tally.rows.most_common()),
        actions=len(names),
        action_names=names,
        propensity=meta.propensity,
        rejects_file=rejects_path(out) if tally.rejected else None,
        notes=meta.notes,
        warnings=(*found.hints, *sentences(tally.result())),
        input_sha256=digest,
        out=out,
    )


def _told(batches: Iterator[TextBatch], rows: int, progress: Progress | None) -> Iterator[TextBatch]:
    """The batches; progress is told of each once it has been used."""
    done = 0
    for batch in batches:
        yield batch
        done += batch.n + len(batch.faults)
        if progress is not None:
            progress(done, rows)


def _write(
    converter: RowConverter,
    batches: Iterator[TextBatch],
    out: Path,
    meta: LogMeta,
    tally: RejectTally,
    rejects: RejectsFile,
) -> LogMeta:
    """Write the log and its rejected rows; the footer says what was rejected, so it comes last."""
    with rejects, ParquetFile(out, converter.schema.remove_metadata(), late_footer=True) as file:
        for batch in batches:
            table, rejected = converter.convert(batch)
            if table.num_rows:
                file.append(table)
            rejects.append(rejected)
            tally.add(table.column("action").to_numpy().astype(np.int64), rejected)
        if tally.kept == 0:
            top = "; ".join(f"{reason}: {count}" for reason, count in tally.rows.most_common(3))
            example = f" (first: {rejects.example})" if rejects.example else ""
            raise DataError(
                f"none of {tally.rejected} rows can be kept: {top}{example}",
                hint="the mapping does not fit this log; nothing was written",
            )
        if tally.rejected:
            found = tally.result()
            meta = msgspec.structs.replace(meta, rejections=found, notes=(*meta.notes, *sentences(found)))
        file.set_footer(log_schema(meta).metadata)
        # Before the log appears, so that a disk that fills up here leaves neither.
        rejects.sync()
    return meta


def _meta(
    mapping: Mapping, catalog: Catalog, raw: Sequence[str], source: str, contact_key: str, hints: tuple[str, ...]
) -> LogMeta:
    return LogMeta(
        catalog=catalog,
        features=mapping.schema(),
        rewards={name: reward.spec() for name, reward in mapping.rewards.items()},
        propensity="absent" if mapping.propensity.absent else "logged",
        clustered=mapping.cluster is not None,
        source=f"mapping {mapping.name}: {source}",
        notes=(*mapping.notes, *hints, *_no_contact(mapping, raw)),
        raw_columns=tuple(raw),
        contact_key=marked(contact_key),
    )


def _no_contact(mapping: Mapping, raw: Sequence[str]) -> tuple[str, ...]:
    """A sentence where no contact is declared although a column looks like one: repeated contacts stay unseen then."""
    looks = [name for name in raw if _PERSON.fullmatch(name)] if mapping.contact is None else []
    if not looks:
        return ()
    said = (
        f"The mapping declares no contact, so each row is taken to be a contact of its own; {looks[0]!r} looks like one"
    )
    return (f"{said}: `contact: {{column: {looks[0]}}}`.",)


def _with_raw(schema: pa.Schema, raw: Sequence[str], found: Scan) -> pa.Schema:
    fields = [pa.field(records.RAW + n, pa.string() if n in found.text else pa.float64(), True) for n in raw]
    return pa.schema([*schema, *fields], metadata=schema.metadata)
