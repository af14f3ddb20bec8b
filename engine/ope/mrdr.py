"""The more robust doubly robust estimator: a reward model fitted to make DR's variance small."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from engine.errors import DataError, ParameterError
from engine.ope.crossfit import CrossFitted, RewardModelFactory, cross_fit
from engine.ope.target import Target
from engine.ope.terms import Rows, Traits, required
from engine.protocols import RewardModel
from engine.records.rounds import SAMPLE_WEIGHT, RoundBlock
from engine.types import FloatArray


@dataclass(frozen=True)
class Mrdr(Traits):
    """DR whose model is fitted, for this target alone, by least squares weighted with w^2 (1 - propensity).

    Farajtabar, Chow & Ghavamzadeh (2018), section 4. Given the context the variance of DR that the draw of the action
    makes is Delta' D (diag(1 / p) - 1 1') D Delta, with D = diag(target), Delta = reward - q; its expectation under the
    log of the diagonal part is that of w^2 (1 - p) Delta^2 at the logged action. For a target that takes one action for
    sure this is all of it (the paper's case); for others the mixed terms are left out.
    """

    name: str = "mrdr"
    numerator: ClassVar[str] = "more_robust"
    own_model: ClassVar[bool] = True

    def terms(self, rows: Rows) -> FloatArray:
        value, logged = (required(part, "own_value", "Mrdr") for part in (rows.own_value, rows.own_logged))
        return value + rows.weight * (rows.reward - logged)


@dataclass(frozen=True)
class WeightedRounds:
    """A log with MRDR's weight of each row for a target, as a re-iterable stream; rows of weight 0 are left out.

    Attributes:
        rounds: re-iterable, with propensities.
        target: whose value will be estimated.
    """

    rounds: Iterable[RoundBlock]
    target: Target

    def __iter__(self) -> Iterator[RoundBlock]:
        for block in self.rounds:
            weight = mrdr_weight(block, self.target)
            counted = weight > 0
            if counted.any():
                yield replace(block, extra={**block.extra, SAMPLE_WEIGHT: weight.astype(object)}).take(counted)


def mrdr_weight(block: RoundBlock, target: Target) -> FloatArray:
    """(n,) weights w^2 (1 - propensity)."""
    asked = target.probabilities(block).logged
    weight = np.ones(block.n) if asked is None else asked / block.propensity
    found: FloatArray = weight * weight * (1.0 - block.propensity)
    return found


def fit_for_target(
    rounds: Iterable[RoundBlock], target: Target, factory: RewardModelFactory, *, folds: int, seed: int
) -> CrossFitted:
    """MRDR's cross-fitted models of one target.

    Args:
        rounds: re-iterable.
        target: whose value will be estimated.
        factory: makes models that honour the rows' `SAMPLE_WEIGHT`.
        folds: at least 2.
        seed: of the folds; the same folds as those of DR.

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
            hint="MRDR is DR with a model fitted by weights: the model must honour RoundBlock.extra[SAMPLE_WEIGHT]",
        )
    try:
        return cross_fit(WeightedRounds(rounds, target), factory, folds=folds, seed=seed)
    except DataError as error:
        raise DataError(
            f"mrdr cannot be fitted for {target.name!r}: {error}",
            hint="only rows that the target could have had, drawn with a propensity below 1, carry weight",
        ) from error
