"""Reservations per second and contacts read per second, on SQLite and PostgreSQL; admission under set-level limits.

Usage: bench_state.py [--json OUT] [--seconds 2] [--contacts 50000]. PostgreSQL is left out where the machine has none.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from engine.catalog import Arm, Catalog  # noqa: E402
from engine.limits.admission import admission_order, admit  # noqa: E402
from engine.limits.costs import Costs  # noqa: E402
from engine.sampling import sample  # noqa: E402
from engine.state.facts import Consent, Fact, PastSend, Profile  # noqa: E402
from engine.state.sends.caps import Cap, SendRequest, gap  # noqa: E402
from engine.state.store import SqlState  # noqa: E402
from tests.postgres_server import private_server  # noqa: E402

S = 1_000_000
NOW = 1_790_000_000 * S
RULES = (Cap("day", 1, 86_400), Cap("week", 3, 7 * 86_400), Cap("month", 8, 30 * 86_400), gap("sms", 86_400))
PROCESSES = 4
BATCH = 1000
BLOCK = 8192
CHANNELS = ("email", "sms", "push")


def requests(name: str, start: int, count: int) -> list[SendRequest]:
    return [
        SendRequest(f"{name}-{at}", f"c{name}-{at}", "sms", "promotional", NOW) for at in range(start, start + count)
    ]


def reserve_for(url: str, name: str, seconds: float, size: int) -> tuple[int, float]:
    """(reservations, seconds) of calls that reserve `size` sends to as many new contacts each."""
    with SqlState(url) as state:
        done, begin = 0, time.perf_counter()
        while (spent := time.perf_counter() - begin) < seconds:
            state.reserve(requests(name, done, size), RULES, now_at=NOW, lease_s=60)
            done += size
    return done, spent


def reservations(url: str, seconds: float) -> dict[str, float]:
    done, spent = reserve_for(url, "single", seconds, 1)
    bulk, bulk_spent = reserve_for(url, "bulk", seconds, BATCH)
    with get_context("spawn").Pool(PROCESSES) as pool:
        shared = pool.starmap(reserve_for, [(url, f"p{number}", seconds, 1) for number in range(PROCESSES)])
    return {
        "reservations_per_s_1_process": done / spent,
        f"reservations_per_s_{PROCESSES}_processes": sum(count for count, _ in shared)
        / max(spent for _, spent in shared),
        f"reservations_per_s_in_calls_of_{BATCH}": bulk / bulk_spent,
    }


def facts(contact: str, number: int) -> list[Fact]:
    zone = ("Europe/Paris", "America/New_York", "Asia/Tokyo")[number % 3]
    profile = Profile(contact, NOW, zone=zone, zone_source="explicit", locale="en", history_from_at=NOW - 1)
    consents = [Consent(contact, channel, "promotional", "granted", NOW - 9, source="form") for channel in CHANNELS]
    sends = [PastSend(f"{contact}-{at}", contact, "sms", "promotional", NOW - at * S) for at in range(3)]
    return [profile, *consents, *sends]


def reading(url: str, contacts: int) -> dict[str, float]:
    """Contacts with 3 consents and 3 sends each, written and read in blocks of `BLOCK`."""
    catalog = Catalog(name="bench", channels=CHANNELS, hours=("now",), arms=(Arm(id="a", approved=True),))
    ids = np.array([f"r{number}" for number in range(contacts)], dtype=object)
    with SqlState(url) as state:
        begin = time.perf_counter()
        for start in range(0, contacts, BLOCK):
            part = range(start, min(start + BLOCK, contacts))
            state.record([fact for number in part for fact in facts(ids[number], number)])
        written = time.perf_counter() - begin
        begin = time.perf_counter()
        for start in range(0, contacts, BLOCK):
            state.batch(ids[start : start + BLOCK], catalog, now_at=NOW)
        read = time.perf_counter() - begin
    return {"contacts_recorded_per_s": contacts / written, "contacts_read_per_s": contacts / read}


def admission() -> dict[str, float]:
    """Sequential admission of one block at 577 actions under three limits that all bind, beside the plain draw."""
    channels, hours, arms = 3, 24, 8
    k = 1 + channels * hours * arms
    amount = np.zeros((3, channels, arms), dtype=np.int64)
    amount[0, 0], amount[1, 1], amount[2, 2] = 1, 1, 1
    day = np.zeros((BLOCK, hours), dtype=np.int64)
    costs = Costs(amount, np.zeros_like(amount), day, 1, np.zeros(3, dtype=np.bool_))
    names = np.array([f"d{row}" for row in range(BLOCK)], dtype=object)
    weight = np.random.default_rng(1).random((BLOCK, k))
    eligible = np.ones((BLOCK, k), dtype=np.bool_)

    def draw(rows: Any, allowed: Any) -> Any:
        chosen = np.where(allowed, weight[rows], 0.0)
        return sample(chosen / chosen.sum(axis=1, keepdims=True), names[rows], 1)

    everyone = np.arange(BLOCK)
    plain = _fastest(lambda: draw(everyone, eligible))
    free = _fastest(lambda: admit(eligible, costs, np.full((3, 1), BLOCK), admission_order(names, 1), draw))
    bound = _fastest(lambda: admit(eligible, costs, np.array([[500], [1000], [2000]]), admission_order(names, 1), draw))
    return {
        "plain_draws_per_s": BLOCK / plain,
        "admissions_per_s_limits_not_reached": BLOCK / free,
        "admissions_per_s_three_limits_reached": BLOCK / bound,
    }


def _fastest(call: Callable[[], Any]) -> float:
    spent = []
    for _ in range(3):
        begin = time.perf_counter()
        call()
        spent.append(time.perf_counter() - begin)
    return min(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--contacts", type=int, default=50_000)
    options = parser.parse_args()
    results: dict[str, dict[str, float] | str] = {"limits": admission()}
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/state.sqlite"
        results["sqlite"] = reservations(url, options.seconds) | reading(url, options.contacts)
    try:
        with private_server() as server:
            url = server.create()
            results["postgresql"] = reservations(url, options.seconds) | reading(url, options.contacts)
    except LookupError as error:
        results["postgresql"] = f"left out: {error}"
    text = json.dumps(results, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
