"""Run as a program: start runs in processes of their own, kill them at chosen points, and let a last one finish.

Everything is imported once and each run is forked, so that a kill costs seconds, not minutes. Prints as JSON, for each
trial, at what it was killed, how many days were done then, and whether the files are those of a run that nobody killed.
Usage: python -m tests.experiments.simulate.kill_simulations FOLDER WORKERS TRIALS
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from experiments.simulate.run import SimulateRequest, simulate
from tests.experiments.simulate.small_runs import KEY, LEARNS, files_of, settings

# A run is killed as soon as such a file is there: early and late in a day, while it learns, joins, and writes.
POINTS = (
    "run.parts/decisions-00001-00001.parquet",
    "run.parts/policy-*",
    "run.parts/joined-00002-00000.parquet",
    "run.parts/asked.json",
    "run.parts/day-00002.json",
    "run.parts/known-*.parquet",
    "run.parts/state-00004-00000.npz",
    "run.outcomes.parquet",
)
SECONDS = 240.0


def start(folder: Path, workers: int) -> int:
    """A run in a process of its own; its number."""
    child = os.fork()
    if child:
        return child
    try:
        config = settings(*LEARNS, "contacts=400", "days=6", "block_rows=150", f"workers={workers}")
        simulate(SimulateRequest(folder / "run.parquet", KEY), config)
    except BaseException as error:  # noqa: BLE001 - a forked run must never go on as its parent
        sys.stderr.write(f"{error!r}\n")
        os._exit(1)
    os._exit(0)


def killed_at(folder: Path, point: str, workers: int) -> int:
    """Days that were done when the run was killed; -1 where it ended before."""
    child = start(folder, workers)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        done, _ = os.waitpid(child, os.WNOHANG)
        if done:
            return -1
        if any(folder.glob(point)):
            break
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return len(list(folder.glob("run.parts/day-*.json")))


def finished(folder: Path, workers: int) -> bool:
    """Whether a run that nobody kills ends well."""
    _, status = os.waitpid(start(folder, workers), 0)
    return os.waitstatus_to_exitcode(status) == 0


def trials(folder: Path, workers: int, count: int) -> list[dict[str, Any]]:
    whole = folder / "whole"
    whole.mkdir(parents=True)
    if not finished(whole, 1):
        raise RuntimeError("the run that nobody killed failed")
    expected = files_of(whole)
    found = []
    for number, point in enumerate(POINTS[:count]):
        here = folder / f"trial{number}"
        here.mkdir()
        days = killed_at(here, point, workers)
        ended = finished(here, workers)
        files = files_of(here)
        wrong = sorted({*files, *expected} - {name for name in files if files[name] == expected.get(name)})
        found.append({"point": point, "days": days, "ended": ended, "wrong": wrong})
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(trials(Path(sys.argv[1]), *map(int, sys.argv[2:]))))
