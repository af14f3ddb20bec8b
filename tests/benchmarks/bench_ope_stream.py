"""Evaluation of a log on disk in flat memory: python tests/benchmarks/bench_ope_stream.py [--json OUT] [--rows N].

A Parquet log in the project's schema is written first (not timed): random decisions over `ACTIONS` actions, a binary
reward. Then a fixed policy is judged on its first quarter and on all of it by IPS and SNIPS with intervals, checks and
support, each in a process of its own; `peak_mib` is the whole process. `--rows 100000000` needs about 2 GiB of disk.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import pyarrow as pa
from peak_memory import peak_mib, reset_peak

from engine.catalog import one_axis_catalog
from engine.eligibility import pack
from engine.features import FeatureSchema
from engine.log.parquet import LogReader, ParquetFile, conform_to
from engine.log.selection import Selection
from engine.ope.evaluate import evaluate
from engine.ope.setup import Question
from engine.ope.target import PolicyTarget
from engine.records.rounds import CHUNK_ROWS, RoundBatch
from engine.records.schema import LogMeta, RewardSpec, log_schema
from engine.types import BoolArray, FloatArray

ACTIONS = 10
GROUP_ROWS = 2**20
MIB = 2**20


class Tilted:
    """Prefers later actions."""

    name = "tilted"

    def distribution(self, context: Any, eligible: BoolArray) -> FloatArray:
        full = np.exp(np.linspace(0, 1, eligible.shape[1])) * eligible
        return np.asarray(full / full.sum(axis=1, keepdims=True))


def write_log(path: Path, rows: int) -> None:
    catalog = one_axis_catalog("stream", [f"arm{i}" for i in range(1, ACTIONS)], hold_name="hold")
    meta = LogMeta(
        catalog=catalog,
        features=FeatureSchema(features=()),
        propensity="logged",
        rewards={"click": RewardSpec(low=0.0, high=1.0, unit="share")},
    )
    schema = log_schema(meta)
    rng = np.random.default_rng(1)
    everything = pack(np.ones((1, ACTIONS), dtype=np.bool_)).tobytes()
    with ParquetFile(path, schema) as file:
        for start in range(0, rows, GROUP_ROWS):
            n = min(GROUP_ROWS, rows - start)
            action = rng.integers(ACTIONS, size=n)
            sent = action > 0
            columns = {
                "decision_id": pa.array(np.arange(start, start + n)).cast(pa.string()),
                "cluster": pa.array(np.arange(start, start + n, dtype=np.uint64)),
                "action": pa.array(action.astype(np.int32)),
                "propensity": pa.array(np.full(n, 1.0 / ACTIONS)),
                "eligible": pa.array([everything]).take(pa.array(np.zeros(n, dtype=np.int32))),
                "available": pa.array(np.ones(n, dtype=np.bool_)),
                "state": pa.array(["dispatched"]).take(pa.array(np.zeros(n, dtype=np.int32))),
                "reward_click": pa.array((rng.random(n) < 0.02 + 0.01 * sent).astype(np.float64)),
            }
            same = pa.array(["bench"]).take(pa.array(np.zeros(n, dtype=np.int32)))
            rest = {f.name: pa.nulls(n, f.type) if f.nullable else same for f in schema if f.name not in columns}
            table = pa.table(columns | rest)
            file.append(conform_to(table, schema))


class First:
    """The first blocks of a log, as often as they are asked for."""

    def __init__(self, rounds: Selection, blocks: int) -> None:
        self.rounds, self.blocks = rounds, blocks

    def __iter__(self) -> Iterator[RoundBatch]:
        return islice(iter(self.rounds), self.blocks)


def judged(path: str, rows: int) -> dict[str, float]:
    rounds = First(Selection(LogReader(Path(path)), "click"), -(-rows // CHUNK_ROWS))
    reset_peak()
    start = time.perf_counter()
    found = evaluate(
        rounds, [PolicyTarget(Tilted())], Question(metric="click", reward_range=(0.0, 1.0), estimators=("ips", "snips"))
    )
    seconds = time.perf_counter() - start
    return {"rows": found.n, "seconds": seconds, "rows_per_s": found.n / seconds, "peak_mib": peak_mib()}


def in_process(call: Callable[..., Any], *arguments: Any) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(call, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rows", type=int, default=4_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.parquet"
        write_log(log, given.rows)
        found = {
            "actions": ACTIONS,
            "log_mib": log.stat().st_size / MIB,
            "quarter": in_process(judged, str(log), given.rows // 4),
            "whole": in_process(judged, str(log), given.rows),
        }
    print(json.dumps(found, indent=2))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
