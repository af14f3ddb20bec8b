"""Processes that decide at once, one process and one log per file.

Usage: decide_worker.py COUNT FOLDER URL LIMITS SHARED FILE...
SHARED is 1 where all decide for one use case, 0 where each has its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.experiments.serve.stateful_worlds import decide
from tests.worker_pool import run_workers, say, wait_for_go


def main() -> None:
    _, folder, url, limits, shared, *files = sys.argv[1:]

    def work(number: int) -> None:
        wait_for_go()
        out = decide(
            Path(folder),
            Path(files[number]),
            f"log{number}.parquet",
            state=url,
            limits=limits or None,
            rows=32,
            use_case="shared" if shared == "1" else f"use{number}",
        )
        say(f"decided {out.contacts}")

    run_workers(len(files), work)


if __name__ == "__main__":
    main()
