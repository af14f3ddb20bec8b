"""200 workers decide for one contact at once: three get through, never a fourth, also when workers are killed."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest

from engine.state.protocols import Reserved
from engine.state.sends.caps import Cap, SendRequest
from engine.state.store import SqlState
from engine.types import MICROSECONDS_PER_S
from tests.worker_pool import Pool

WORKER = Path(__file__).with_name("reserve_worker.py")
S = MICROSECONDS_PER_S
NOW = 1_790_000_000 * S
PROCESSES, THREADS = 4, 50
CAP = Cap("three_a_day", 3, 86_400)
CONTACT = np.array(["the-contact"], dtype=object)


def answers(outputs: list[str], word: str) -> set[str]:
    lines = [line.split() for output in outputs for line in output.splitlines()]
    return {decision for said, decision in lines if said == word}


def standing(state: SqlState, now: int) -> list[str]:
    return sorted(state.history(CONTACT, now_at=now).sent_state.tolist())


@pytest.mark.slow
def test_exactly_three_of_200_get_through(root: Path, store_url: str) -> None:
    with SqlState(store_url) as state:
        pool = Pool(root, WORKER, PROCESSES, store_url, THREADS, 1, NOW, "p")
        pool.go()
        outputs = [pool.rest()]
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
            pool = Pool(root, WORKER, 2, store_url, 8, 4, now, f"t{trial}")
            pool.go()
            heard = "" if trial % 2 else _first_promise(pool)
            time.sleep(chance.uniform(0.0, 0.1) if trial % 2 else 0.0)
            pool.kill()
            outputs = [heard, pool.rest()]
            left_open += _check_after_kill(state, outputs, now, trial)
    # The kills must have struck in mid-flight at least once, or this test shows nothing.
    assert left_open > 0


def _first_promise(pool: Pool) -> str:
    """What the workers say up to the first reservation, which is not dispatched by then."""
    heard = ""
    while line := pool.line():
        heard += f"{line}\n"
        if line.startswith("reserved"):
            break
    return heard


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
