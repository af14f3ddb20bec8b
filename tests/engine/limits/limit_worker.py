"""Processes that admit batches under shared limits.

Usage: limit_worker.py PROCESSES URL PREFIX BLOCKS ROWS NOW. For each settled batch one line: "settled SMS_SENDS CENTS"
(sends on SMS, and the discounts of all sends).
"""

from __future__ import annotations

import sys

import numpy as np

from engine.limits.batch import LimitedBatch
from engine.limits.kinds import BudgetLimit, VolumeLimit
from engine.limits.quota import SqlQuota
from tests.engine.limits.limit_worlds import admit_and_settle, drawing, ids, small_catalog
from tests.worker_pool import run_workers, say, wait_for_go

LIMITS = (VolumeLimit("sms_a_day", 300, channels=("sms",)), BudgetLimit("discounts", 400.0, {"arm1": 1.25}))
LEASE_S = 60


def main() -> None:
    processes, url, prefix, batches, rows, now = sys.argv[1:]
    n, now_at = int(rows), int(now)
    catalog = small_catalog()
    planned = np.full((n, len(catalog.hours)), now_at, dtype=np.int64)

    def work(number: int) -> None:
        with SqlQuota(url, busy_timeout_s=60) as store:
            wait_for_go()
            for step in range(int(batches)):
                name = f"{prefix}p{number}b{step}"
                names = ids(name, n)
                found = admit_and_settle(
                    LimitedBatch(name, LIMITS, catalog, planned),
                    store,
                    np.ones((n, catalog.k), dtype=np.bool_),
                    names,
                    drawing(np.zeros((n, catalog.k)), names, 5),
                    seed=5,
                    now_at=now_at,
                    lease_s=LEASE_S,
                    share=0.5,
                )
                channel, _, arm = catalog.split(found.action)
                say(f"settled {int((channel == 1).sum())} {125 * int((arm == 1).sum())}")

    run_workers(int(processes), work)


if __name__ == "__main__":
    main()
