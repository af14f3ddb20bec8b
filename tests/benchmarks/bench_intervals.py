"""Speed of confidence sequences over 1,000,000 rows: python tests/benchmarks/bench_intervals.py [--json OUT].

Processor time of the best of nine runs each, the first not counted, on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from engine.ope.intervals.asymptotic import asymptotic_sequence
from engine.ope.intervals.confidence_sequence import betting_sequence


def seconds(call: Callable[[], object]) -> float:
    call()
    taken = []
    for _ in range(9):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    weight = np.where(rng.random(given.rows) < 1 / 3, 3.0, 0.0)
    terms = weight * (rng.random(given.rows) < 0.1)
    found = {
        "confidence_sequence_s": seconds(lambda: betting_sequence(terms, (0.0, 3.0), values=(0.0, 1.0))),
        "asymptotic_sequence_s": seconds(lambda: asymptotic_sequence(terms)),
    }
    for name, value in found.items():
        print(f"{name:28s} {given.rows:,} rows {value:.3f} s")
    if given.json is not None:
        given.json.write_text(json.dumps({"rows": given.rows, **found}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
