"""Processes that decide for one contact on many threads each.

Usage: reserve_worker.py PROCESSES URL THREADS ROUNDS NOW PREFIX. One line per answer: "reserved ID", "refused ID", and
before and after each hand-over to the provider "sending ID", "sent ID".
"""

from __future__ import annotations

import sys
import threading

from engine.state.protocols import Reserved
from engine.state.sends.caps import Cap, SendRequest
from engine.state.store import SqlState
from tests.worker_pool import run_workers, say, wait_for_go

CAP = Cap("three_a_day", 3, 86_400)
CONTACT = "the-contact"
LEASE_S = 60


def decide(state: SqlState, decision: str, now: int) -> None:
    request = SendRequest(decision, CONTACT, "sms", "promotional", now)
    answer = state.reserve([request], [CAP], now_at=now, lease_s=LEASE_S)[0]
    if not isinstance(answer, Reserved):
        say(f"refused {decision}")
        return
    say(f"reserved {decision}")
    if isinstance(state.dispatch(decision, [CAP], now_at=now), Reserved):
        say(f"sending {decision}")
        state.settle(decision, "dispatched", now_at=now)
        say(f"sent {decision}")


def main() -> None:
    processes, url, threads, rounds, now, prefix = sys.argv[1:]
    count = int(threads)

    def work(number: int) -> None:
        barrier = threading.Barrier(count)

        def attempts(thread: int) -> None:
            barrier.wait()
            for step in range(int(rounds)):
                decide(state, f"{prefix}-{number}-{thread}-{step}", int(now))

        with SqlState(url, connections=count, busy_timeout_s=60) as state:
            workers = [threading.Thread(target=attempts, args=(thread,)) for thread in range(count)]
            wait_for_go()
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()

    run_workers(int(processes), work)


if __name__ == "__main__":
    main()
