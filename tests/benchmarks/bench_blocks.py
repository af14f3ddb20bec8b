"""Speed of decisions over modular content: python tests/benchmarks/bench_blocks.py [--json OUT] [--contacts N].

The shipped modular catalog (5 slots, 576 assemblies, 41,473 actions). Contacts per second of the whole choice (context
block in, actions and joint propensities out: encoding, scores, exploration, draw), warm, in one thread and in two;
beside the peers in the same run and in turns: the same softmax over all 41,473 actions in numpy, VW's predictions of
the same model from ready-made texts, and VW's own large action spaces. Before that end to end, with guardrails and the
Parquet log, at N and at 4 N contacts, with the peak of memory after each; and the guardrails alone, by block and by
assembly.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import yaml
from bench_decide import NOW, decide, made_contacts, peak_mib
from synthetic_rounds import reference_context, reference_schema

from engine.catalog import Catalog, catalog_from
from engine.content.drawing import uniform_actions
from engine.content.eligibility import BlockEligibility
from engine.decide.plan import Plan
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack
from engine.records.rounds import CHUNK_ROWS, RoundBatch
from engine.sampling import draw
from policies.content.learner import BlockLearner
from policies.content.names import lines_of
from policies.exploring.config import ExplorationConfig
from policies.exploring.exploration import softmax
from policies.vw import wall
from policies.vw.examples import context_row

TURNS = 3
CONTACTS = 16_384
BLOCKS = 16
FEW, ENUMERATED = 3, 16
KINDS = {
    "softmax": ExplorationConfig(kind="softmax", inverse_temperature=10.0),
    "squarecb": ExplorationConfig(kind="squarecb", ceiling=0.1),
    "epsilon_greedy": ExplorationConfig(kind="epsilon_greedy"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--contacts", type=int, default=65_536)
    options = parser.parse_args()
    result = measure(options.contacts)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def shipped() -> Catalog:
    path = Path(__file__).resolve().parents[2] / "conf/catalog/modular.yaml"
    return catalog_from(yaml.safe_load(path.read_text()))


def eligible(catalog: Catalog, n: int, seed: int) -> BlockEligibility:
    """Random factors: about 0.8 of the blocks on each channel and 0.7 of the hours."""
    rng = np.random.default_rng(seed)
    channels, hours, _ = catalog.shape
    blocks = rng.random((n, channels, 18)) < 0.8
    # The fallback of a slot is always there: the first of its blocks.
    blocks[:, :, [0, 4, 8, 11, 14]] = True
    return BlockEligibility(catalog, blocks, rng.random((n, channels, hours)) < 0.7)


def rounds(catalog: Catalog, seed: int) -> RoundBatch:
    """Uniform decisions, and a click that some blocks earn."""
    rng = np.random.default_rng([9, seed])
    may, context = eligible(catalog, CHUNK_ROWS, seed), reference_context(rng, CHUNK_ROWS)
    action = uniform_actions(may, rng.random(CHUNK_ROWS))
    arm = np.maximum(catalog.split(action)[2], 0)
    click = rng.random(CHUNK_ROWS) < 0.05 + 0.1 * (action > 0) * ((arm % 4 == 2) + (arm // 36 % 4 == 1))
    return RoundBatch(
        chunk=seed,
        decision_id=np.array([f"{seed}-{row}" for row in range(CHUNK_ROWS)], dtype=object),
        context=context,
        action=action,
        propensity=1.0 / may.counts(),
        eligible=may.packed(),
        k=catalog.k,
        cluster=np.arange(CHUNK_ROWS, dtype=np.uint64),
        rewards={"click": click.astype(np.float64)},
        usable=np.ones(CHUNK_ROWS, dtype=np.bool_),
        decided_at=np.zeros(CHUNK_ROWS, dtype=np.int64),
        extra={},
        modular=catalog,
    )


def measure(contacts: int) -> dict[str, Any]:
    catalog = shipped()
    learner = BlockLearner(catalog, reference_schema(), "click", (0.0, 1.0))
    start = time.perf_counter()
    learner.learn([rounds(catalog, seed) for seed in range(10)])
    print(f"learnt in {time.perf_counter() - start:.1f} s", file=sys.stderr)
    policy = learner.policy()
    # First, as the peers need gigabytes and the peak of memory is that of the process.
    whole = end_to_end(replace(policy, exploration=KINDS["squarecb"]), contacts)
    context = reference_context(np.random.default_rng(1), CONTACTS)
    may, uniform = eligible(catalog, CONTACTS, 2), np.random.default_rng(3).random(CONTACTS)
    paths: dict[str, tuple[Callable[[], object], int]] = {}
    for name, exploration in KINDS.items():
        chooser = replace(policy, exploration=exploration)
        call = _chosen(chooser, context, may, uniform)
        paths[name] = (call, CONTACTS)
        paths[f"{name}_two_threads"] = (_in_two_threads(call), CONTACTS * BLOCKS)
    paths["softmax_numpy"] = (
        _chosen(replace(policy, exploration=KINDS["softmax"], fast=False), context, may, uniform),
        CONTACTS,
    )
    few_context, few_may = context.take(slice(0, ENUMERATED)), may.take(slice(0, ENUMERATED))

    def enumerated() -> None:
        probabilities = softmax(policy.scores(few_context), few_may.dense(), 10.0)
        draw(probabilities, uniform[:ENUMERATED])

    paths["enumeration_numpy"] = (enumerated, ENUMERATED)
    lines = "\n".join(lines_of(catalog, np.arange(catalog.k, dtype=np.int32))) + "\n"
    names, x = learner.state.encoder.column_names, learner.state.encoder.encode(context.take(slice(0, FEW)))
    texts = [f"shared {context_row(names, row)}\n{lines}" for row in x]
    model = wall.LiveModel(["--cb_explore_adf", "--large_action_space", "--squarecb", "--max_actions", "20"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.vw"
        path.write_bytes(learner.state.model)
        with wall.load(path, bits=learner.config.bit_precision) as loaded:
            paths["vowpal_wabbit"] = (lambda: [loaded.costs(text, catalog.k) for text in texts], FEW)
            paths["vowpal_wabbit_large_action_space"] = (
                lambda: [model.probabilities(text, catalog.k) for text in texts],
                FEW,
            )
            rates = in_turns(paths)
    model.close()
    return {
        "machine": {"cpus": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "actions": catalog.k,
        "encoded_features": learner.state.encoder.d,
        "contacts_per_s": rates,
        "ratio_of_two_threads_of_softmax": {
            name: rates["softmax_two_threads"] / rates[name]
            for name in ("enumeration_numpy", "vowpal_wabbit", "vowpal_wabbit_large_action_space")
        },
        "end_to_end": whole,
    }


def end_to_end(policy: Any, contacts: int) -> dict[str, Any]:
    """Decisions with the default pack into a Parquet log, and the guardrails alone."""
    guardrails = Guardrails(load_pack("default"), policy.catalog)
    plan = Plan(guardrails, policy, "bench", contact_key="bench", use_case="bench")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.parquet"
        decide(plan, log, CONTACTS)
        seconds, sends = decide(plan, log, contacts)
        size, first = log.stat().st_size, peak_mib()
        decide(plan, log, 4 * contacts)
    batch = next(made_contacts(plan, 4096))
    by_guardrails = in_turns(
        {
            "by_block": (lambda: guardrails.blocks(batch, NOW, plan.sender), 4096),
            "by_assembly": (lambda: guardrails.eligibility(batch, NOW, plan.sender), 4096),
        }
    )
    return {
        "contacts": contacts,
        "send_share": sends / contacts,
        "decisions_per_s": contacts / seconds,
        "log_bytes_per_decision": size / contacts,
        "peak_mib": {"contacts": first, "four_times_contacts": peak_mib()},
        "guardrails_contacts_per_s": by_guardrails,
    }


def _chosen(policy: Any, context: Any, may: Any, uniform: Any) -> Callable[[], object]:
    return lambda: policy.choose_blocks(context, may, uniform)


def _in_two_threads(call: Callable[[], object]) -> Callable[[], object]:
    """Several blocks on two cores: the kernel lets go of the interpreter's lock."""

    def run() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: call(), range(BLOCKS)))

    return run


def in_turns(paths: dict[str, tuple[Callable[[], object], int]]) -> dict[str, float]:
    """Contacts per second of every path: the best of `TURNS` turns, after one turn to warm up."""
    best = dict.fromkeys(paths, 0.0)
    for turn in range(TURNS + 1):
        for name, (run, contacts) in paths.items():
            start = time.perf_counter()
            run()
            if turn:
                best[name] = max(best[name], contacts / (time.perf_counter() - start))
    return best


if __name__ == "__main__":
    main()
