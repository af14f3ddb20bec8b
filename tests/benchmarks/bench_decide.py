"""Decisions per second end to end at 577 actions: python tests/benchmarks/bench_decide.py [--json OUT] [--contacts N].

End to end is encoding of features, guardrails (the default pack), scores, SquareCB, draw, record, and the Parquet log
on disk, from contact batches in memory. Beside it, in the same run: Vowpal Wabbit predicting the same model for such
contexts, from ready-made text. `peak_mib` is the peak of the whole process after 1x and after 4x the contacts: memory
must not grow with them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from synthetic_rounds import reference_catalog, reference_context, reference_rounds, reference_schema

from engine.contacts.contacts import ContactBatch, plain_contacts
from engine.decide.batch import decide_batch
from engine.decide.plan import Plan, decision_meta
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack
from engine.log.parquet import conform_to
from engine.log.whole_file import ParquetFile
from engine.records.schema import log_schema
from engine.time.localtime import instant_of
from policies.vw import wall
from policies.vw.examples import action_lines, context_row
from policies.vw.learner import VwLearner

NOW = datetime(2026, 9, 1, 14, tzinfo=UTC)
ZONES = ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "Europe/Berlin")
BLOCK = 16_384
VW_CONTACTS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--contacts", type=int, default=131_072)
    options = parser.parse_args()
    result = measure(options.contacts)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def measure(contacts: int) -> dict[str, Any]:
    learner, plan = planned()
    catalog = plan.catalog
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.parquet"
        decide(plan, log, BLOCK)  # compiles the kernels and fills the zone caches
        seconds, sends = decide(plan, log, contacts)
        first = peak_mib()
        decide(plan, log, 4 * contacts)
        ours, theirs = contacts / seconds, vw_rate(learner, Path(folder))
    return {
        "machine": {"cpus": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "actions": catalog.k,
        "contacts": contacts,
        "send_share": sends / contacts,
        "decisions_per_s": ours,
        "decisions_per_s_two_processes": in_two_processes(2 * contacts),
        "vowpal_wabbit_predictions_per_s": theirs,
        "ratio_to_vowpal_wabbit": ours / theirs,
        "peak_mib": {"contacts": first, "four_times_contacts": peak_mib()},
    }


def planned() -> tuple[VwLearner, Plan]:
    learner = VwLearner(reference_catalog(), reference_schema(), "click", (0.0, 1.0))
    learner.learn(reference_rounds(40_960))
    policy = learner.policy()
    return learner, Plan(
        Guardrails(load_pack("default"), policy.catalog), policy, "bench", contact_key="bench", use_case="bench"
    )


def in_two_processes(contacts: int) -> float:
    """Decisions per second of two processes, each with half of the contacts and a log of its own."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.SimpleQueue()
    workers = [context.Process(target=work, args=(contacts // 2, barrier, answers)) for _ in range(2)]
    for worker in workers:
        worker.start()
    slowest = max(answers.get() for _ in workers)
    for worker in workers:
        worker.join()
    return contacts // 2 * 2 / slowest


def work(contacts: int, barrier: Any, answers: Any) -> None:
    plan = planned()[1]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.parquet"
        decide(plan, log, BLOCK)
        barrier.wait()
        answers.put(decide(plan, log, contacts)[0])


def decide(plan: Plan, log: Path, contacts: int) -> tuple[float, int]:
    """Seconds spent deciding and writing (making the contacts is not counted), and the number of sends."""
    spent, sends = 0.0, 0
    batches = made_contacts(plan, contacts)
    batch = next(batches)
    schema = log_schema(decision_meta(plan, batch, source="bench", policy_folder=""))
    with ParquetFile(log, schema) as file:
        while batch is not None:
            start = time.perf_counter()
            decided = decide_batch(plan, batch, NOW)
            file.append(conform_to(decided.table, schema))
            spent += time.perf_counter() - start
            sends += int((decided.action != 0).sum())
            batch = next(batches, None)  # type: ignore[assignment]
    return spent, sends


def made_contacts(plan: Plan, contacts: int) -> Iterator[ContactBatch]:
    """Consenting contacts in five zones with up to four sends in the last 40 days."""
    now_at = instant_of(NOW)
    for start in range(0, contacts, BLOCK):
        n = min(BLOCK, contacts - start)
        rng = np.random.default_rng([7, start])
        lengths = rng.integers(0, 5, n)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        owner = np.repeat(np.arange(n), lengths)
        sent_at = now_at - rng.integers(0, 40 * 86_400, offsets[-1]) * 1_000_000
        yield plain_contacts(
            np.array([f"contact {i}" for i in range(start, start + n)], dtype=object),
            plan.catalog,
            zones=ZONES,
            zone_code=rng.integers(0, len(ZONES), n).astype(np.int32),
            context=reference_context(rng, n),
            consent=np.where(rng.random((n, 3, 2)) < 0.9, 1, 0).astype(np.int8),
            suppressed=np.where(rng.random((n, 3)) < 0.02, 1, 0).astype(np.int8),
            sent_offsets=offsets,
            sent_at=sent_at[np.lexsort((sent_at, owner))],
            sent_channel=rng.integers(0, 3, offsets[-1]).astype(np.int32),
            sent_purpose=np.zeros(offsets[-1], dtype=np.int32),
            history_known=np.ones(n, dtype=np.bool_),
        )


def vw_rate(learner: VwLearner, folder: Path) -> float:
    """Predictions per second of Vowpal Wabbit itself, the best of three turns."""
    catalog, state = learner.catalog, learner.state
    lines = "\n".join(action_lines(catalog)) + "\n"
    x = state.encoder.encode(reference_context(np.random.default_rng(1), VW_CONTACTS))
    texts = [f"shared {context_row(state.encoder.column_names, row)}\n{lines}" for row in x]
    model = folder / "model.vw"
    model.write_bytes(state.model)
    best = 0.0
    with wall.load(model, bits=learner.config.bit_precision) as loaded:
        for _ in range(3):
            start = time.perf_counter()
            for text in texts:
                loaded.costs(text, catalog.k)
            best = max(best, len(texts) / (time.perf_counter() - start))
    return best


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
