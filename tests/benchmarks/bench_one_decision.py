"""One decision alone at 577 actions: python tests/benchmarks/bench_one_decision.py [--json OUT] [--decisions N].

Times of single contacts, one after the other, in milliseconds: choosing (encoding, scores, SquareCB and the draw), and
the whole of it (identities, guardrails of the default pack, choosing, the record of the log, not written to disk).
Beside it, in the same run: Vowpal Wabbit predicting the same model for one contact, from ready-made text.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from bench_decide import BLOCK, NOW, made_contacts
from synthetic_rounds import reference_catalog, reference_rounds, reference_schema

from engine.contacts.contacts import ContactBatch
from engine.decide.batch import decide_batch
from engine.decide.plan import Plan
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack
from policies.vw import wall
from policies.vw.examples import action_lines, context_row
from policies.vw.learner import VwLearner

WARM_UP = 100


def percentiles(call: Callable[[Any], object], asked: list[Any]) -> dict[str, float]:
    for one in asked[:WARM_UP]:
        call(one)
    taken = []
    for one in asked:
        start = time.perf_counter()
        call(one)
        taken.append(1e3 * (time.perf_counter() - start))
    return {f"p{p}": float(np.percentile(taken, p)) for p in (50, 99)}


def measure(decisions: int) -> dict[str, Any]:
    learner = VwLearner(reference_catalog(), reference_schema(), "click", (0.0, 1.0))
    learner.learn(reference_rounds(40_960))
    policy = learner.policy()
    plan = Plan(
        Guardrails(load_pack("default"), policy.catalog), policy, "bench", contact_key="bench", use_case="bench"
    )
    batch = next(made_contacts(plan, min(BLOCK, decisions)))
    ones = [batch.take(slice(row, row + 1)) for row in range(batch.n)]
    eligibility = plan.guardrails.eligibility(batch, NOW, plan.sender)[0]
    uniform = np.random.default_rng(1).random(batch.n)

    def choose(row: int) -> object:
        rows = slice(row, row + 1)
        return policy.choose(ones[row].context, eligibility.take(rows), uniform[rows])

    def whole(one: ContactBatch) -> object:
        return decide_batch(plan, one, NOW)

    found = {"choose_ms": percentiles(choose, list(range(batch.n))), "whole_ms": percentiles(whole, ones)}
    lines = "\n".join(action_lines(policy.catalog)) + "\n"
    state = learner.state
    x = state.encoder.encode(batch.context)[:200]
    texts = [f"shared {context_row(state.encoder.column_names, row)}\n{lines}" for row in x]
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.vw"
        model.write_bytes(state.model)
        with wall.load(model, bits=learner.config.bit_precision) as loaded:
            found["vowpal_wabbit_ms"] = percentiles(lambda text: loaded.costs(text, policy.catalog.k), texts)
    return {"actions": policy.catalog.k, "decisions": batch.n, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--decisions", type=int, default=4000)
    given = parser.parse_args()
    found = measure(given.decisions)
    print(json.dumps(found, indent=2))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
