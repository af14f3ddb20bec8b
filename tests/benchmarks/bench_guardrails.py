"""Speed and memory of the guardrail layer: python tests/benchmarks/bench_guardrails.py [--json OUT] [--contacts N].

Contacts x 577 actions (3 channels x 24 hours x 8 arms, and hold), five sends and three events per contact, all columns
that rules read. `--workers` processes judge blocks of `--block` contacts from a pool of ready-made blocks, one and the
same instant for all, as one run of decisions does; making the blocks is not timed. The clock runs from the moment all
workers are ready until the last one ends; `per CPU s` is what one core does, which holds on a busy machine, too.
`peak` is the highest resident memory of the busiest worker. Where all zones are asked for, states are drawn at random
besides, so that nearly every contact is a case of its own: the worst case. The oracle of the tests (plain Python, one
contact, one action) judges a sample of the same contacts beside it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from engine.guardrails.judging import judge
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack
from engine.time.localtime import instant_of
from tests.benchmarks.guardrail_contacts import ALL_ZONES, CATALOG, FEW_ZONES, WORLD, contacts

MIB = 2**20
NOW = datetime(2026, 11, 22, 15, 7, 11, tzinfo=UTC)
POOL = 6  # distinct blocks per worker: more than any cache holds


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / MIB


def work(job: tuple[str, tuple[str, ...], int, int, int], ready: Barrier, out: Any) -> None:
    """Judge this worker's share, from the moment everybody is ready."""
    name, zones, size, share, worker = job
    layer, now_at = Guardrails(load_pack(name), CATALOG), instant_of(NOW)
    blocks = [contacts(100 * worker + i, size, zones, now_at) for i in range(min(POOL, -(-share // size)))]
    layer.eligibility(blocks[0], NOW, WORLD)
    ready.wait()
    start, busy, removed, held, done, turn = time.perf_counter(), time.process_time(), 0, 0, 0, 0
    while done < share:
        block = blocks[turn % len(blocks)]
        if share - done < size:
            block = block.take(slice(0, share - done))
        counts = layer.eligibility(block, NOW, WORLD)[1]
        removed, held, done, turn = removed + counts.pairs, held + counts.held, done + block.n, turn + 1
    out.put((start, time.perf_counter(), done, removed, held, peak_mib(), time.process_time() - busy))


def measure(name: str, zones: tuple[str, ...], n: int, size: int, workers: int) -> dict[str, Any]:
    """One case in fresh processes, so that the peak is its own."""
    context = multiprocessing.get_context("spawn")
    ready, out = context.Barrier(workers), context.Queue()
    shares = [n // workers + (worker < n % workers) for worker in range(workers)]
    jobs = [(name, zones, size, share, worker) for worker, share in enumerate(shares)]
    processes = [context.Process(target=work, args=(job, ready, out)) for job in jobs]
    for process in processes:
        process.start()
    found = [out.get() for _ in processes]
    for process in processes:
        process.join()
    seconds = max(one[1] for one in found) - min(one[0] for one in found)
    done = sum(one[2] for one in found)
    return {
        "pack": name,
        "zones": len(zones),
        "contacts": done,
        "workers": workers,
        "block": size,
        "seconds": seconds,
        "contacts_per_s": done / seconds,
        "contacts_per_cpu_s": done / sum(one[6] for one in found),
        "triples_per_s": done * (CATALOG.k - 1) / seconds,
        "removed_share": sum(one[3] for one in found) / (done * (CATALOG.k - 1)),
        "held_share": sum(one[4] for one in found) / done,
        "peak_mib": max(one[5] for one in found),
    }


def by_rule(name: str, size: int) -> dict[str, float]:
    """Microseconds per contact of each rule alone, median of nine."""
    layer = Guardrails(load_pack(name), CATALOG)
    scene = layer.scene(contacts(0, size, FEW_ZONES, instant_of(NOW)), NOW, WORLD)
    found = {}
    for entry, rule in layer._rules:
        times = []
        for _ in range(9):
            start = time.perf_counter()
            judge(rule, scene)
            times.append(time.perf_counter() - start)
        found[entry.id] = float(np.median(times)) / size * 1e6
    return found


def slow(name: str, triples: int) -> dict[str, Any]:
    """The oracle on a sample of the same contacts; its answers must be the layer's."""
    from tests.engine.guardrails.oracle.people import Action, Setting, people_of
    from tests.engine.guardrails.oracle.verdicts import reasons

    pack, rng = load_pack(name), np.random.default_rng(0)
    batch = contacts(0, 500, FEW_ZONES, instant_of(NOW))
    allowed = Guardrails(pack, CATALOG).eligibility(batch, NOW, WORLD)[0].dense()
    people, setting = people_of(batch, CATALOG), Setting(NOW, CATALOG, timedelta(seconds=pack.latency_margin_s), WORLD)
    rows, actions = rng.integers(0, batch.n, triples), rng.integers(1, CATALOG.k, triples)
    asked = [
        (people[row], Action(CATALOG.channels[c], CATALOG.hours[h], CATALOG.arms[a]))
        for row, c, h, a in zip(rows, *CATALOG.split(actions), strict=True)
    ]
    start = time.perf_counter()
    passed = [not reasons(pack, person, action, setting) for person, action in asked]
    seconds = time.perf_counter() - start
    differ = int((np.array(passed) != allowed[rows, actions]).sum())
    return {"pack": name, "triples": triples, "seconds": seconds, "triples_per_s": triples / seconds, "differ": differ}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contacts", type=int, default=1_000_000)
    parser.add_argument("--block", type=int, default=8_192)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pack", default="full")
    parser.add_argument("--oracle", type=int, default=20_000, help="triples for the oracle")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    n, size, workers = options.contacts, options.block, options.workers
    plan = [
        (options.pack, FEW_ZONES, n // 10, workers),
        (options.pack, FEW_ZONES, n, workers),
        (options.pack, FEW_ZONES, n, 1),
        (options.pack, ALL_ZONES, n, workers),
        ("default", FEW_ZONES, n, workers),
    ]
    found = [measure(name, zones, many, size, count) for name, zones, many, count in plan]
    for one in found:
        print(
            f"{one['pack']:8} {one['zones']:4} zones {one['contacts']:9,} contacts x {CATALOG.k} actions "
            f"{one['workers']} workers {one['seconds']:7.2f} s {one['contacts_per_s']:10,.0f} contacts/s "
            f"{one['contacts_per_cpu_s']:10,.0f} per CPU s "
            f"peak {one['peak_mib']:6.1f} MiB removed {one['removed_share']:.2f}"
        )
    oracle = slow(options.pack, options.oracle)
    main_case = found[1]
    summary = {
        "contacts_per_s": main_case["contacts_per_s"],
        "contacts_per_cpu_s": main_case["contacts_per_cpu_s"],
        "times_the_oracle": main_case["triples_per_s"] / oracle["triples_per_s"],
        "peak_mib_of_a_tenth": found[0]["peak_mib"],
        "peak_mib": main_case["peak_mib"],
    }
    rules = by_rule(options.pack, size)
    print(f"oracle   {oracle['triples_per_s']:,.0f} triples/s, {oracle['differ']} of {oracle['triples']:,} differ")
    print("us per contact: " + ", ".join(f"{rule} {cost:.3f}" for rule, cost in rules.items()))
    print(json.dumps(summary))
    if options.json is not None:
        report = {"cases": found, "oracle": oracle, "us_per_contact_by_rule": rules, "summary": summary}
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
