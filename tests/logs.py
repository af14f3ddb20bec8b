"""Small logs for tests: rows as dicts and the meta that they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.catalog import one_axis_catalog
from engine.features import FeatureSchema
from engine.log.parquet import ParquetFile
from engine.records.schema import LogMeta, log_schema
from tests.strategies import categorical_spec, numeric_spec

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def small_meta(**changes: Any) -> LogMeta:
    """Hold and two arms, one numeric and one categorical feature."""
    catalog = one_axis_catalog("small", ["mens", "womens"], hold_name="none")
    features = FeatureSchema(features=(numeric_spec("spend"), categorical_spec("zip")))
    return LogMeta(**{"catalog": catalog, "features": features, **changes})


def decision_row(number: int, meta: LogMeta, **changes: Any) -> dict[str, Any]:
    """Decision `number`, one minute after the one before."""
    row: dict[str, Any] = {
        "decision_id": f"d{number:06d}",
        "contact_id": f"{number:032x}",
        "cluster": 2**64 - 1 - number,
        "decided_at": START + timedelta(minutes=number),
        "use_case": "demo",
        "group": "treatment",
        "channel": "email",
        "send_hour": "now",
        "arm": "mens",
        "action_name": "mens",
        "action": 1,
        "propensity": 1 / 3,
        "eligible": b"\x07",
        "available": True,
        "state": "decided",
        "send_at": START + timedelta(minutes=number, hours=1),
        "policy_version": "p1",
        "catalog_version": meta.catalog.version,
        "pack_version": None,
        "schema_version": meta.features.version,
        "seed": 7,
        "rule_inputs": b'{"sends_7d": 2}',
        "context_spend": 0.1 * number,
        "state_spend": 0,
        "context_zip": "Urban",
        "state_zip": 0,
    }
    return {**row, **changes}


def decision_table(rows: Sequence[dict[str, Any]], meta: LogMeta) -> pa.Table:
    """Rows as a table of the log's schema."""
    return pa.Table.from_pylist(list(rows), schema=log_schema(meta))


def write_log(path: Path, rows: Sequence[dict[str, Any]], meta: LogMeta, *, group_rows: int = 10**6) -> Path:
    """A log file of these rows, cut into row groups of `group_rows`."""
    with ParquetFile(path, log_schema(meta)) as file:
        for start in range(0, len(rows), group_rows):
            file.append(decision_table(rows[start : start + group_rows], meta))
    return path
