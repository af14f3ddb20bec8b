"""Workers: each process keeps its own blocks; a run without further processes does the same in this one."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

from engine.errors import StorageError, TactfulError
from experiments.simulate.blocks import Blocks
from experiments.simulate.job import Job


class Pool:
    """Calls methods of `Blocks` for every block, and gives the answers in the order of the blocks.

    Args:
        job: the run.
        workers: processes; 1 works in this one.
    """

    def __init__(self, job: Job, workers: int) -> None:
        self._blocks = job.blocks
        self._workers: list[_Process | _Here] = []
        count = min(workers, job.blocks)
        self._workers += [_Here(job)] if count == 1 else [_Process(job) for _ in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.stop()

    def each(self, method: str, *arguments: Any) -> list[Any]:
        """`method(block, *arguments)` of every block.

        Raises:
            TactfulError: of the first block that failed.
            StorageError: a worker died.
        """
        count = len(self._workers)
        for number, worker in enumerate(self._workers):
            worker.ask(method, range(number, self._blocks, count), arguments)
        answers: list[Any] = [None] * self._blocks
        for number, worker in enumerate(self._workers):
            answers[number::count] = worker.answers()
        return answers

    def all(self, method: str, *arguments: Any) -> None:
        """`method(worker, *arguments)` once in every worker.

        Raises:
            TactfulError: as `each`.
        """
        for number, worker in enumerate(self._workers):
            worker.ask(method, [number], arguments)
        for worker in self._workers:
            worker.answers()


def answered(blocks: Blocks, method: str, numbers: Sequence[int], arguments: tuple[Any, ...]) -> list[Any]:
    """What a worker does with one request."""
    return [getattr(blocks, method)(number, *arguments) for number in numbers]


class _Here:
    """A worker in this process."""

    def __init__(self, job: Job) -> None:
        self._made = Blocks(job)
        self._found: list[Any] = []

    def ask(self, method: str, numbers: Sequence[int], arguments: tuple[Any, ...]) -> None:
        self._found = answered(self._made, method, numbers, arguments)

    def answers(self) -> list[Any]:
        return self._found

    def stop(self) -> None:
        """Nothing is left behind."""


class _Process:
    """A worker in a process of its own; it ends by itself when this one dies, because its pipe then closes."""

    def __init__(self, job: Job) -> None:
        # Fork would copy locks of whatever threads run here (numba, BLAS); spawned processes start clean.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=work, args=(job, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, method: str, numbers: Sequence[int], arguments: tuple[Any, ...]) -> None:
        try:
            self._pipe.send((method, numbers, arguments))
        except OSError as error:
            raise StorageError(f"a worker died: {error}", hint="run again, it goes on from the last day") from error

    def answers(self) -> list[Any]:
        try:
            found, error = self._pipe.recv()
        except (EOFError, OSError) as lost:
            raise StorageError("a worker died", hint="run again, it goes on from the last day") from lost
        if error is not None:
            raise rebuilt(*error)
        answers: list[Any] = found
        return answers

    def stop(self) -> None:
        self._pipe.close()
        self._process.join()


def work(job: Job, pipe: Connection) -> None:
    """The life of a worker: answer until the pipe closes."""
    blocks: Blocks | None = None
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            request = pipe.recv()
            try:
                blocks = blocks or Blocks(job)
                pipe.send((answered(blocks, *request), None))
            except TactfulError as error:
                pipe.send((None, (type(error), error.message, error.hint)))


def rebuilt(kind: type[TactfulError], message: str, hint: str) -> TactfulError:
    """An error as it was in the worker: not every kind can be made again from its own arguments."""
    error = kind.__new__(kind)
    TactfulError.__init__(error, message, hint=hint)
    return error
