"""The columns of one block: what every target and estimator makes of its rows."""

from __future__ import annotations

import numpy as np

from engine.errors import DataError
from engine.ope.estimators.terms import BALANCED_WEIGHT, EMBEDDING_WEIGHT, WEIGHT, Rows
from engine.ope.models.crossfit import CrossFitted
from engine.ope.setup import Setup
from engine.ope.target import Target, TargetBlock
from engine.records.rounds import RoundBlock
from engine.types import FloatArray, IntArray

# Weights and unsupported masses of the rows, by the weight's name.
Support = dict[str, tuple[FloatArray, FloatArray]]


def columns_of(
    setup: Setup, block: RoundBlock, reward: FloatArray
) -> tuple[FloatArray, tuple[Support, ...], tuple[bool, ...]]:
    """The columns of a block.

    Args:
        setup: what is asked for.
        block: n rows, at least one.
        reward: (n,) checked.

    Returns:
        (m, n) columns of the layout; the weights of each unit; whether each unit's probabilities are exact.

    Raises:
        DataError: a weight that overflows, a prediction that is not finite, or a policy that did not decide the log.
        ParameterError: a policy's answer is no distribution over the eligible set.
    """
    layout = setup.layout
    columns = np.ones((layout.width, block.n))
    shared = _Shared(setup, block)
    supports, exact = [], []
    for unit, target in enumerate(setup.units):
        asked = target.probabilities(block)
        rows, support = _rows(shared, target, asked, reward, layout.weights[unit])
        for name in layout.named[unit]:
            columns[layout.columns[unit, name]] = rows.named(name)
        for estimator in layout.estimators[unit]:
            columns[layout.columns[unit, estimator.numerator]] = estimator.terms(rows)
        supports.append(support)
        exact.append(asked.exact)
    return columns, tuple(supports), tuple(exact)


class _Shared:
    """What all targets of a block share, asked for once."""

    def __init__(self, setup: Setup, block: RoundBlock) -> None:
        layout = setup.layout
        used = {name for names in layout.weights for name in names}
        needs_model = any(e.needs_model for estimators in layout.estimators for e in estimators)
        self.setup, self.block = setup, block
        self.predicted = setup.models.predict(block) if setup.models is not None and needs_model else None
        self.logged_mass: FloatArray | None = None
        self.logger: IntArray | None = None
        self.mean_propensity: FloatArray | None = None
        if setup.question.embedding is not None and EMBEDDING_WEIGHT in used:
            self.logged_mass = setup.question.embedding.logged_mass(block)
        if setup.question.loggers is not None:
            self.logger = setup.question.loggers.positions(block)
            if BALANCED_WEIGHT in used:
                self.mean_propensity = setup.question.loggers.mean_propensity(block, self.logger)


def _rows(
    shared: _Shared, target: Target, asked: TargetBlock, reward: FloatArray, weights: list[str]
) -> tuple[Rows, Support]:
    setup, block = shared.setup, shared.block
    weight = _weights(asked, block.propensity, block, target)
    support: Support = {WEIGHT: (weight, asked.unsupported)}
    value, logged = _expectations(asked, shared.predicted, block)
    own = setup.own_models.get(target.name)
    own_value, own_logged = _expectations(asked, _own(own, block), block)
    embedding_weight = balanced_weight = None
    if EMBEDDING_WEIGHT in weights and setup.question.embedding is not None and shared.logged_mass is not None:
        full = np.zeros((block.n, block.k)) if asked.full is None else asked.full
        embedding_weight, unsupported = setup.question.embedding.weights(full, shared.logged_mass, block)
        support[EMBEDDING_WEIGHT] = (embedding_weight, unsupported)
    if BALANCED_WEIGHT in weights and shared.mean_propensity is not None:
        balanced_weight = _weights(asked, shared.mean_propensity, block, target)
        support[BALANCED_WEIGHT] = (balanced_weight, asked.unsupported)
    rows = Rows(
        reward,
        weight,
        value,
        logged,
        own_value=own_value,
        own_logged=own_logged,
        embedding_weight=embedding_weight,
        balanced_weight=balanced_weight,
        logger=shared.logger,
    )
    return rows, support


def _own(models: CrossFitted | None, block: RoundBlock) -> FloatArray | None:
    return None if models is None else models.predict(block)


def _weights(asked: TargetBlock, propensity: FloatArray, block: RoundBlock, target: Target) -> FloatArray:
    if asked.logged is None:
        return np.ones(block.n)
    with np.errstate(over="ignore"):
        weight = asked.logged / propensity
    if np.isinf(weight).any():
        row = int(np.flatnonzero(np.isinf(weight))[0])
        raise DataError(
            f"the weight of {target.name!r} overflows for decision {block.decision_id[row]!r}: its propensity is "
            f"{float(propensity[row])!r}",
            hint="a propensity this small is a fault of the log",
        )
    return weight


def _expectations(
    asked: TargetBlock, predicted: FloatArray | None, block: RoundBlock
) -> tuple[FloatArray, FloatArray] | tuple[None, None]:
    if predicted is None or asked.full is None:
        return None, None
    with np.errstate(invalid="ignore"):  # an infinite prediction times 0 is reported below, not as a warning
        value = np.einsum("nk,nk->n", asked.full, predicted)
    logged = predicted[np.arange(block.n), block.action]
    if not (np.isfinite(value).all() and np.isfinite(logged).all()):
        raise DataError(
            f"the reward model predicts values that are not finite in chunk {block.chunk}",
            hint="look for features out of range, or a diverged model",
        )
    return value, logged
