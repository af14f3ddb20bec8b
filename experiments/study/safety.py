"""What a safe policy of parts costs and protects from: many small logs of worlds with exact truth (docs/safety.md)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from engine.protocols import Policy
from engine.types import FloatArray
from experiments.study.stage_worlds import MONEY, People, StageWorld, catalog, reward_range, schema
from policies.exploring.config import ExplorationConfig
from policies.parts.config import PartsConfig
from policies.parts.learner import PartsLearner
from policies.parts.log import PartsLog
from policies.parts.practice import shown
from policies.vw.arguments import VwConfig
from policies.vw.scoring.compiled import CompiledPolicy
from policies.wrappers.safe import SafePolicy
from simulator.processes import worker_processes

WORLDS: Final = {
    "strong effects": StageWorld(),
    "weak effects": StageWorld(strength=0.3),
    "no effects": StageWorld(strength=0.0),
}
CONFIDENCES: Final = (0.8, 0.9, 0.95)
SIZES: Final = ((2000, 20), (8000, 6))
_PEOPLE: Final = 20_000
DOCS: Final = Path(__file__).parents[2] / "docs"
_HEAD: Final = """# What a safe policy costs, and what it protects from

Made by `python -m experiments.study.safety`: small logs of worlds in plain arrays with exact truth, in which messages
act through a click (`experiments/study/stage_worlds.py`). The [safe policy](safety.md) leaves segments that were tuned
on the same stages only where its bags agree and contacts that were not learnt from show that to pay; `parts` is the
same learner without safety. Means over logs with their standard error; USD are true values, not estimates.

"""


@dataclass(frozen=True)
class Outcome:
    """One log of one world; true USD per decision over the practice.

    Attributes:
        practice: true value of the practice over sending nothing.
        gains: of the plain policy, then of the safe one at each confidence.
        left: share of decisions in which each differs from the practice.
    """

    practice: float
    gains: tuple[float, ...]
    left: tuple[float, ...]


def outcome(job: tuple[str, int, int]) -> Outcome:
    """Learn from one log and read the true values.

    Args:
        job: name of the world, rows of the log, seed.
    """
    name, rows, seed = job
    world = WORLDS[name]
    parts, log = PartsConfig(safety="segments"), world.log(rows, seed)
    config, greedy = VwConfig(parts=parts), ExplorationConfig(kind="greedy")
    learner = PartsLearner(catalog(), schema(), MONEY, reward_range(), config, greedy)
    learner.learn(log)
    safe, people = learner.policy(), world.people(_PEOPLE, 999)
    if not isinstance(safe, SafePolicy):
        raise TypeError(f"expected a safe policy, got {type(safe).__name__}")
    plain = CompiledPolicy(safe.catalog, safe.encoder, safe.tables, safe.exploration, safe.rounds)
    today = _shares(safe.practice, people)
    base = _value(world, people, today)
    read = PartsLog(log, catalog(), MONEY, reward_range(), parts)
    levels = [replace(safe, confidence=level) for level in CONFIDENCES]
    levels = [replace(one, shown=bool(shown(one, learner.state.tables, read, parts))) for one in levels]
    found = [_shares(one, people) for one in (plain, *levels)]
    return Outcome(
        base,
        tuple(_value(world, people, one) - base for one in found),
        tuple(float(np.abs(one - today).sum(axis=1).mean() / 2.0) for one in found),
    )


def _shares(policy: Policy, people: People) -> FloatArray:
    return policy.distribution(people.context(), np.ones((people.n, catalog().k), dtype=np.bool_))


def _value(world: StageWorld, people: People, shares: FloatArray) -> float:
    return float((world.gain(people) * shares).sum(axis=1).mean())


def table(name: str, rows: int, found: Sequence[Outcome]) -> list[str]:
    """Lines of the table of one world and size."""
    lines = []
    for at, policy in enumerate(("parts", *(f"safe, {100 * level:g} %" for level in CONFIDENCES))):
        gains = np.array([one.gains[at] for one in found])
        error = gains.std(ddof=1) / np.sqrt(len(gains))
        worse = int((gains < -1e-9).sum())
        left = np.mean([one.left[at] for one in found])
        lines.append(
            f"| {name} | {rows:,} | {policy} | {gains.mean():+.4f} ({error:.4f}) | {worse} of {len(gains)} | "
            f"{gains.min():+.4f} | {100 * left:.0f} % |"
        )
    return lines


def study(sizes: Sequence[tuple[int, int]], workers: int) -> str:
    """The whole table, as Markdown.

    Args:
        sizes: pairs of rows and seeds.
        workers: processes.
    """
    lines = [
        "| world | rows | policy | USD per decision over the practice (se) | worse than it | worst | differs |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in WORLDS:
        for rows, seeds in sizes:
            jobs = [(name, rows, seed) for seed in range(seeds)]
            if workers == 1:
                found = [outcome(job) for job in jobs]
            else:
                with worker_processes(workers) as pool:
                    found = list(pool.map(outcome, jobs))
            lines += table(name, rows, found)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the study and write its page."""
    (DOCS / "safety-study.md").write_text(_HEAD + study(SIZES, os.cpu_count() or 1), encoding="utf-8")


if __name__ == "__main__":
    main()
