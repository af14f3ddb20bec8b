"""Time to price 1,000,000 contacts x 577 actions: python tests/benchmarks/bench_prices.py [--contacts N] [--json OUT].

Prices are found on a sample, for one budget (half of what would be sent) and for three (all together, sms, and money);
then all contacts are decided for under them. `expected` is what the sample promises, `drawn` what was drawn for all.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from synthetic_rounds import reference_catalog, reference_context, reference_rounds, reference_schema

from engine.eligibility import Eligibility
from engine.features import ContextBatch
from policies.exploring.config import ExplorationConfig
from policies.prices.priced import priced
from policies.prices.pricing import Costs, Problem, Term, find_prices
from policies.prices.use import ContactSample, Use, expected_use, no_use
from policies.vw.learner import VwLearner
from policies.vw.scoring.compiled import CompiledPolicy

BLOCK = 16_384
SAMPLE = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contacts", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = measure(options.contacts)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def measure(contacts: int) -> dict[str, Any]:
    catalog = reference_catalog()
    exploration = ExplorationConfig(kind="squarecb", ceiling=0.1, floor=0.005)
    learner = VwLearner(catalog, reference_schema(), "click", (0.0, 1.0), exploration=exploration)
    learner.learn(reference_rounds(40_960))
    policy = learner.policy()
    start = time.perf_counter()
    sample = ContactSample(SAMPLE, catalog.shape)
    for number, context, eligibility in blocks(contacts):
        keys = np.random.default_rng([7, number]).random(context.n)
        rows = np.flatnonzero(sample.wanted(keys))
        part = eligibility.take(rows)
        sample.add(keys[rows], np.ones(len(rows), dtype=np.bool_), context.take(rows), part.packed())
    looked, rough = sample.batches(), sample.batches(2_000)
    sampling_s = time.perf_counter() - start
    costs = Costs(channel={"email": 0.001, "sms": 0.04, "push": 0.0})
    free = sum((expected_use(policy, block) for block in looked), start=no_use(catalog.shape, 1))
    sends = free.sends[0].sum(axis=1) * contacts / free.rows
    half = Term(name="all", unit="messages", budget=float(sends.sum()) / 2)
    more = (
        half,
        Term(name="sms", unit="messages", budget=float(sends[1]) / 4, channels=("sms",)),
        Term(name="money", unit="usd", budget=float(sends[1]) * 0.04 / 8 + float(sends[0]) * 0.001 / 4),
    )
    return {
        "contacts": contacts,
        "actions": catalog.k,
        "sample": free.rows,
        "sampling_s_with_making_contacts": sampling_s,
        "without_prices": dict(zip(catalog.channels, sends.tolist(), strict=True)),
        "one_budget": solved(policy, (looked, rough), Problem(catalog, (half,), costs, contacts=contacts), contacts),
        "three_budgets": solved(policy, (looked, rough), Problem(catalog, more, costs, contacts=contacts), contacts),
    }


def solved(
    policy: CompiledPolicy, looked: tuple[list[Any], list[Any]], problem: Problem, contacts: int
) -> dict[str, Any]:
    def use_of(sample: list[Any], table: Any) -> Use:
        under = priced(policy, table, problem.catalog)
        return sum((expected_use(under, block) for block in sample), start=no_use(problem.catalog.shape, 1))

    start = time.perf_counter()
    first = find_prices(problem, partial(use_of, looked[1]))
    prices = find_prices(problem, partial(use_of, looked[0]), first.price)
    solve_s = time.perf_counter() - start
    drawn, decide_s = drawn_under(priced(policy, prices.table(problem.catalog), problem.catalog), problem, contacts)
    return {
        "solve_s": solve_s,
        "evaluations_of_2000": first.evaluations,
        "evaluations": prices.evaluations,
        "decide_s": decide_s,
        "terms": {
            term.name: {
                "budget": term.budget,
                "price": price,
                "expected": use,
                "drawn": float(got),
                "drawn_over_budget": float(got) / term.budget,
            }
            for term, price, use, got in zip(problem.terms, prices.price, prices.expected, drawn, strict=True)
        },
    }


def drawn_under(policy: Any, problem: Problem, contacts: int) -> tuple[Any, float]:
    """What the draws of all contacts use of each term, and how long they took."""
    catalog = problem.catalog
    channels, _, arms = catalog.shape
    sends, spent = np.zeros((channels, arms)), 0.0
    for number, context, eligibility in blocks(contacts):
        uniform = np.random.default_rng([8, number]).random(context.n)
        start = time.perf_counter()
        action, _ = policy.choose(context, eligibility, uniform)
        spent += time.perf_counter() - start
        channel, _, arm = catalog.split(action[action > 0])
        np.add.at(sends, (channel, arm), 1.0)
    return (problem.amounts()[:, 0] * sends).sum(axis=(1, 2)), spent


def blocks(contacts: int) -> Iterator[tuple[int, ContextBatch, Eligibility]]:
    """The contacts; a third may not be sent to at all."""
    catalog = reference_catalog()
    channels, hours, arms = catalog.shape
    for number, first in enumerate(range(0, contacts, BLOCK)):
        n = min(BLOCK, contacts - first)
        rng = np.random.default_rng([9, number])
        may = rng.random((n, channels, arms)) < 0.8
        may &= (rng.random(n) < 2 / 3)[:, None, None]
        hour = rng.random((n, 2, channels, hours)) < 0.7
        yield number, reference_context(rng, n), Eligibility(may, hour, catalog.purpose_codes)


if __name__ == "__main__":
    main()
