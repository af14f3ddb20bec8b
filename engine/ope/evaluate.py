"""The front door of off-policy evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from engine.ope.estimate import Estimate, Skipped
from engine.ope.estimators.named import Asked, estimators_named
from engine.ope.models.crossfit import CrossFitted, RewardModelFactory, cross_fit, fit_for_target
from engine.ope.results import baseline_estimates, estimates
from engine.ope.settings import DEFAULTS, EvaluationSettings
from engine.ope.setup import Question, Setup
from engine.ope.state import EvaluationState
from engine.ope.target import Target
from engine.records.rounds import RoundBatch

Progress = Callable[[str, int], None]


class Evaluation(msgspec.Struct, frozen=True):
    """What an evaluation found.

    Attributes:
        results: One estimate per policy and estimator, in the order asked.
        baseline: The baseline's own estimates.
        skipped: What is not defined, and why.
        n: The number of rows.
        clusters: The number of independent units; n where rows are not clustered.
        reasons: By result, why its support is too little; empty where it is enough. A result's notes begin with them.
    """

    results: tuple[Estimate, ...]
    baseline: tuple[Estimate, ...]
    skipped: tuple[Skipped, ...]
    n: int
    clusters: int
    reasons: tuple[tuple[str, ...], ...]


def evaluate(
    rounds: Iterable[RoundBatch],
    targets: Sequence[Target],
    question: Question,
    settings: EvaluationSettings = DEFAULTS,
    *,
    reward_model_factory: RewardModelFactory | None = None,
    weighted_model_factory: RewardModelFactory | None = None,
    progress: Progress | None = None,
    also: Callable[[RoundBatch], None] | None = None,
) -> Evaluation:
    """Judge policies on a log that another policy decided.

    One pass over the log; with an estimator that uses a reward model one more per fold, before it, with MRDR one more
    per fold and policy.

    Args:
        rounds: Canonical chunks of usable rows whose metric is known; re-iterable where models are fitted.
        targets: The policies to judge, with distinct names.
        question: What is asked of the log.
        settings: How it is answered.
        reward_model_factory: Makes a fresh reward model of the metric per fold; None skips DM, DR and their kin.
        weighted_model_factory: Makes a fresh reward model that honours `SAMPLE_WEIGHT`; None skips MRDR.
        progress: Called with the stage ("fit": models done, "evaluate": rows done) and the count.
        also: Given every batch of the pass that evaluates, for what else is to be summed of the log.

    Raises:
        ParameterError: an argument outside its range, or a policy whose answer is no distribution.
        DataError: rows, rewards, propensities or columns that cannot be used; see `EvaluationState.add`.
        MissingPropensityError: a row without propensity.
        LearnError: a reward model that cannot be fitted or used.
    """
    asked = estimators_named(question.estimators, settings.clip)
    setup = Setup(
        targets=tuple(targets),
        question=question,
        settings=settings,
        models=_models(rounds, targets, asked, reward_model_factory, settings, progress),
        own_models=_own_models(rounds, [question.baseline, *targets], asked, weighted_model_factory, settings),
    )
    state = EvaluationState(setup)
    done = 0
    for batch in rounds:
        state.add(batch)
        if also is not None:
            also(batch)
        done += batch.n
        if progress is not None:
            progress("evaluate", done)
    return finish(state)


def finish(state: EvaluationState) -> Evaluation:
    """The results of a state, after all batches are added and all partitions merged.

    Raises:
        DataError: no rows were added.
    """
    setup, totals = state.setup, state.totals()
    obstacles = (
        (target.name, estimator.name, setup.obstacle(target, estimator))
        for target in setup.targets
        for estimator in setup.estimators
    )
    judged = estimates(setup, totals)
    return Evaluation(
        results=tuple(estimate for estimate, _ in judged),
        baseline=baseline_estimates(setup, totals),
        skipped=tuple(
            Skipped(policy=policy, estimator=estimator, reason=reason)
            for policy, estimator, reason in obstacles
            if reason is not None
        ),
        n=totals.n,
        clusters=totals.clusters,
        reasons=tuple(reasons for _, reasons in judged),
    )


def _models(
    rounds: Iterable[RoundBatch],
    targets: Sequence[Target],
    asked: Sequence[Asked],
    factory: RewardModelFactory | None,
    settings: EvaluationSettings,
    progress: Progress | None,
) -> CrossFitted | None:
    wanted = any(estimator.needs_model for estimator in asked)
    if factory is None or not wanted or not any(target.knows_all for target in targets):
        return None
    report = None if progress is None else (lambda fitted: progress("fit", fitted))
    return cross_fit(rounds, factory, folds=settings.folds, seed=settings.seed, progress=report)


def _own_models(
    rounds: Iterable[RoundBatch],
    targets: Sequence[Target],
    asked: Sequence[Asked],
    factory: RewardModelFactory | None,
    settings: EvaluationSettings,
) -> dict[str, CrossFitted]:
    if factory is None or not any(estimator.own_model for estimator in asked):
        return {}
    known = {target.name: target for target in targets if target.knows_all}
    return {
        name: fit_for_target(rounds, target, factory, folds=settings.folds, seed=settings.seed)
        for name, target in known.items()
    }
