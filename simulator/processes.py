"""Worker processes that never outlive the work: a pool of the standard library, with one end for all cases.

Ctrl-C, an error, a worker that was killed and a main process that was killed all end every worker at once. So whatever
a worker writes must appear whole or not at all.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

from engine.errors import StorageError


@contextmanager
def worker_processes(
    count: int, start: Callable[..., None] | None = None, *arguments: Any, hint: str = "run again"
) -> Iterator[ProcessPoolExecutor]:
    """A pool of spawned processes for the length of a `with` batch.

    Args:
        count: processes, at least 1.
        start: called once in each process before its first task; it keeps what all tasks need, and must not fail.
        arguments: what `start` is called with.
        hint: what to do after a worker died.

    Raises:
        StorageError: a worker died.
    """
    # Fork would copy locks of whatever threads run here (numba, BLAS); spawned processes start clean.
    context = get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(count, context, _begin, (theirs, start, arguments))
    try:
        yield pool
        pool.shutdown()
    except BrokenExecutor as lost:
        raise StorageError("a worker died", hint=hint) from lost
    finally:
        ours.close()
        pool.shutdown(cancel_futures=True)
        theirs.close()


def _begin(lifeline: Connection, start: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    # Ctrl-C reaches the whole group of processes; the main one alone answers it, by letting go of the lifeline.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    if start is not None:
        start(*arguments)


def _end_with(lifeline: Connection) -> None:
    """End this process when the main one lets go of its end of the pipe, or dies: nothing is ever sent."""
    lifeline.poll(None)
    os._exit(1)
