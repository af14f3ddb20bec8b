"""Speed of the policies at 577 actions: python tests/benchmarks/bench_policies.py [--json OUT].

Contacts per second of `distribution` (context block in, probabilities out) for the compiled ensembles, the policies
that VW serves live and the peers, beside VW's own predictions of the bag's model from ready-made texts, in the same run
and in turns. The eligible sets are random, about 0.6 of the actions.
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
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from synthetic_rounds import reference_catalog, reference_rounds, reference_schema

from policies.exploring.config import ExplorationConfig
from policies.linear.bandits import LinearThompsonLearner, LinUcbLearner
from policies.vw import wall
from policies.vw.arguments import EnsembleConfig, LiveConfig, VwConfig, model_layout
from policies.vw.examples import action_lines, context_row
from policies.vw.learner import VwLearner
from policies.vw.live_learner import LiveLearner

TURNS = 3
# Contacts per turn: few where a policy is slow.
MANY, SOME, FEW = 4_096, 256, 64
RANGE = (0.0, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = measure()
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def measure() -> dict[str, Any]:
    catalog, schema = reference_catalog(), reference_schema()
    rounds = reference_rounds(16_384)
    bag = ExplorationConfig(kind="bag", epsilon=0.05)
    learners: dict[str, tuple[Any, int]] = {
        "squarecb": (VwLearner(catalog, schema, "click", RANGE), MANY),
        "bag_of_5": (
            VwLearner(catalog, schema, "click", RANGE, VwConfig(ensemble=EnsembleConfig(size=5)), bag),
            MANY,
        ),
        "linucb": (LinUcbLearner(catalog, schema, "click", RANGE), SOME),
        "linear_thompson": (LinearThompsonLearner(catalog, schema, "click", RANGE), FEW),
    }
    for name, (learner, _) in learners.items():
        print(f"learning {name}", file=sys.stderr)
        learner.learn(rounds)
    for kind in ("rnd", "regcb", "large_action_space", "slots"):
        print(f"learning {kind}", file=sys.stderr)
        live = LiveLearner(catalog, schema, "click", RANGE, LiveConfig(kind=kind))
        live.learn([rounds[0].take(slice(0, 256))])
        learners[f"live_{kind}"] = (live, FEW)
    block = rounds[0]
    eligible = np.random.default_rng(4).random((block.n, catalog.k)) < 0.6
    eligible[:, 0] = True
    paths: dict[str, tuple[Callable[[], object], int]] = {}
    for name, (learner, contacts) in learners.items():
        paths[name] = (_asked(learner.policy(), block.context.take(slice(0, contacts)), eligible[:contacts]), contacts)
    model, _ = learners["bag_of_5"]
    lines = action_lines(catalog)
    x = model.state.encoder.encode(block.context.take(slice(0, FEW)))
    texts = [
        f"shared {context_row(model.state.encoder.column_names, row)}\n"
        + "".join(f"{line}\n" for line, one in zip(lines, may, strict=True) if one)
        for row, may in zip(x, eligible, strict=False)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.vw"
        path.write_bytes(model.state.model)
        with wall.load(path, bits=18, width=model_layout(model.config)[0]) as loaded:

            def vw_bag() -> None:
                for text, may in zip(texts, eligible, strict=False):
                    loaded.costs(text, int(may.sum()))

            rates = in_turns({**paths, "vowpal_wabbit_bag_of_5": (vw_bag, FEW)})
    theirs = rates["vowpal_wabbit_bag_of_5"]
    return {
        "machine": {"cpus": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "actions": catalog.k,
        "contacts_per_s": rates,
        "ratio_to_vowpal_wabbit": {name: rate / theirs for name, rate in rates.items()},
    }


def _asked(policy: Any, context: Any, eligible: Any) -> Callable[[], object]:
    return lambda: policy.distribution(context, eligible)


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
