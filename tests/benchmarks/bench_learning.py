"""What learning takes and what is learnt: python tests/benchmarks/bench_learning.py [--json OUT] [--rows N].

The learner of parts beside the regression of the money itself, LightGBM and logistic regression on clicks times a
click's worth, and stock `vw --cb_explore_adf`: seconds, memory beyond that of the log, and the true value of what was
learnt, each in a process of its own on the same log (`learning_curves.py`). Ratios are to parts.
LightGBM takes part where it is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from learning_curves import alone, learners

WORLD = "through the click"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    result = measure(options.rows)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def measure(rows: int) -> dict[str, Any]:
    found = {name: alone(WORLD, name, rows, 1) for name in learners()}
    parts = found["parts"]
    return {
        "machine": {"cpus": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "rows": rows,
        "oracle_usd": parts.oracle,
        "best_action_for_all_usd": parts.constant,
        "learners": {
            name: {
                "seconds": one.seconds,
                "mib": one.mib,
                "usd_per_decision": one.value,
                "seconds_over_parts": one.seconds / parts.seconds,
                "mib_over_parts": one.mib / parts.mib,
                "usd_over_parts": one.value / parts.value,
            }
            for name, one in found.items()
        },
    }


if __name__ == "__main__":
    main()
