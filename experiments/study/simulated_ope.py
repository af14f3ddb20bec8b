"""Whether IPS and DR find the truth of the simulator: writes docs/simulated-ope.md.

Every replication is a log of fresh contacts over a few days, decided by `engine.decide.batch` with known
propensities, under the default guardrails. The estimand is the immediate expected reward of another policy in the
states that the log's policy leads to; its truth is the mean of the closed form (`simulator.expected`) over a
large population under the same log policy. The reward model of DR is Vowpal Wabbit's, cross-fitted by contact, as in
the commands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from engine.contacts.key import SIMULATED_KEY
from engine.decide.plan import Plan
from engine.features import PRESENT, ContextBatch
from engine.guardrails.layer import Guardrails
from engine.ope.evaluate import evaluate
from engine.ope.settings import EvaluationSettings
from engine.ope.setup import Question
from engine.ope.target import PolicyTarget
from engine.records.rounds import RoundBatch
from engine.types import HOLD, BoolArray, FloatArray
from experiments.study.simulated_rounds import EXPECTED, REWARD, decided_step
from policies.vw.arguments import VwConfig
from policies.vw.reward_model import VwRewardModel
from simulator.expected import expected_rewards
from simulator.scenario import Scenario, load_scenario
from simulator.world.world import World

DOC: Final = Path(__file__).resolve().parents[2] / "docs" / "simulated-ope.md"
REPLICATIONS: Final = 500
CONTACTS: Final = 4000
STEPS: Final = 3
POPULATION: Final = 1_000_000
RANGE: Final = (-50.0, 2000.0)
ESTIMATORS: Final = ("ips", "snips", "dr")
TRUTH_SEED: Final = 1_000_003


@dataclass(frozen=True)
class Soft:
    """Softmax over the eligible actions of scores that lean on the intent score of the contact.

    Attributes:
        name: in results.
        scores: (k,) log odds.
        lean: (k,) what the intent score adds, per unit above 0.3.
    """

    name: str
    scores: FloatArray
    lean: FloatArray

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """(n, k) probabilities, positive on every eligible action."""
        column = context.columns["purchase_intent"]
        intent = np.where(column.state == PRESENT, column.values, 0.3) - 0.3
        logits = np.where(eligible, self.scores + intent[:, None] * self.lean, -np.inf)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: FloatArray = weights / weights.sum(axis=1, keepdims=True)
        return probabilities


@dataclass(frozen=True)
class Study:
    """A scenario with the policy that logs and the policy that is judged.

    Attributes:
        scenario: the world.
        guardrails: its layer.
        logging / target: policies.
    """

    scenario: Scenario
    guardrails: Guardrails
    logging: Soft
    target: Soft

    def log(self, seed: int, contacts: int, steps: int, *, first: int = 0) -> list[RoundBatch]:
        """A log of fresh contacts: the seed fixes who they are, their luck, and what is drawn for them."""
        world = World(self.scenario, contacts, seed, first=first, guardrails=self.guardrails)
        plan = self.plan(seed)
        return [decided_step(world, plan, chunk).rounds for chunk in range(steps)]

    def plan(self, seed: int) -> Plan:
        """How the log is decided."""
        return Plan(
            self.guardrails, self.logging, "logging", seed=seed, contact_key=SIMULATED_KEY, use_case=self.scenario.name
        )

    def worth_of_log(self, contacts: int, steps: int) -> float:
        """Mean expected reward per decision of the log's own policy."""
        batches = self.log(TRUTH_SEED, contacts, steps)
        return float(sum(one.rewards[EXPECTED].sum() for one in batches) / sum(one.n for one in batches))

    def truth(self, contacts: int, steps: int, seed: int = TRUTH_SEED, batch: int = 4000) -> tuple[float, float]:
        """Mean expected reward of the target per decision, and its Monte Carlo error by contact."""
        plan, total, count = self.plan(seed), [], []
        for first in range(0, contacts, batch):
            world = World(self.scenario, min(batch, contacts - first), seed, first=first, guardrails=self.guardrails)
            own, decisions = np.zeros(world.n), np.zeros(world.n)
            for _ in range(steps):
                rows = np.flatnonzero(world.deciding())
                rewards = expected_rewards(world, rows)
                # The step is decided before the target is asked: both see the contacts as they were.
                rounds = decided_step(world, plan).rounds
                distribution = self.target.distribution(rounds.context, rounds.eligible_dense())
                own[rows] += (distribution * rewards).sum(axis=1)
                decisions[rows] += 1.0
            total.append(own)
            count.append(decisions)
        sums, rounds_per_contact = np.concatenate(total), np.concatenate(count)
        mean = float(sums.sum() / rounds_per_contact.sum())
        spread = sums - mean * rounds_per_contact
        return mean, float(np.sqrt(len(sums)) * spread.std() / rounds_per_contact.sum())


