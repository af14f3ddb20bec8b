"""Whether a true lift of 3 % is found at the planned size, and none is where there is none: docs/simulated-power.md.

Logs are one day of fresh contacts each, decided by the engine under the default guardrails, so that decisions are
independent. Policies are mixtures of the one that logs with others whose worth the closed form knows
(`simulator.expected`): the value of one decision is linear in the mixture, so a lift of exactly 3 % and one of
exactly
0 % can be mixed. The size comes from the plan's own formula on a pilot log (`engine.ope.plan`), as `tactful plan`
takes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from engine.features import ContextBatch
from engine.ope.estimate import Estimate
from engine.ope.evaluate import evaluate
from engine.ope.plan import PilotSums, needed
from engine.ope.settings import DELTA, EvaluationSettings
from engine.ope.setup import Question
from engine.ope.support import SupportRule
from engine.ope.target import PolicyTarget
from engine.protocols import Policy
from engine.records.rounds import CHUNK_ROWS, RoundBatch
from engine.types import HOLD, BoolArray, FloatArray
from experiments.study.simulated_ope import RANGE, TRUTH_SEED, Soft, Study, shipped_study
from experiments.study.simulated_rounds import REWARD, decided_step
from simulator.expected import expected_rewards
from simulator.world.world import World

DOC: Final = Path(__file__).resolve().parents[2] / "docs" / "simulated-power.md"
REPLICATIONS: Final = 500
LIFT: Final = 0.03
POWER: Final = 0.8
ALPHA: Final = 0.05
POPULATION: Final = 400_000
PILOT: Final = 100_000


@dataclass(frozen=True)
class Mixture:
    """Takes each of several policies with a fixed probability, anew for every decision.

    Attributes:
        name: in results.
        parts: policies.
        shares: their probabilities, summing to 1.
    """

    name: str
    parts: tuple[Policy, ...]
    shares: tuple[float, ...]

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """(n, k) probabilities."""
        mixed: FloatArray = np.zeros(eligible.shape)
        for part, share in zip(self.parts, self.shares, strict=True):
            mixed += share * part.distribution(context, eligible)
        return mixed


@dataclass(frozen=True)
class Found:
    """What the replications said.

    Attributes:
        n: decisions a log.
        replications: logs.
        worth: true value of the log's policy, usd per decision.
        better: share of the logs on which the policy with the lift was called better.
        worse: share on which it was called worse.
        false_better: share of the logs on which the policy without a lift was called better.
        covered: share of 95 % intervals of the difference that hold the true lift.
    """

    n: int
    replications: int
    worth: float
    better: float
    worse: float
    false_better: float
    covered: float


def rounds(study: Study, seed: int, n: int) -> Iterator[RoundBatch]:
    """One decision each for n fresh contacts."""
    plan = study.plan(seed)
    for chunk, first in enumerate(range(0, n, CHUNK_ROWS)):
        world = World(study.scenario, min(CHUNK_ROWS, n - first), seed, first=first, guardrails=study.guardrails)
        yield decided_step(world, plan, chunk).rounds


def worths(study: Study, policies: Sequence[Policy], contacts: int) -> list[float]:
    """True value of one decision of each policy, over the first day of a population."""
    totals, n = np.zeros(len(policies)), 0
    plan = study.plan(TRUTH_SEED)
    for first in range(0, contacts, CHUNK_ROWS):
        world = World(
            study.scenario, min(CHUNK_ROWS, contacts - first), TRUTH_SEED, first=first, guardrails=study.guardrails
        )
        rewards = expected_rewards(world, np.flatnonzero(world.deciding()))
        batch = decided_step(world, plan).rounds
        eligible = batch.eligible_dense()
        totals += [float((policy.distribution(batch.context, eligible) * rewards).sum()) for policy in policies]
        n += batch.n
    return [float(total / n) for total in totals]


def mixtures(study: Study, contacts: int) -> tuple[Mixture, Mixture, float]:
    """A policy with the lift, one with other choices but none, and the true worth of the log's own policy."""
    catalog = study.scenario.catalog
    channel, _, _ = catalog.split(np.arange(catalog.k))
    nothing: FloatArray = np.zeros(catalog.k)
    texts = Soft("texts", np.where(channel == catalog.channels.index("sms"), 2.0, 0.0), nothing)
    silence = Soft("silence", np.where(np.arange(catalog.k) == HOLD, 6.0, 0.0), nothing)
    logged, high, low = worths(study, [study.logging, texts, silence], contacts)
    share = LIFT * logged / (high - logged)
    lifted = Mixture("lifted", (study.logging, texts), (1.0 - share, share))
    # The gain of the one pays for the loss of the other; the log's own policy takes the rest.
    down = share * (high - logged) / (logged - low)
    same = Mixture("same", (study.logging, texts, silence), (1.0 - share - down, share, down))
    return lifted, same, logged


