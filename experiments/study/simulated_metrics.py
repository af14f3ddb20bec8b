"""Whether the off-policy metrics find the truth of the simulator: writes docs/simulated-metrics.md.

Every replication is a log of fresh contacts on one day, decided by `engine.decide.batch` under the default
guardrails. The
estimands are the metrics of the default stack that another policy would have on that day. Their truth is what happens
in the same world to a large population that this other policy really decides for: no weight and no estimator is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import yaml

from engine.contacts.key import SIMULATED_KEY
from engine.decide.plan import Plan
from engine.ope.metrics.bound import BoundStack
from engine.ope.metrics.definition import MetricStack
from engine.ope.metrics.figures import stack_figures
from engine.ope.metrics.state import StackState
from engine.ope.target import LoggedTarget, PolicyTarget
from engine.records.rounds import RoundBatch
from experiments.study.simulated_ope import TRUTH_SEED, Study, shipped_study
from experiments.study.simulated_rounds import decided_step
from simulator.world.happened import reported
from simulator.world.world import World

DOC: Final = Path(__file__).resolve().parents[2] / "docs" / "simulated-metrics.md"
STACK: Final = Path(__file__).resolve().parents[2] / "conf" / "metric_stack" / "default.yaml"
REPLICATIONS: Final = 400
CONTACTS: Final = 8000
POPULATION: Final = 1_000_000
BLOCK: Final = 4000
REWARDS: Final = (
    *("delivered", "bounced", "complained", "opened", "clicked", "replied", "unsubscribed"),
    *("purchases", "revenue", "refunds", "send_cost"),
)


def shipped_stack() -> MetricStack:
    """The default stack of metrics."""
    return msgspec.convert(yaml.safe_load(STACK.read_text(encoding="utf-8")), MetricStack)


def bound_to(study: Study, stack: MetricStack) -> BoundStack:
    """The stack on logs of a study."""
    return BoundStack(stack, study.scenario.catalog, study.scenario.features, frozenset(REWARDS))


def day(study: Study, seed: int, contacts: int, *, first: int = 0, chunk: int = 0, target: bool = False) -> RoundBatch:
    """One day of fresh contacts, decided by the logging policy or by the target, with the stack's outcomes."""
    world = World(study.scenario, contacts, seed, first=first, guardrails=study.guardrails)
    plan = study.plan(seed)
    if target:
        plan = Plan(
            study.guardrails, study.target, "target", seed=seed, contact_key=SIMULATED_KEY, use_case=study.scenario.name
        )
    step = decided_step(world, plan, chunk)
    by_contact = reported(step.happened, world.n)
    return replace(step.rounds, rewards={name: by_contact[name][step.rows] for name in REWARDS})


def truth(study: Study, bound: BoundStack, contacts: int) -> dict[str, tuple[float, float]]:
    """Metric -> value and Monte Carlo error where the target really decides."""
    state = StackState(bound, [LoggedTarget()])
    for chunk, first in enumerate(range(0, contacts, BLOCK)):
        size = min(BLOCK, contacts - first)
        state.add(day(study, TRUTH_SEED, size, first=first, chunk=chunk, target=True))
    return {
        figure.metric: (figure.value, figure.stderr)
        for figure in stack_figures(state, 0.05)
        if figure.value is not None and figure.stderr is not None
    }


def replicate(study: Study, bound: BoundStack, seed: int, contacts: int) -> dict[str, tuple[float, float, float]]:
    """Metric -> value, low and high off-policy from one log; metrics that the log cannot say are left out."""
    state = StackState(bound, [LoggedTarget(), PolicyTarget(study.target)])
    for chunk, first in enumerate(range(0, contacts, BLOCK)):
        state.add(day(study, seed, min(BLOCK, contacts - first), first=first, chunk=chunk))
    return {
        figure.metric: (figure.value, figure.low, figure.high)
        for figure in stack_figures(state, 0.05)
        if figure.policy == study.target.name
        and figure.value is not None
        and figure.low is not None
        and figure.high is not None
    }


@dataclass(frozen=True)
class Coverage:
    """One metric over the replications.

    Attributes:
        said: logs that gave a figure.
        bias / spread: mean and standard deviation of the figures less the truth.
        covered: intervals of 95 % that hold the truth.
    """

    metric: str
    truth: float
    said: int
    bias: float
    spread: float
    covered: int


def summarise(
    found: Sequence[dict[str, tuple[float, float, float]]], known: dict[str, tuple[float, float]]
) -> list[Coverage]:
    """Bias and coverage by metric, for metrics that some log says and whose truth is known."""
    results = []
    for name, (value, _) in known.items():
        own = np.array([one[name] for one in found if name in one])
        if len(own):
            results.append(
                Coverage(
                    metric=name,
                    truth=value,
                    said=len(own),
                    bias=float(own[:, 0].mean() - value),
                    spread=float(own[:, 0].std()),
                    covered=int(np.count_nonzero((own[:, 1] <= value) & (value <= own[:, 2]))),
                )
            )
    return results


def report(results: Sequence[Coverage], replications: int) -> str:
    """The study as Markdown."""
    lines = [
        "# Off-policy metrics against the simulator's truth",
        "",
        f"{replications} logs of {CONTACTS:,} fresh contacts on one day, newsletter scenario, decided by the engine",
        "under the default guardrails (`python -m experiments.study.simulated_metrics`). Truth: what happens to",
        f"{POPULATION:,} contacts for whom the target really decides. The third column counts logs that gave a figure",
        "at all: others said n/a, with the reason. Shares carry the interval of Korn & Graubard, which errs towards",
        "width where events are rare; money and costs the linearised one. What only lucky logs say is biased by",
        "that luck: a figure is hidden where too few events carry it, and where none was seen.",
        "",
        "| metric | truth | logs that said it | bias | spread | 95 % intervals that cover |",
        "|---|---|---|---|---|---|",
    ]
    for one in results:
        figures = f"{one.truth:.5g} | {one.said} | {one.bias:+.2g} | {one.spread:.2g}"
        lines.append(f"| {one.metric} | {figures} | {100 * one.covered / one.said:.1f} % |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run every replication and write the table."""
    study = shipped_study()
    bound = bound_to(study, shipped_stack())
    known = truth(study, bound, POPULATION)
    found = [replicate(study, bound, seed, CONTACTS) for seed in range(1, REPLICATIONS + 1)]
    DOC.write_text(report(summarise(found, known), REPLICATIONS), encoding="utf-8")


if __name__ == "__main__":
    main()
