"""Run as a program: fork writers, kill them at many moments, and print as JSON what the disk holds afterwards.

One process imports everything once and forks each writer, so that a kill costs milliseconds.
Usage: python -m tests.kill_writers parquet|sql FOLDER KILLS SEED
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.log.sql import SqlLog
from engine.log.whole_file import ParquetFile
from tests.logs import decision_row, small_meta

SCHEMA = pa.schema([pa.field("n", pa.int64(), nullable=False)])
ROWS = 50_000
BATCH = 3


def kill_after(write: Callable[[int], None], delay_s: float, lines: int = 1) -> list[str]:
    """Lines that the writer acknowledged on its pipe before SIGKILL: so long after so many of them.

    On a busy machine a writer may not get to its first acknowledgement within any delay, so some kills wait for it.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with contextlib.suppress(BaseException):
            write(writer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        first = "".join(pipe.readline() for _ in range(lines))  # one: the writer is at work
        time.sleep(delay_s)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        rest = pipe.read()
    return [line for line in (first + rest).split("\n")[:-1] if line]


def parquet_trials(folder: Path, kills: int, draw: random.Random) -> dict[str, Any]:
    """Each file under its final name is complete; a kill before the end leaves the old one."""
    outcomes = {"old": 0, "new": 0, "damaged": 0, "lost": 0}
    path = folder / "log.parquet"
    for _ in range(kills):
        with ParquetFile(path, SCHEMA) as file:
            file.append(pa.table({"n": [0]}, schema=SCHEMA))
        acknowledged = kill_after(lambda pipe: _write_parquet(path, pipe), draw.uniform(0, 0.02))
        try:
            rows = pq.ParquetFile(path).read(use_threads=False).num_rows
        except (OSError, pa.ArrowInvalid):
            rows = -1
        outcomes[{1: "old", ROWS: "new"}.get(rows, "damaged")] += 1
        outcomes["lost"] += "written" in acknowledged and rows != ROWS
    with ParquetFile(path, SCHEMA) as file:
        file.append(pa.table({"n": [0]}, schema=SCHEMA))
    return {**outcomes, "left": sorted(entry.name for entry in folder.iterdir())}


def _write_parquet(path: Path, pipe: int) -> None:
    os.write(pipe, b"start\n")
    with ParquetFile(path, SCHEMA) as file:
        for start in range(0, ROWS, 5000):
            file.append(pa.table({"n": list(range(start, start + 5000))}, schema=SCHEMA))
    os.write(pipe, b"written\n")
    time.sleep(60)


def sql_trials(folder: Path, kills: int, draw: random.Random) -> dict[str, Any]:
    """Every acknowledged decision is there, and of a batch all or none."""
    meta = small_meta()
    url = f"sqlite:///{folder / 'hot.db'}"
    acknowledged: set[str] = set()
    for trial in range(kills):
        wait_for = 1 + trial % 2 * BATCH
        delay_s = draw.uniform(0.0, 0.12)
        lines = kill_after(lambda pipe, trial=trial: _write_sql(url, pipe, trial), delay_s, wait_for)  # type: ignore[misc]
        acknowledged.update(line for line in lines if line != "start")
    with SqlLog(url) as log:
        log.export(folder / "all.parquet", meta)
        stored = set(pq.ParquetFile(folder / "all.parquet").read(use_threads=False).column("decision_id").to_pylist())
        states = log.states(sorted(stored))
    batches = {identity.rsplit("-", 1)[0] for identity in stored}
    return {
        "acknowledged": len(acknowledged),
        "stored": len(stored),
        "lost": len(acknowledged - stored),
        "half": sum(len([i for i in stored if i.rsplit("-", 1)[0] == batch]) != BATCH for batch in batches),
        "stateless": len(stored - set(states)),
    }


def _write_sql(url: str, pipe: int, trial: int) -> None:
    meta = small_meta()
    with SqlLog(url) as log:
        os.write(pipe, b"start\n")
        for number in range(10_000):
            ids = [f"t{trial}-b{number}-{part}" for part in range(BATCH)]
            log.append([decision_row(number, meta, decision_id=identity) for identity in ids], meta)
            os.write(pipe, ("\n".join(ids) + "\n").encode())


if __name__ == "__main__":
    kind, folder, kills, seed = sys.argv[1:]
    trials = {"parquet": parquet_trials, "sql": sql_trials}[kind]
    sys.stdout.write(json.dumps(trials(Path(folder), int(kills), random.Random(int(seed)))))
