"""Every input that is a table comes in every format, and the same rows come out."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.audit.checks.rewards import audit_outcomes
from engine.audit.rule import AuditRule
from engine.contacts.file import contact_batches
from engine.log.parquet import LogReader
from engine.mapping.dialect import mapping_from
from engine.mapping.importer import import_log
from engine.records.outcomes import read_outcomes
from engine.state.fact_file import fact_batches
from experiments.judge.extra_columns import with_columns
from tests.engine.contacts.test_contact_file import CATALOG, NOW, SCHEMA
from tests.engine.mapping.conftest import small
from tests.logs import decision_row, small_meta, write_log

Rows = Sequence[dict[str, Any]]
AT = "2026-11-01T10:00:00+01:00"


def _csv(rows: Rows, delimiter: str = ",", *, spaces: bool = False) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(f" {name} " if spaces else name for name in rows[0])
    writer.writerows(row.values() for row in rows)
    return out.getvalue()


def _lines(rows: Rows) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _parquet(rows: Rows) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{f" {name}": cell for name, cell in row.items()} for row in rows]), out)
    return out.getvalue()


FORMATS: dict[str, tuple[str, Callable[[Rows], bytes]]] = {
    "parquet": (".parquet", _parquet),
    "csv": (".csv", lambda rows: _csv(rows).encode()),
    "csv.gz": (".csv.gz", lambda rows: gzip.compress(_csv(rows).encode())),
    "tsv": (".tsv", lambda rows: _csv(rows, "\t").encode()),
    "tsv.gz": (".tsv.gz", lambda rows: gzip.compress(_csv(rows, "\t").encode())),
    "jsonl": (".jsonl", lambda rows: _lines(rows).encode()),
    "jsonl.gz": (".jsonl.gz", lambda rows: gzip.compress(_lines(rows).encode())),
    "semicolon": (".csv", lambda rows: _csv(rows, ";").encode()),
    "mark of UTF-8": (".csv", lambda rows: _csv(rows).encode("utf-8-sig")),
    "mark of UTF-16": (".csv", lambda rows: _csv(rows).encode("utf-16")),
    "JSON lines in UTF-16": (".jsonl", lambda rows: _lines(rows).encode("utf-16")),
    "names with spaces": (".csv", lambda rows: _csv(rows, spaces=True).encode()),
}


def _log(folder: Path) -> Path:
    meta = small_meta()
    return write_log(folder / "log.parquet", [decision_row(place, meta) for place in range(3)], meta)


def _imported(path: Path) -> Any:
    out = path.parent / "out" / "log.parquet"
    out.parent.mkdir(exist_ok=True)
    report = import_log(mapping_from(small()), path, out, contact_key="key")
    return report.reasons, pq.read_table(out).to_pylist()


def _contacts(path: Path) -> Any:
    (batch,) = contact_batches(path, SCHEMA, CATALOG, NOW)
    names = [batch.zones[code] for code in batch.zone_code], [batch.locales[code] for code in batch.locale_code]
    return (
        list(batch.contact_id),
        names,
        {name: (list(c.values), list(c.state)) for name, c in batch.context.columns.items()},
    )


def _outcomes(path: Path) -> Any:
    table, report = read_outcomes(path)
    return table.to_pylist(), report


def _audited(path: Path) -> Any:
    return audit_outcomes(path, LogReader(_log(path.parent)), AuditRule())


def _facts(path: Path) -> Any:
    return list(fact_batches(path, "key", 100))


def _side(path: Path) -> Any:
    with with_columns(_log(path.parent), path) as reader:
        table = pa.Table.from_batches(reader.batches()).select(["raw_score", "raw_word"])
        return table.to_pylist(), {
            name: str(kind) for name, kind in zip(table.schema.names, table.schema.types, strict=True)
        }


KINDS: dict[str, tuple[Callable[[Path], Any], Rows]] = {
    "a log to import": (
        _imported,
        [
            {"id": f"d{n}", "who": who, "at": AT, "arm": "A", "p": "0.5", "age": "31.5", "plan": "1", "click": "1"}
            for n, who in enumerate(["Zo\u00eb", "a,b", "a;b"])
        ],
    ),
    "contacts": (
        _contacts,
        [
            {"contact_id": who, "time_zone": "Europe/Berlin", "locale": "de-DE", "visits": visits, "stage": "new"}
            for who, visits in (("Zo\u00eb", 3.5), ("a,b", 1.0), ('a"b', 2.0))
        ],
    ),
    "outcomes": (
        _outcomes,
        [
            {"decision_id": one, "event": "purchase", "at": AT, "value_usd": 12.5}
            for one in ("d\u00e9", "a,b", "a;b", "a;b")
        ],
    ),
    "outcomes to audit": (
        _audited,
        [{"decision_id": f"d{place:06d}", "event": "click", "at": AT, "value_usd": 1.5} for place in (0, 1, 7)],
    ),
    "facts": (
        _facts,
        [
            {"fact": "event", "contact_id": who, "at": AT, "kind": "click", "value_usd": 2.5, "source": "a,b"}
            for who in ("Zo\u00eb", "u1")
        ],
    ),
    "further columns": (
        _side,
        [{"decision_id": f"d{place:06d}", "score": place + 0.5, "word": "Zo\u00eb; a, b"} for place in range(3)],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("written_as", FORMATS)
def test_the_same_rows_come_out_of_every_format(tmp_path: Path, kind: str, written_as: str) -> None:
    read, rows = KINDS[kind]
    ending, written = FORMATS[written_as]
    (tmp_path / "plain").mkdir()
    plain = tmp_path / "plain" / "rows.csv"
    plain.write_text(_csv(rows), encoding="utf-8")
    given = tmp_path / f"rows{ending}"
    given.write_bytes(written(rows))
    np.testing.assert_equal(read(given), read(plain))