def planned_size(study: Study, lifted: Mixture, difference: float) -> int:
    """Decisions that the plan asks for, from a pilot log of the policy that logs."""
    sums = PilotSums(
        PolicyTarget(lifted), PolicyTarget(study.logging), metric=REWARD, reward_range=RANGE, explorations=(0.0,)
    )
    for batch in rounds(study, TRUTH_SEED + 1, PILOT):
        sums.add(batch)
    pilot = sums.result()
    need = needed(
        pilot.terms[0],
        difference,
        alpha=ALPHA,
        power=POWER,
        interval=DELTA,
        kurtosis=pilot.kurtosis,
        rule=SupportRule(),
    )
    if need.decisions is None:
        raise RuntimeError("no number of decisions is enough")
    return need.decisions


def judged(study: Study, policies: Sequence[Mixture], seed: int, n: int) -> list[Estimate]:
    """SNIPS of each policy against the log's own."""
    found = evaluate(
        rounds(study, seed, n),
        [PolicyTarget(policy) for policy in policies],
        Question(metric=REWARD, reward_range=RANGE, estimators=("snips",), baseline=PolicyTarget(study.logging)),
        # Each policy is a question of its own, as the plan takes it.
        EvaluationSettings(alpha=ALPHA, simultaneous=False),
    )
    return list(found.results)


def run(replications: int, *, population: int = POPULATION, n: int | None = None) -> Found:
    """The whole study.

    Args:
        replications: logs.
        population: contacts of the truth.
        n: decisions a log; None plans them.
    """
    study = shipped_study()
    lifted, same, worth = mixtures(study, population)
    size = planned_size(study, lifted, LIFT * worth) if n is None else n
    verdicts, nothing, covered = [], [], []
    for seed in range(1, replications + 1):
        one, other = judged(study, [lifted, same], seed, size)
        verdicts.append(one.verdict)
        nothing.append(other.verdict)
        gap = one.difference
        covered.append(
            gap is not None and gap.low is not None and gap.high is not None and gap.low <= LIFT * worth <= gap.high
        )
    return Found(
        n=size,
        replications=replications,
        worth=worth,
        better=verdicts.count("better") / replications,
        worse=verdicts.count("worse") / replications,
        false_better=nothing.count("better") / replications,
        covered=float(np.mean(covered)),
    )


def report(found: Found) -> str:
    """The study as Markdown."""
    error = 100 * float(np.sqrt(POWER * (1 - POWER) / found.replications))
    return "\n".join(
        [
            "# Whether a lift of 3 % is found",
            "",
            f"{found.replications} simulated logs of {found.n:,} decisions each: the size that the plan's formula",
            f"gives for a lift of {LIFT:.0%} at a power of {POWER:.0%} from a pilot of {PILOT:,} decisions. Newsletter",
            "scenario, default guardrails, reward in usd, SNIPS with the delta interval",
            "(`python -m experiments.study.simulated_power`). By the closed form over",
            f"{POPULATION:,} contacts the log's own policy is truly worth {found.worth:.5f} usd a decision. The",
            "policies are mixtures, so that the true lifts are exactly 3 % and 0 %.",
            "",
            "| true lift | verdict better | worse | 95 % intervals that hold the true lift |",
            "|---|---|---|---|",
            f"| {LIFT:.0%} | {found.better:.1%} | {found.worse:.1%} | {found.covered:.1%} |",
            f"| 0 % | {found.false_better:.1%} | | |",
            "",
            f"Monte Carlo error of a share near {POWER:.0%}: {error:.1f} points.",
            "",
        ]
    )


def main() -> None:
    """Run every replication and write the table."""
    DOC.write_text(report(run(REPLICATIONS)), encoding="utf-8")


if __name__ == "__main__":
    main()
