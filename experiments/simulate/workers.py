"""Workers of a run: each keeps its own batches from day to day, in processes of their own or in this one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self

from experiments.simulate.batches import Batches
from experiments.simulate.run_spec import RunSpec
from simulator.processes import worker_processes

_HINT: Final = "run again, it goes on from the last day"


class Workers:
    """Calls methods of `Batches` for every batch, and gives the answers in the order of the batches.

    A batch is always with the same worker, which keeps its world: so each worker is a pool of one process.

    Args:
        spec: the run.
        workers: processes; 1 works in this one.
    """

    def __init__(self, spec: RunSpec, workers: int) -> None:
        self._batches = spec.batches
        self._stack = ExitStack()
        count = min(workers, spec.batches)
        self._here = Batches(spec) if count == 1 else None
        pools = range(count if count > 1 else 0)
        self._pools = [self._stack.enter_context(worker_processes(1, _keep, spec, hint=_HINT)) for _ in pools]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def each(self, method: str, *arguments: Any) -> list[Any]:
        """`method(batch, *arguments)` of every batch.

        Raises:
            TactfulError: of the first worker that failed.
            BrokenExecutor: a worker died; the pool's end makes a `StorageError` of it.
        """
        if self._here is not None:
            return _answers(self._here, method, range(self._batches), arguments)
        count = len(self._pools)
        asked = [
            pool.submit(_answer, method, range(number, self._batches, count), arguments)
            for number, pool in enumerate(self._pools)
        ]
        answers: list[Any] = [None] * self._batches
        for number, future in enumerate(asked):
            answers[number::count] = future.result()
        return answers

    def all(self, method: str, *arguments: Any) -> None:
        """`method(worker, *arguments)` once in every worker.

        Raises:
            TactfulError, BrokenExecutor: as `each`.
        """
        if self._here is not None:
            _answers(self._here, method, [0], arguments)
        for future in [pool.submit(_answer, method, [0], arguments) for pool in self._pools]:
            future.result()


# What this process keeps when it is a worker: the run, and its batches from the first question on.
_kept: dict[str, Any] = {}


def _keep(spec: RunSpec) -> None:
    _kept["spec"] = spec


def _answer(method: str, numbers: Sequence[int], arguments: tuple[Any, ...]) -> list[Any]:
    # Made here and not at the start: an error of theirs is then an answer, not the death of the worker.
    if "batches" not in _kept:
        _kept["batches"] = Batches(_kept["spec"])
    return _answers(_kept["batches"], method, numbers, arguments)


def _answers(batches: Batches, method: str, numbers: Sequence[int], arguments: tuple[Any, ...]) -> list[Any]:
    return [getattr(batches, method)(number, *arguments) for number in numbers]
