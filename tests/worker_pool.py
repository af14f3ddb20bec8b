"""Processes for tests of shared stores: started together, let go at once, and killed where a test wants it.

A worker script calls `run_workers(count, work)`: it pays for its imports once and forks. The test holds a `Pool` of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

READY = "ready"


def say(line: str) -> None:
    """One write call per line, straight to the pipe: a line is there whole or not at all when the process is killed."""
    os.write(1, f"{line}\n".encode())


def wait_for_go() -> None:
    """Announce that this worker is ready, and wait until the test lets all go."""
    say(READY)
    os.read(0, 1)


def run_workers(count: int, work: Callable[[int], None]) -> None:
    """Fork `count` processes that call `work(number)`; fail where one of them failed."""
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            work(number)
            return
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if any(codes):
        sys.exit(f"workers ended with {codes}")


class Pool:
    """The workers of one script.

    Args:
        root: the project's folder.
        script: calls `run_workers`.
        count: of its processes, its first argument.
        arguments: of the script, after the count.
    """

    def __init__(self, root: Path, script: Path, count: int, *arguments: object) -> None:
        self.count = count
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(count), *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )
        for _ in range(count):
            if self.line() != READY:
                raise RuntimeError(f"the workers did not start: {self.rest()}")

    def line(self) -> str:
        """The next line that a worker says, "" at the end."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"g" * self.count)

    def kill(self) -> None:
        """kill -9 for all of them at once."""
        os.killpg(self.process.pid, signal.SIGKILL)

    def rest(self) -> str:
        """Everything that is still to be heard, until all have ended."""
        assert self.process.stdout is not None
        said = self.process.stdout.read().decode()
        _, errors = self.process.communicate(timeout=60)
        if self.process.returncode not in (0, -signal.SIGKILL):
            raise RuntimeError(errors.decode())
        return said
