"""Speed and memory of off-policy evaluation: python tests/benchmarks/bench_ope.py [--json OUT] [--rows N].

Synthetic canonical chunks are made on the fly, so that the log itself holds no memory; making them is timed apart and
taken off. The reward model is an injected table of one value per action and a slope, so that what remains is the cost
of the evaluation. `peak` is the peak of the process (ru_maxrss) beyond what it was after the first chunk was made, in a
process of its own per case, because a peak never goes down again; `traced` is the peak of all that numpy and Python
allocated while ten chunks were made and added (tracemalloc, a run of its own, because tracing is slow). The peer is
the textbook: everything in arrays of (n, k), in the same run.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from engine.eligibility import pack
from engine.features import Column, ContextBatch, FeatureSchema, FeatureSpec
from engine.ope.evaluate import finish
from engine.ope.models.crossfit import CrossFitted
from engine.ope.setup import Question, Setup
from engine.ope.state import EvaluationState
from engine.ope.target import PolicyTarget
from engine.records.rounds import CHUNK_ROWS, RoundBatch
from engine.types import NOT_AN_INSTANT

MIB = 2**20
SCHEMA = FeatureSchema(
    features=(
        FeatureSpec(
            name="x",
            type="numeric",
            unit="count",
            source="bench",
            collected_where="bench",
            customer_benefit="fewer useless messages arrive",
        ),
    )
)


class Rounds:
    """A stream of chunks; every chunk is made when it is read."""

    def __init__(self, rows: int, k: int) -> None:
        self.rows, self.k = rows, k

    def __iter__(self) -> Iterator[RoundBatch]:
        for chunk, start in enumerate(range(0, self.rows, CHUNK_ROWS)):
            yield self.make(chunk, min(CHUNK_ROWS, self.rows - start))

    def make(self, chunk: int, n: int) -> RoundBatch:
        rng = np.random.default_rng(chunk)
        x = rng.random(n)
        eligible = np.ones((n, self.k), dtype=bool)
        eligible[:, 1::7] = x[:, None] > 0.5
        action = rng.integers((self.k - 1) // 2, size=n) * 2
        eligible[np.arange(n), action] = True
        return RoundBatch(
            chunk=chunk,
            decision_id=np.arange(n).astype(object),
            context=ContextBatch(SCHEMA, {"x": Column(x, np.zeros(n, dtype=np.uint8))}, n),
            action=action.astype(np.int32),
            propensity=rng.uniform(0.5 / self.k, 2 / self.k, n),
            eligible=pack(eligible),
            k=self.k,
            cluster=rng.integers(2**62, size=n).astype(np.uint64),
            rewards={"r": (rng.random(n) < 0.1).astype(np.float64)},
            usable=np.ones(n, dtype=bool),
            decided_at=np.full(n, NOT_AN_INSTANT),
            extra={},
        )


class Tilted:
    """A softmax over fixed scores, renormalised over what is eligible: one (n, k) array."""

    name = "tilted"

    def __init__(self, k: int) -> None:
        self.row = np.exp(np.linspace(0, 1, k))

    def distribution(self, context: ContextBatch, eligible: np.ndarray) -> np.ndarray:
        full = self.row * eligible
        full /= full.sum(axis=1, keepdims=True)
        return full


class TableModel:
    """One expected reward per action and a slope in x."""

    def __init__(self, k: int) -> None:
        self.row = np.linspace(0.05, 0.15, k)

    def fit(self, rounds: Any) -> None:
        """Nothing to learn: the model is injected."""

    def predict(self, context: ContextBatch) -> np.ndarray:
        return self.row + 0.01 * context.columns["x"].values[:, None]


def setup_of(k: int, estimators: tuple[str, ...], *, clustered: bool = False) -> Setup:
    return Setup(
        targets=(PolicyTarget(Tilted(k)),),
        question=Question(metric="r", reward_range=(0, 1), estimators=estimators, clustered=clustered),
        models=CrossFitted((TableModel(k),), 0),
    )


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / MIB


def measure(rows: int, k: int, estimators: tuple[str, ...], clustered: bool) -> dict[str, Any]:
    """One case: seconds without the making of the blocks, and the peak beyond the start."""
    rounds = Rounds(rows, k)
    next(iter(rounds))
    before = peak_mib()
    started = time.perf_counter()
    for _ in rounds:
        pass
    making = time.perf_counter() - started
    state = EvaluationState(setup_of(k, estimators, clustered=clustered))
    started = time.perf_counter()
    for block in rounds:
        state.add(block)
    found = finish(state)
    seconds = time.perf_counter() - started - making
    return {
        "case": f"{'+'.join(estimators)}{' clustered' if clustered else ''}",
        "rows": rows,
        "actions": k,
        "seconds": seconds,
        "rows_per_s": rows / seconds,
        "peak_mib": peak_mib() - before,
        "traced_mib": traced_mib(k, estimators, clustered),
        "values": {estimate.estimator: estimate.value for estimate in found.results},
    }


def traced_mib(k: int, estimators: tuple[str, ...], clustered: bool) -> float:
    """Peak of traced allocations over ten chunks."""
    tracemalloc.start()
    state = EvaluationState(setup_of(k, estimators, clustered=clustered))
    for block in Rounds(10 * CHUNK_ROWS, k):
        state.add(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / MIB


def textbook(rows: int, k: int) -> dict[str, Any]:
    """The same four estimates from arrays of (n, k), as in any tutorial; the arrays of the log are made before."""
    before = peak_mib()
    blocks = list(Rounds(rows, k))
    x = np.concatenate([block.context.columns["x"].values for block in blocks])
    action = np.concatenate([block.action for block in blocks])
    propensity = np.concatenate([block.propensity for block in blocks])
    reward = np.concatenate([block.rewards["r"] for block in blocks])
    eligible = np.concatenate([block.eligible_dense() for block in blocks])
    del blocks
    started = time.perf_counter()
    target = np.exp(np.linspace(0, 1, k)) * eligible
    target = target / target.sum(axis=1, keepdims=True)
    predicted = np.linspace(0.05, 0.15, k) + 0.01 * x[:, None]
    index = np.arange(rows)
    weight = target[index, action] / propensity
    model = (target * predicted).sum(axis=1)
    doubly = model + weight * (reward - predicted[index, action])
    values = {
        "ips": (weight * reward).mean(),
        "snips": (weight * reward).sum() / weight.sum(),
        "dm": model.mean(),
        "dr": doubly.mean(),
    }
    errors = [(weight * reward).std(), (weight * (reward - values["snips"])).std(), doubly.std()]
    seconds = time.perf_counter() - started
    return {
        "case": "textbook numpy, ips+snips+dm+dr",
        "rows": rows,
        "actions": k,
        "seconds": seconds,
        "rows_per_s": rows / seconds,
        "peak_mib": peak_mib() - before,
        "values": {name: float(value) for name, value in values.items()},
        "errors": [float(error) for error in errors],
    }


def apart(function: Any, *arguments: Any) -> dict[str, Any]:
    """Run in a fresh process, so that the peak is the case's own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found: dict[str, Any] = pool.apply(function, arguments)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    every = ("ips", "snips", "dm", "dr")
    cases = [("ips",), ("snips",), ("dm",), ("dr",), every]
    found = [apart(textbook, options.rows, 10)]
    found += [apart(measure, options.rows, k, case, False) for k in (10, 577) for case in cases]
    found.append(apart(measure, options.rows, 10, every, True))
    for entry in found:
        print(
            f"{entry['case']:34} k={entry['actions']:<4} {entry['seconds']:8.3f} s {entry['rows_per_s']:12,.0f} rows/s "
            f"peak {entry['peak_mib']:8.1f} MiB traced {entry.get('traced_mib', float('nan')):6.1f} MiB"
        )
    ours = next(entry for entry in found if entry["case"] == "+".join(every) and entry["actions"] == 10)
    summary = {
        "seconds_over_textbook": ours["seconds"] / found[0]["seconds"],
        "memory_over_textbook": ours["peak_mib"] / found[0]["peak_mib"],
        "dr_577_peak_mib": next(e["peak_mib"] for e in found if e["case"] == "dr" and e["actions"] == 577),
    }
    print(json.dumps(summary))
    if options.json is not None:
        options.json.write_text(json.dumps({"cases": found, "summary": summary}, indent=1))


if __name__ == "__main__":
    main()
