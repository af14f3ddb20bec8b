"""Workers of an experiment: each takes the next group when it is free, and tells of every cell that is done."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from engine.errors import StorageError, TactfulError
from experiments.season.cells import Group
from experiments.season.config import ExperimentConfig
from experiments.season.group import GroupRun
from experiments.simulate.pool import rebuilt

# One thread of linear algebra per process: more would only get in each other's way.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_DONE = None


def played(config: ExperimentConfig, groups: Sequence[Group], folder: Path) -> Iterator[tuple[Group, str]]:
    """Run the groups; yields group and policy of each cell when its file is there.

    Args:
        config: `workers` says in how many processes; one works in this one.
        groups: with missing cells.
        folder: of the cells.

    Raises:
        TactfulError: of the first group that failed.
        StorageError: a worker died.
    """
    count = min(config.workers, len(groups))
    if count <= 1:
        for group in groups:
            for policy in GroupRun(config, group, folder).run():
                yield group, policy
        return
    for name in _THREADS:
        os.environ.setdefault(name, "1")
    waiting = list(reversed(groups))
    crew = [_Worker(config, folder) for _ in range(count)]
    try:
        for worker in crew:
            worker.take(waiting.pop())
        busy = {worker.pipe: worker for worker in crew}
        while busy:
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                told = worker.hear()
                if told is not _DONE:
                    yield worker.group, told
                elif waiting:
                    worker.take(waiting.pop())
                else:
                    del busy[worker.pipe]
    finally:
        for worker in crew:
            worker.stop()


class _Worker:
    """A process of its own; it ends by itself when this one dies, because its pipe then closes."""

    def __init__(self, config: ExperimentConfig, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=work, args=(config, folder, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.group = Group("", "", 0)

    def take(self, group: Group) -> None:
        """Give it a group."""
        self.group = group
        try:
            self.pipe.send(group)
        except OSError as lost:
            raise StorageError(f"a worker died: {lost}", hint="run again, it goes on after the cells it has") from lost

    def hear(self) -> str | None:
        """The policy of a cell that is done, or None where the group is."""
        try:
            told, error = self.pipe.recv()
        except (EOFError, OSError) as lost:
            raise StorageError("a worker died", hint="run again, it goes on after the cells it has") from lost
        if error is not None:
            raise rebuilt(*error)
        name: str | None = told
        return name

    def stop(self) -> None:
        """End it at once: cells appear whole or not at all."""
        self.pipe.close()
        self._process.terminate()
        self._process.join()


def work(config: ExperimentConfig, folder: Path, pipe: Connection) -> None:
    """The life of a worker: groups until the pipe closes."""
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            group: Group = pipe.recv()
            try:
                for policy in GroupRun(config, group, folder).run():
                    pipe.send((policy, None))
                pipe.send((_DONE, None))
            except TactfulError as error:
                pipe.send((_DONE, (type(error), error.message, error.hint)))
