"""Speed of training: python tests/benchmarks/bench_training.py [--json OUT] [--rows N].

Events per second end to end (checks, encoder, counts, text, VW, read-back) from rounds in memory, beside VW alone
reading the same prepared file, in turns, for mtr's one-action examples; and of a reward model's fit.
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

from synthetic_rounds import reference_catalog, reference_rounds, reference_schema

from policies.vw import wall
from policies.vw.arguments import learning_arguments
from policies.vw.learner import VwLearner
from policies.vw.reward_model import VwRewardModel

TURNS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rows", type=int, default=200_000)
    options = parser.parse_args()
    result = measure(options.rows)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def measure(rows: int) -> dict[str, Any]:
    catalog, schema = reference_catalog(), reference_schema()
    rounds = reference_rounds(rows)
    warm = VwLearner(catalog, schema, "click", (0.0, 1.0))
    warm.learn(rounds)
    with tempfile.TemporaryDirectory() as folder:
        data, model = Path(folder) / "rounds.txt", Path(folder) / "model.vw"
        data.write_bytes(b"".join(warm.examples(block, warm.state) for block in rounds))
        arguments = learning_arguments(warm.config, catalog.k)

        def end_to_end() -> None:
            VwLearner(catalog, schema, "click", (0.0, 1.0)).learn(rounds)

        def text_alone() -> None:
            for block in rounds:
                warm.examples(block, warm.state)

        def vw_alone() -> None:
            wall.train(arguments, data, model)

        def reward_model() -> None:
            VwRewardModel(catalog, schema, "click", (0.0, 1.0)).fit(rounds)

        paths = {"end_to_end": end_to_end, "text": text_alone, "vowpal_wabbit": vw_alone, "reward_model": reward_model}
        seconds = in_turns(paths)
        size = data.stat().st_size
    rates = {name: rows / value for name, value in seconds.items()}
    return {
        "machine": {"cpus": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "rows": rows,
        "actions": catalog.k,
        "bytes_per_event": size / rows,
        "events_per_s": rates,
        "end_to_end_over_vowpal_wabbit": rates["end_to_end"] / rates["vowpal_wabbit"],
    }


def in_turns(paths: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Seconds of every path, the best of `TURNS` turns."""
    best = dict.fromkeys(paths, float("inf"))
    for _ in range(TURNS):
        for name, run in paths.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


if __name__ == "__main__":
    main()
