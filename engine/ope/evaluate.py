"""The front door of off-policy evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.ope.crossfit import CrossFitted, RewardModelFactory, cross_fit
from engine.ope.embedding import Embedding
from engine.ope.estimate import Estimate
from engine.ope.loggers import Loggers
from engine.ope.mrdr import fit_for_target
from engine.ope.named import DEFAULT_CLIP, Asked, estimators_named
from engine.ope.results import baseline_estimates, estimates
from engine.ope.setup import Setup
from engine.ope.state import EvaluationState
from engine.ope.support import SupportRule
from engine.ope.target import LoggedTarget, Target
from engine.records.rounds import RoundBlock

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        results: one estimate per policy and estimator, in the order asked.
        baseline: the baseline's own estimates.
        skipped: (policy, estimator, reason) of what is not defined.
        n: rows.
        clusters: independent units; n where rows are not clustered.
    """

    results: tuple[Estimate, ...]
    baseline: tuple[Estimate, ...]
    skipped: tuple[tuple[str, str, str], ...]
    n: int
    clusters: int

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars."""
        return {
            "results": [estimate.to_json() for estimate in self.results],
            "baseline": [estimate.to_json() for estimate in self.baseline],
            "skipped": [dict(zip(("policy", "estimator", "reason"), entry, strict=True)) for entry in self.skipped],
            "n": self.n,
            "clusters": self.clusters,
        }


def evaluate(  # noqa: PLR0913 - one front door: each argument is a choice of the person who asks
    rounds: Iterable[RoundBlock],
    targets: Sequence[Target],
    *,
    metric: str,
    reward_range: tuple[float, float],
    estimators: Sequence[str] = ("ips", "snips"),
    baseline: Target | None = None,
    alpha: float = 0.05,
    interval: str = "delta",
    clip: float = DEFAULT_CLIP,
    seed: int = 0,
    reward_model_factory: RewardModelFactory | None = None,
    folds: int = 5,
    clustered: bool = False,
    allow_inexact: bool = False,
    rule: SupportRule | None = None,
    draws: int = 1000,
    progress: Progress | None = None,
    weighted_model_factory: RewardModelFactory | None = None,
    embedding: Embedding | None = None,
    loggers: Loggers | None = None,
    largest_weight: float | None = None,
    simultaneous: bool = False,
    largest_sd: float | None = None,
    also: Callable[[RoundBlock], None] | None = None,
) -> Evaluation:
    """Judge policies on a log that another policy decided.

    One pass over the log; with an estimator that uses a reward model one more per fold, before it, with MRDR one more
    per fold and policy.

    Args:
        rounds: canonical chunks of usable rows whose metric is known; re-iterable where models are fitted.
        targets: policies to judge, with distinct names.
        metric: key in `RoundBlock.rewards`.
        reward_range: lowest and highest possible reward, inclusive.
        estimators: see `engine.ope.named.estimators_named`; in the order of the results.
        baseline: what each policy is compared to; the logged choices where None.
        alpha: error rate of the intervals, in (0, 1).
        interval: one of `engine.ope.intervals.names.INTERVALS`.
        clip: largest weight of the clipped estimator.
        seed: of folds and bootstrap.
        reward_model_factory: makes a fresh reward model of the metric per fold; None skips DM, DR and their kin.
        folds: of the cross-fitting, at least 2.
        clustered: whether rows of one `cluster` depend on each other.
        allow_inexact: let rows without a propensity through, for the estimator dm alone; results are not exact.
        rule: when support is too little.
        draws: of the bootstrap.
        progress: called with the stage ("fit": models done, "evaluate": rows done) and the count.
        weighted_model_factory: makes a fresh reward model that honours `SAMPLE_WEIGHT`; None skips MRDR.
        embedding: attributes and logging policy; None skips MIPS and OffCEM.
        loggers: who decided which row; None skips the estimators of several loggers.
        largest_weight: that target / propensity can have, known before the log is read; some intervals need it.
        simultaneous: make the differences of all targets hold together.
        largest_sd: bound of the standard deviation of one row's term, for Catoni's interval.
        also: given every block of the pass that evaluates, for what else is to be summed of the log.

    Raises:
        ParameterError: an argument outside its range, or a policy whose answer is no distribution.
        DataError: rows, rewards, propensities or columns that cannot be used; see `EvaluationState.add`.
        MissingPropensityError: a row without propensity.
        LearnError: a reward model that cannot be fitted or used.
    """
    asked = estimators_named(estimators, clip, 0 if loggers is None else len(loggers.names))
    judged = LoggedTarget() if baseline is None else baseline
    setup = Setup(
        targets=tuple(targets),
        metric=metric,
        reward_range=reward_range,
        estimators=asked,
        baseline=judged,
        alpha=alpha,
        interval=interval,
        clip=clip,
        seed=seed,
        clustered=clustered,
        models=_models(rounds, targets, asked, reward_model_factory, folds, seed, progress),
        allow_inexact=allow_inexact,
        rule=SupportRule() if rule is None else rule,
        draws=draws,
        own_models=_own_models(rounds, [judged, *targets], asked, weighted_model_factory, folds, seed),
        embedding=embedding,
        loggers=loggers,
        largest_weight=largest_weight,
        simultaneous=simultaneous,
        largest_sd=largest_sd,
    )
    state = EvaluationState(setup)
    done = 0
    for block in rounds:
        state.add(block)
        if also is not None:
            also(block)
        done += block.n
        if progress is not None:
            progress("evaluate", done)
    return finish(state)


def finish(state: EvaluationState) -> Evaluation:
    """The results of a state, after all blocks are added and all partitions merged.

    Raises:
        DataError: no rows were added.
    """
    setup, totals = state.setup, state.totals()
    obstacles = (
        (target.name, estimator.name, setup.obstacle(target, estimator))
        for target in setup.targets
        for estimator in setup.estimators
    )
    return Evaluation(
        results=estimates(setup, totals),
        baseline=baseline_estimates(setup, totals),
        skipped=tuple((policy, estimator, reason) for policy, estimator, reason in obstacles if reason is not None),
        n=totals.n,
        clusters=totals.clusters,
    )


def _models(
    rounds: Iterable[RoundBlock],
    targets: Sequence[Target],
    asked: Sequence[Asked],
    factory: RewardModelFactory | None,
    folds: int,
    seed: int,
    progress: Progress | None,
) -> CrossFitted | None:
    wanted = any(estimator.needs_model for estimator in asked)
    if factory is None or not wanted or not any(target.knows_all for target in targets):
        return None
    report = None if progress is None else (lambda fitted: progress("fit", fitted))
    return cross_fit(rounds, factory, folds=folds, seed=seed, progress=report)


def _own_models(
    rounds: Iterable[RoundBlock],
    targets: Sequence[Target],
    asked: Sequence[Asked],
    factory: RewardModelFactory | None,
    folds: int,
    seed: int,
) -> dict[str, CrossFitted]:
    if factory is None or not any(estimator.own_model for estimator in asked):
        return {}
    known = {target.name: target for target in targets if target.knows_all}
    return {name: fit_for_target(rounds, target, factory, folds=folds, seed=seed) for name, target in known.items()}
