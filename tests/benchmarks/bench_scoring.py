"""Speed of scoring alone at 577 actions: python tests/benchmarks/bench_scoring.py [--json OUT] [--contacts N].

The compiled tables (numpy, numba, and the fused kernel with SquareCB and the draw, without limits and with the shipped
ceiling and floor) beside VW's own predictions of the same model, in the same run and in turns, from ready-made texts;
so the ratio holds on a busy machine too. `difference` is the largest |score - VW's prediction| over `--contacts` random
contacts x 577 actions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from synthetic_rounds import reference_catalog, reference_rounds, reference_schema

from engine.catalog import Arm, Catalog
from engine.eligibility import Eligibility
from engine.encoder import fit_encoder
from policies.exploring.config import ExplorationConfig
from policies.parts.tables import Loss, PartTables
from policies.vw import wall
from policies.vw.examples import action_lines, context_row
from policies.vw.learner import VwLearner
from policies.vw.scoring import kernels
from policies.vw.scoring.compiled import CompiledPolicy
from policies.vw.scoring.compiler import random_contexts
from policies.vw.scoring.tables import BATCH_ROWS, ScoreTables

ROUNDS = 5
CONTACTS = 16_384
MILLION = 64 * CONTACTS
PART_CONTACTS = 4096
VW_CONTACTS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--contacts", type=int, default=10_000, help="contacts of the comparison with VW")
    options = parser.parse_args()
    result = measure(options.contacts)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def measure(contacts: int) -> dict[str, Any]:
    catalog = reference_catalog()
    learner = VwLearner(catalog, reference_schema(), "click", (0.0, 1.0))
    learner.learn(reference_rounds(40_960))
    state, tables = learner.state, learner.tables()
    x = random_contexts(state.encoder, CONTACTS, seed=1)
    block = np.empty((BATCH_ROWS, catalog.k))
    everyone = eligibility_of(catalog, CONTACTS)
    uniform = np.random.default_rng(2).random(CONTACTS)
    free = ExplorationConfig(kind="squarecb")
    limited = ExplorationConfig(kind="squarecb", ceiling=0.1, floor=0.005)

    def numpy_path() -> None:
        for start in range(0, CONTACTS, BATCH_ROWS):
            tables.score_into(x[start : start + BATCH_ROWS], block)

    def numba_path() -> None:
        for start in range(0, CONTACTS, BATCH_ROWS):
            kernels.score_into(x[start : start + BATCH_ROWS], tables, block)

    def fused_path() -> None:
        kernels.choose(x, tables, everyone, free, state.rounds, uniform)

    def fused_limited_path() -> None:
        kernels.choose(x, tables, everyone, limited, state.rounds, uniform)

    paths: dict[str, tuple[Callable[[], None], int]] = {"numpy": (numpy_path, CONTACTS)}
    if kernels.AVAILABLE:
        paths |= {
            "numba": (numba_path, CONTACTS),
            "fused_squarecb": (fused_path, CONTACTS),
            "fused_squarecb_limited": (fused_limited_path, CONTACTS),
            "fused_squarecb_two_threads": (in_two_threads(fused_path), MILLION),
            "fused_squarecb_limited_two_threads": (in_two_threads(fused_limited_path), MILLION),
        }
    lines = "\n".join(action_lines(catalog)) + "\n"
    names = state.encoder.column_names
    texts = [f"shared {context_row(names, row)}\n{lines}" for row in x[:VW_CONTACTS]]
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.vw"
        model.write_bytes(state.model)
        with wall.load(model, bits=learner.config.bit_precision) as loaded:

            def vw_path() -> None:
                for text in texts:
                    loaded.costs(text, catalog.k)

            rates = in_turns({**paths, "vowpal_wabbit": (vw_path, VW_CONTACTS)})
            worst = 0.0
            asked = random_contexts(state.encoder, contacts, seed=3)
            for start in range(0, contacts, BATCH_ROWS):
                rows = asked[start : start + BATCH_ROWS]
                scores = tables.scores(rows)
                for row, score in zip(rows, scores, strict=True):
                    costs = loaded.costs(f"shared {context_row(names, row)}\n{lines}", catalog.k)
                    worst = max(worst, float(np.abs(score - (state.centre - state.unit * costs)).max()))
    theirs = rates["vowpal_wabbit"]
    return {
        "machine": {"cpus": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "actions": catalog.k,
        "encoded_features": state.encoder.d,
        "contacts_per_s": rates,
        "ratio_to_vowpal_wabbit": {name: rate / theirs for name, rate in rates.items()},
        "difference": {"contacts": contacts, "actions": catalog.k, "largest": worst},
        "parts": [measure_parts(one) for one in (small_catalog(), catalog)] if kernels.AVAILABLE else [],
    }


def measure_parts(catalog: Catalog) -> dict[str, Any]:
    """Contacts per second of `distribution` and `choose`, and their ratio to those of one table."""
    batch = next(iter(reference_rounds(PART_CONTACTS)))
    encoder, rng = fit_encoder(reference_schema(), [batch.context]), np.random.default_rng(5)
    may, uniform = eligibility_of(catalog, batch.n), rng.random(batch.n)
    eligible, price = may.dense(), np.ones(catalog.shape[0])
    chance, worth, money, unsubscribed, complained, held = (random_tables(catalog, encoder.d, rng) for _ in range(6))
    losses = (Loss("unsubscribed", unsubscribed, price), Loss("complained", complained, price))
    tables = {"one_table": money, "parts": PartTables(chance, worth, money, losses, held, "clicked")}
    paths: dict[str, tuple[Callable[[], object], int]] = {}
    for name, own in tables.items():
        policy = CompiledPolicy(catalog, encoder, own, ExplorationConfig(kind="squarecb"), 40_960)
        paths[f"{name}_distribution"] = (partial(policy.distribution, batch.context, eligible), batch.n)
        paths[f"{name}_choose"] = (partial(policy.choose, batch.context, may, uniform), batch.n)
    # Of the processor: on a busy machine the longer one of two calls is interrupted more often.
    rates = in_turns(paths, time.process_time)
    ratio = {name: rates[f"parts_{name}"] / rates[f"one_table_{name}"] for name in ("distribution", "choose")}
    return {"actions": catalog.k, "contacts_per_s": rates, "ratio_to_one_table": ratio}


def small_catalog() -> Catalog:
    """Two channels, one hour and nine arms."""
    arms = tuple(Arm(id=f"arm {a}", approved=True) for a in range(9))
    return Catalog(name="small", channels=("email", "sms"), hours=(9,), arms=arms)


def random_tables(catalog: Catalog, d: int, rng: np.random.Generator) -> ScoreTables:
    shapes = ScoreTables.shapes(catalog, d)
    made = {name: (0.3 * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}
    return ScoreTables(**{**made, "limits": np.array([-np.inf, np.inf], dtype=np.float32)})


def in_two_threads(call: Callable[[], None]) -> Callable[[], None]:
    """The blocks of 1,048,576 contacts, on two cores: the kernels let go of the interpreter's lock."""

    def run() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: call(), range(MILLION // CONTACTS)))

    return run


def eligibility_of(catalog: Any, n: int) -> Eligibility:
    channels, hours, arms = catalog.shape
    rng = np.random.default_rng(4)
    return Eligibility(
        rng.random((n, channels, arms)) < 0.8, rng.random((n, 2, channels, hours)) < 0.7, catalog.purpose_codes
    )


def in_turns(
    paths: Mapping[str, tuple[Callable[[], object], int]], clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Contacts per second of every path: the best of `ROUNDS` turns, after one turn to warm up."""
    best = dict.fromkeys(paths, 0.0)
    for turn in range(ROUNDS + 1):
        for name, (run, contacts) in paths.items():
            start = clock()
            run()
            if turn:
                best[name] = max(best[name], contacts / (clock() - start))
    return best


if __name__ == "__main__":
    main()
