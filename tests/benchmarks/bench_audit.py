"""Rows per second of an audit at 577 actions: python tests/benchmarks/bench_audit.py [--json OUT] [--rows N].

From Parquet on disk, all checks; beside it, in the same run, reading the same columns alone. `peak_mib` is the peak of
the whole process after 1x and after 4x the rows: memory grows by the hashes of the ids alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import pyarrow as pa
from synthetic_rounds import reference_catalog, reference_rounds, reference_schema

from engine.audit.audit import audit_log
from engine.audit.batch import EXTRA
from engine.audit.rule import AuditRule
from engine.log.parquet import LogReader, context_arrays, labels
from engine.log.whole_file import ParquetFile
from engine.records.rounds import RoundBatch
from engine.records.schema import LogMeta, RewardSpec, log_schema

DAY_US = 86_400_000_000
START = 20_000 * DAY_US


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rows", type=int, default=65_536)
    options = parser.parse_args()
    result = measure(options.rows)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def measure(rows: int) -> dict[str, Any]:
    peaks, rates = [], {}
    with tempfile.TemporaryDirectory(prefix="tactful-") as folder:
        for times in (1, 4):
            log = write(Path(folder) / f"log{times}.parquet", rows, times)
            reader = LogReader(log)
            cpu = time.process_time()
            found = audit_log(reader, AuditRule())
            audited = reader.rows / (time.process_time() - cpu)
            cpu = time.process_time()
            for _ in reader.rounds(rewards=("click",), extra=EXTRA):
                pass
            rates[f"{times}x"] = {"audit": round(audited), "reading": round(reader.rows / (time.process_time() - cpu))}
            peaks.append(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
    return {
        "rows_per_cpu_second": rates,
        "verdict": found.verdict,
        "rows": rows,
        "peak_mib": peaks,
        "machine": {"python": platform.python_version(), "cpus": os.cpu_count(), "numpy": np.__version__},
    }


def write(path: Path, rows: int, times: int) -> Path:
    """A log of `times` copies of the rows, each with ids of its own."""
    meta = LogMeta(
        catalog=reference_catalog(),
        features=reference_schema(),
        rewards={"click": RewardSpec(low=0.0, high=1.0)},
    )
    schema = log_schema(meta)
    with ParquetFile(path, schema) as file:
        for copy in range(times):
            for block in reference_rounds(rows, seed=copy):
                file.append(_table(block, meta, schema, copy))
    return path


def _table(block: RoundBatch, meta: LogMeta, schema: pa.Schema, copy: int) -> pa.Table:
    n, ids = block.n, [f"{copy}-{one}" for one in block.decision_id]
    at = START + (np.arange(n) % 60) * DAY_US
    same = {"use_case": "bench", "group": "treatment", "state": "dispatched", "action_name": "x"}
    same |= {"catalog_version": meta.catalog.version, "schema_version": meta.features.version}
    columns: dict[str, Any] = {name: labels(np.zeros(n, dtype=np.int32), [value]) for name, value in same.items()}
    columns |= context_arrays(block.context)
    columns |= {
        "decision_id": pa.array(ids),
        "contact_id": pa.array([f"{copy * 10**9 + block.chunk * 10**5 + row:032x}" for row in range(n)]),
        "decided_at": pa.array(at).cast(pa.timestamp("us", tz="UTC")),
        "action": pa.array(block.action),
        "propensity": pa.array(block.propensity),
        "eligible": pa.array([row.tobytes() for row in block.eligible], pa.binary()),
        "available": pa.array(np.ones(n, dtype=bool)),
        "reward_click": pa.array(block.rewards["click"] if "click" in block.rewards else np.zeros(n)),
    }
    arrays = [columns[f.name].cast(f.type) if f.name in columns else pa.nulls(n, f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


if __name__ == "__main__":
    main()
