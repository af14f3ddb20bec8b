"""A process that decides for one contact on many threads; tests start several of them, and kill some.

Usage: reserve_worker.py URL THREADS ROUNDS NOW PREFIX. Prints "ready", waits for a line, then prints one line per
answer: "reserved ID", "refused ID", and before and after each hand-over to the provider "sending ID", "sent ID".
"""

from __future__ import annotations

import os
import sys
import threading

from engine.state.caps import Cap, SendRequest
from engine.state.protocols import Reserved
from engine.state.store import SqlState

CAP = Cap("three_a_day", 3, 86_400)
CONTACT = "the-contact"
LEASE_S = 60


def say(line: str) -> None:
    # One write call per line, straight to the pipe: a line is there whole or not at all when the process is killed.
    os.write(1, f"{line}\n".encode())


def work(state: SqlState, barrier: threading.Barrier, name: str, rounds: int, now: int) -> None:
    barrier.wait()
    for step in range(rounds):
        decision = f"{name}-{step}"
        request = SendRequest(decision, CONTACT, "sms", "promotional", now)
        answer = state.reserve([request], [CAP], now_at=now, lease_s=LEASE_S)[0]
        if not isinstance(answer, Reserved):
            say(f"refused {decision}")
            continue
        say(f"reserved {decision}")
        if isinstance(state.dispatch(decision, [CAP], now_at=now), Reserved):
            say(f"sending {decision}")
            state.settle(decision, "dispatched", now_at=now)
            say(f"sent {decision}")


def main() -> None:
    url, threads, rounds, now, prefix = sys.argv[1:]
    count = int(threads)
    barrier = threading.Barrier(count)
    with SqlState(url, connections=count, busy_timeout_s=60) as state:
        workers = [
            threading.Thread(target=work, args=(state, barrier, f"{prefix}-{number}", int(rounds), int(now)))
            for number in range(count)
        ]
        say("ready")
        sys.stdin.readline()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()


if __name__ == "__main__":
    main()
