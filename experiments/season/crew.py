"""Plays the groups of an experiment, in this process or in several, and tells of every cell that is done."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path
from typing import Final

from experiments.season.cells import Group
from experiments.season.config import ExperimentConfig
from experiments.season.group import GroupRun
from simulator.processes import worker_processes

# One thread of linear algebra per process: more would only get in each other's way.
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Between two looks at which cells are there, seconds.
_LOOK_S: Final = 1.0


def played(config: ExperimentConfig, groups: Sequence[Group], folder: Path) -> Iterator[int]:
    """Run the groups; yields how many further cells have their files.

    Args:
        config: `workers` says in how many processes; one works in this one.
        groups: with missing cells.
        folder: of the cells.

    Raises:
        TactfulError: of the first group that failed.
        StorageError: a worker died.
    """
    runs = [GroupRun(config, group, folder) for group in groups]
    count = min(config.workers, len(runs))
    if count <= 1:
        for run in runs:
            for _ in run.run():
                yield 1
        return
    for name in _THREADS:
        os.environ.setdefault(name, "1")
    missing = {run.group.file(folder, policy) for run in runs for policy in run.missing()}
    with worker_processes(count, hint="run again, it goes on after the cells it has") as pool:
        waiting = {pool.submit(_whole, run) for run in runs}
        while waiting:
            over, waiting = wait(waiting, _LOOK_S, FIRST_COMPLETED)
            for future in over:
                future.result()
            # A cell's file appears whole: that it is there says that it is done.
            there = {path for path in missing if path.exists()}
            missing -= there
            yield len(there)


def _whole(run: GroupRun) -> None:
    for _ in run.run():
        pass
