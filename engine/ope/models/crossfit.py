"""Cross-fitting: no row is judged by a model that saw its cluster (Chernozhukov et al. 2018, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from engine.errors import DataError, LearnError, ParameterError
from engine.identity import fold_of
from engine.ope.target import Target
from engine.protocols import RewardModel
from engine.records.rounds import SAMPLE_WEIGHT, RoundBatch
from engine.types import FloatArray, IntArray, KeyArray

RewardModelFactory = Callable[[], RewardModel]


def model_fold_of(cluster: KeyArray, folds: int, seed: int) -> IntArray:
    """(n,) cluster keys -> (n,) fold in [0, folds): a keyed hash, so all rows of a cluster share their fold."""
    return fold_of(cluster, folds, f"crossfit/{seed}")


@dataclass(frozen=True)
class OtherFolds:
    """The rows outside one fold, as a re-iterable stream.

    Attributes:
        rounds: re-iterable.
        fold: left out.
        folds: their number.
        seed: Seed of the hash.
    """

    rounds: Iterable[RoundBatch]
    fold: int
    folds: int
    seed: int

    def __iter__(self) -> Iterator[RoundBatch]:
        for batch in self.rounds:
            rest = batch.take(model_fold_of(batch.cluster, self.folds, self.seed) != self.fold)
            if rest.n:
                yield rest


@dataclass(frozen=True)
class CrossFitted:
    """One fitted model per fold, each blind to its own fold.

    Attributes:
        models: One model a fold.
        seed: Seed of the hash.
    """

    models: tuple[RewardModel, ...]
    seed: int

    def predict(self, rounds: RoundBatch) -> FloatArray:
        """(n, k) expected rewards, each row by the model that did not see its cluster.

        Raises:
            LearnError: a model predicts another shape than (rows, k).
        """
        if len(self.models) == 1:
            return _predict(self.models[0], rounds)
        folds = model_fold_of(rounds.cluster, len(self.models), self.seed)
        out = np.empty((rounds.n, rounds.k))
        for fold, model in enumerate(self.models):
            rows = np.flatnonzero(folds == fold)
            if len(rows):
                out[rows] = _predict(model, rounds.take(rows))
        return out


def cross_fit(
    rounds: Iterable[RoundBatch],
    factory: RewardModelFactory,
    *,
    folds: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> CrossFitted:
    """Fit one reward model per fold on the rows of the other folds, each in a pass of its own over the log.

    Args:
        rounds: re-iterable; rows whose metric is known.
        factory: a fresh model per call; it knows its metric.
        folds: at least 2.
        seed: Seed of the hash that assigns clusters to folds.
        progress: called with the number of models fitted so far.

    Raises:
        ParameterError: `folds` below 2, or `rounds` can be read once only.
        DataError: some fold leaves no row to train on.
    """
    if folds < 2:
        raise ParameterError("folds", "cross_fit", allowed="at least 2", got=folds)
    if iter(rounds) is rounds:
        raise ParameterError(
            "rounds",
            "cross_fit",
            allowed="re-iterable",
            got=type(rounds).__name__,
            hint="give the reader or a list of batches, not a generator: each fold reads the log anew",
        )
    models = []
    for fold in range(folds):
        others = OtherFolds(rounds, fold, folds, seed)
        if next(iter(others), None) is None:
            raise DataError(
                f"fold {fold} of {folds} leaves no rows to train on",
                hint="the log needs clusters in at least two folds: give fewer folds, or evaluate without DM and DR",
            )
        model = factory()
        model.fit(others)
        models.append(model)
        if progress is not None:
            progress(fold + 1)
    return CrossFitted(tuple(models), seed)


def _predict(model: RewardModel, rounds: RoundBatch) -> FloatArray:
    found = model.predict(rounds.context.sealed())
    if found.shape != (rounds.n, rounds.k):
        raise LearnError(
            f"the reward model must predict shape {(rounds.n, rounds.k)}, got {found.shape}",
            hint="it must have been built for the catalog of this log",
        )
    return found


@dataclass(frozen=True)
class WeightedRounds:
    """A log with MRDR's weight of each row for a target, as a re-iterable stream; rows of weight 0 are left out.

    Attributes:
        rounds: re-iterable, with propensities.
        target: The policy whose value will be estimated.
    """

    rounds: Iterable[RoundBatch]
    target: Target

    def __iter__(self) -> Iterator[RoundBatch]:
        for batch in self.rounds:
            weight = mrdr_weight(batch, self.target)
            counted = weight > 0
            if counted.any():
                yield replace(batch, extra={**batch.extra, SAMPLE_WEIGHT: weight.astype(object)}).take(counted)


def mrdr_weight(batch: RoundBatch, target: Target) -> FloatArray:
    """(n,) weights w^2 (1 - propensity)."""
    asked = target.probabilities(batch).logged
    weight = np.ones(batch.n) if asked is None else asked / batch.propensity
    found: FloatArray = weight * weight * (1.0 - batch.propensity)
    return found


def fit_for_target(
    rounds: Iterable[RoundBatch], target: Target, factory: RewardModelFactory, *, folds: int, seed: int
) -> CrossFitted:
    """MRDR's cross-fitted models of one target.

    Args:
        rounds: re-iterable.
        target: The policy whose value will be estimated.
        factory: makes models that honour the rows' `SAMPLE_WEIGHT`.
        folds: at least 2.
        seed: Seed of the folds, which are those of DR.

    Raises:
        ParameterError: the models do not say that they honour weights, or `rounds` can be read once only.
        DataError: a fold leaves no row that the target's variance depends on.
        LearnError: a model cannot be fitted.
    """
    probe: RewardModel = factory()
    if not getattr(probe, "weighs_rounds", False):
        raise ParameterError(
            "weighted_model_factory",
            "mrdr",
            allowed="models with `weighs_rounds = True`",
            got=type(probe).__name__,
            hint="MRDR is DR with a model fitted by weights: the model must honour RoundBatch.extra[SAMPLE_WEIGHT]",
        )
    try:
        return cross_fit(WeightedRounds(rounds, target), factory, folds=folds, seed=seed)
    except DataError as error:
        raise DataError(
            f"mrdr cannot be fitted for {target.name!r}: {error}",
            hint="only rows that the target could have had, drawn with a propensity below 1, carry weight",
        ) from error