def shipped_study(name: str = "newsletter") -> Study:
    """The newsletter: the log leans to hold and spreads the rest, the target likes e-mails to ready buyers."""
    scenario = load_scenario(name)
    catalog = scenario.catalog
    channel, _, arm = catalog.split(np.arange(catalog.k))
    send = (np.arange(catalog.k) != HOLD).astype(np.float64)
    email = (channel == catalog.channels.index("email")).astype(np.float64)
    logging = Soft("logging", np.where(send > 0, 0.0, 2.5), 1.5 * email)
    liked = 0.6 * email + 0.4 * (arm == 0) * send
    target = Soft("target", np.where(send > 0, liked, 1.5), 3.0 * email)
    guardrails = Guardrails(scenario.pack, catalog, scenario.packages, scenario.features)
    return Study(scenario, guardrails, logging, target)


@dataclass(frozen=True)
class Result:
    """One estimator over the replications.

    Attributes:
        estimator: name.
        replications: R.
        bias: mean estimate minus truth, usd per decision.
        bias_error: its Monte Carlo error, of the replications and of the truth together.
        spread: standard deviation of the estimates.
        stderr: mean of the standard errors that the estimates claim.
        covered: share of 95 % intervals that hold the truth.
    """

    estimator: str
    replications: int
    bias: float
    bias_error: float
    spread: float
    stderr: float
    covered: float


def replicate(study: Study, seed: int, contacts: int, steps: int) -> dict[str, tuple[float, float, float, float]]:
    """estimator -> value, standard error, low and high of one log."""
    rounds = study.log(seed, contacts, steps)
    found = evaluate(
        rounds,
        [PolicyTarget(study.target)],
        Question(metric=REWARD, reward_range=RANGE, estimators=ESTIMATORS, clustered=True),
        EvaluationSettings(clip=100.0, folds=2, seed=seed),
        reward_model_factory=model_factory(study),
    ).results
    return {
        one.estimator: (one.value, one.stderr, one.low, one.high)
        for one in found
        if one.value is not None and one.stderr is not None and one.low is not None and one.high is not None
    }


def model_factory(study: Study) -> Callable[[], VwRewardModel]:
    """Fresh reward models of the commands' kind, made small: a log of this size carries no pairs of features."""
    scenario = study.scenario
    config = VwConfig(interactions=(), bit_precision=14, regression_passes=5)
    return lambda: VwRewardModel(scenario.catalog, scenario.features, REWARD, RANGE, config)


def summarise(
    found: Sequence[dict[str, tuple[float, float, float, float]]], truth: tuple[float, float]
) -> list[Result]:
    """Bias, spread and coverage by estimator."""
    results = []
    for name in ESTIMATORS:
        value, stderr, low, high = np.array([one[name] for one in found]).T
        spread = float(value.std(ddof=1))
        results.append(
            Result(
                estimator=name,
                replications=len(found),
                bias=float(value.mean()) - truth[0],
                bias_error=float(np.hypot(spread / np.sqrt(len(found)), truth[1])),
                spread=spread,
                stderr=float(stderr.mean()),
                covered=float(np.mean((low <= truth[0]) & (truth[0] <= high))),
            )
        )
    return results


def report(results: Sequence[Result], truth: tuple[float, float], logged: float) -> str:
    """The study as Markdown."""
    replications = results[0].replications
    error = 100 * np.sqrt(0.95 * 0.05 / replications)
    lines = [
        "# Off-policy estimates against the simulator's truth",
        "",
        f"{replications} logs of {CONTACTS} fresh contacts over {STEPS} days each, decided by the engine under the",
        "default guardrails with known propensities; newsletter scenario, reward of the step in usd per decision",
        f"(`python -m experiments.study.simulated_ope`). The closed form over {POPULATION:,} contacts says that the",
        f"target is worth {truth[0]:.5f} (Monte Carlo error {truth[1]:.5f}) and the log's own policy {logged:.5f}.",
        f"Monte Carlo error of a coverage: {error:.1f} points.",
        "",
        "| estimator | bias | its error | bias / error | spread | mean standard error | 95 % intervals that cover |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in results:
        bias = f"{one.bias:+.5f} | {one.bias_error:.5f} | {one.bias / one.bias_error:+.2f}"
        error_of = f"{one.spread:.5f} | {one.stderr:.5f}"
        lines.append(f"| {one.estimator} | {bias} | {error_of} | {100 * one.covered:.1f} % |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run every replication and write the table."""
    study = shipped_study()
    truth = study.truth(POPULATION, STEPS)
    logged = study.worth_of_log(POPULATION // 20, STEPS)
    found = [replicate(study, seed, CONTACTS, STEPS) for seed in range(1, REPLICATIONS + 1)]
    DOC.write_text(report(summarise(found, truth), truth, logged), encoding="utf-8")


if __name__ == "__main__":
    main()
