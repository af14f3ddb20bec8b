"""200 workers decide for one contact at once: three get through, never a fourth, also when workers are killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from engine.state.caps import Cap, SendRequest
from engine.state.protocols import Reserved
from engine.state.store import SqlState
from engine.types import MICROSECONDS_PER_S

WORKER = Path(__file__).with_name("reserve_worker.py")
S = MICROSECONDS_PER_S
NOW = 1_790_000_000 * S
PROCESSES, THREADS = 4, 50
CAP = Cap("three_a_day", 3, 86_400)
CONTACT = np.array(["the-contact"], dtype=object)


def start(root: Path, url: str, *, threads: int, rounds: int, now: int, prefix: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), url, str(threads), str(rounds), str(now), prefix]
    environment = os.environ | {"PYTHONPATH": str(root)}
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def answers(outputs: list[str], word: str) -> set[str]:
    lines = [line.split() for output in outputs for line in output.splitlines()]
    return {decision for said, decision in lines if said == word}


def standing(state: SqlState, now: int) -> list[str]:
    return sorted(state.history(CONTACT, now_at=now).sent_state.tolist())


def test_exactly_three_of_200_get_through(root: Path, store_url: str) -> None:
    with SqlState(store_url) as state:
        pool = [
            start(root, store_url, threads=THREADS, rounds=1, now=NOW, prefix=f"p{number}")
            for number in range(PROCESSES)
        ]
        for process in pool:
            go(process)
        done = [process.communicate(timeout=120) for process in pool]
        assert [process.returncode for process in pool] == [0] * PROCESSES, done
        outputs = [out for out, _ in done]
        assert len(answers(outputs, "refused")) == PROCESSES * THREADS - 3
        assert len(answers(outputs, "reserved")) == len(answers(outputs, "sent")) == 3
        assert standing(state, NOW) == ["dispatched"] * 3


@pytest.mark.slow
def test_killed_workers_lose_nothing_and_hold_nothing(root: Path, store_url: str) -> None:
    """Each trial is a day of its own, so its three places are free at its start; workers die at random moments."""
    chance = random.Random(20261122)
    left_open = 0
    with SqlState(store_url) as state:
        for trial in range(6):
            now = NOW + trial * 10 * 86_400 * S
            pool = [
                start(root, store_url, threads=8, rounds=4, now=now, prefix=f"t{trial}p{number}") for number in range(2)
            ]
            for process in pool:
                go(process)
            heard = "" if trial % 2 else _first_promise(pool[0])
            time.sleep(chance.uniform(0.0, 0.1) if trial % 2 else 0.0)
            for process in pool:
                process.kill()
            outputs = [heard, *(_rest(process) for process in pool)]
            left_open += _check_after_kill(state, outputs, now, trial)
    # The kills must have struck in mid-flight at least once, or this test shows nothing.
    assert left_open > 0


def _first_promise(process: subprocess.Popen[str]) -> str:
    """What a process says up to its first reservation, which it has not dispatched by then."""
    assert process.stdout is not None
    heard = ""
    for line in process.stdout:
        heard += line
        if line.startswith("reserved"):
            break
    return heard


def _rest(process: subprocess.Popen[str]) -> str:
    """What else a dead process said; `communicate` would skip what an earlier read has buffered."""
    assert process.stdout is not None
    said = process.stdout.read()
    process.communicate(timeout=60)
    return said


def _check_after_kill(state: SqlState, outputs: list[str], now: int, trial: int) -> int:
    history = state.history(CONTACT, now_at=now)
    today = [at for at in history.sent_at.tolist() if at > now - 86_400 * S]
    states = history.sent_state.tolist()[len(history.sent_at) - len(today) :]
    assert len(today) <= 3
    # Nothing acknowledged is lost: what was on its way to the provider counts, what was settled is settled.
    assert len(answers(outputs, "sending")) <= states.count("dispatched") + states.count("dispatching")
    assert len(answers(outputs, "sent")) <= states.count("dispatched")
    assert len(answers(outputs, "reserved")) <= len(today)
    # Nothing is stuck: after the lease only what went out counts, and the rest of the three places can be had.
    late = now + 61 * S
    state.expire(now_at=late)
    out = standing_today(state, late)
    assert "reserved" not in out
    assert len(state.unsettled(now_at=late)) >= out.count("dispatching")
    wanted = [SendRequest(f"again-{trial}-{number}", "the-contact", "sms", "promotional", late) for number in range(5)]
    got = state.reserve(wanted, [CAP], now_at=late, lease_s=60)
    assert sum(isinstance(answer, Reserved) for answer in got) == 3 - len(out)
    return int("reserved" in states or "dispatching" in states)


def standing_today(state: SqlState, now: int) -> list[str]:
    history = state.history(CONTACT, now_at=now)
    return [
        name
        for name, at in zip(history.sent_state.tolist(), history.sent_at.tolist(), strict=True)
        if at > now - 86_400 * S
    ]


@pytest.mark.slow
def test_server_that_crashes_keeps_what_it_acknowledged(postgres_server: object, root: Path) -> None:
    """`pg_ctl stop -m immediate` flushes nothing: what was answered before must be in the write-ahead log."""
    url = postgres_server.create()  # type: ignore[attr-defined]
    with SqlState(url) as state:
        wanted = [SendRequest(f"d{step}", "the-contact", "sms", "promotional", NOW) for step in range(3)]
        got = [state.reserve([request], [CAP], now_at=NOW, lease_s=60)[0] for request in wanted]
        assert all(isinstance(answer, Reserved) for answer in got)
        postgres_server.stop(mode="immediate")  # type: ignore[attr-defined]
        postgres_server.start()  # type: ignore[attr-defined]
        assert standing(state, NOW) == ["reserved"] * 3
