"""The columns of one batch: what every target and estimator makes of its rows."""

from __future__ import annotations

import numpy as np

from engine.errors import DataError
from engine.ope.estimators.terms import BALANCED_WEIGHT, EMBEDDING_WEIGHT, WEIGHT, Rows
from engine.ope.models.crossfit import CrossFitted
from engine.ope.setup import Setup
from engine.ope.target import Target, TargetBatch
from engine.records.rounds import RoundBatch
from engine.types import FloatArray, IntArray

# Weights and unsupported masses of the rows, by the weight's name.
Support = dict[str, tuple[FloatArray, FloatArray]]


def columns_of(
    setup: Setup, batch: RoundBatch, reward: FloatArray
) -> tuple[FloatArray, tuple[Support, ...], tuple[bool, ...]]:
    """The columns of a batch.

    Args:
        setup: what is asked for.
        batch: n rows, at least one.
        reward: (n,) checked.

    Returns:
        (m, n) columns of the layout; the weights of each unit; whether each unit's probabilities are exact.

    Raises:
        DataError: a weight that overflows, a prediction that is not finite, or a policy that did not decide the log.
        ParameterError: a policy's answer is no distribution over the eligible set.
    """
    layout = setup.layout
    columns = np.ones((layout.width, batch.n))
    shared = _Shared(setup, batch)
    supports, exact = [], []
    for unit, target in enumerate(setup.units):
        asked = target.probabilities(batch)
        rows, support = _rows(shared, target, asked, reward, layout.weights[unit])
        for name in layout.named[unit]:
            columns[layout.columns[unit, name]] = rows.named(name)
        for estimator in layout.estimators[unit]:
            columns[layout.columns[unit, estimator.numerator]] = estimator.terms(rows)
        supports.append(support)
        exact.append(asked.exact)
    return columns, tuple(supports), tuple(exact)


class _Shared:
    """What all targets of a batch share, asked for once."""

    def __init__(self, setup: Setup, batch: RoundBatch) -> None:
        layout = setup.layout
        used = {name for names in layout.weights for name in names}
        needs_model = any(e.needs_model for estimators in layout.estimators for e in estimators)
        self.setup, self.batch = setup, batch
        self.predicted = setup.models.predict(batch) if setup.models is not None and needs_model else None
        self.logged_mass: FloatArray | None = None
        self.logger: IntArray | None = None
        self.mean_propensity: FloatArray | None = None
        if setup.question.embedding is not None and EMBEDDING_WEIGHT in used:
            self.logged_mass = setup.question.embedding.logged_mass(batch)
        if setup.question.loggers is not None:
            self.logger = setup.question.loggers.positions(batch)
            if BALANCED_WEIGHT in used:
                self.mean_propensity = setup.question.loggers.mean_propensity(batch, self.logger)


def _rows(
    shared: _Shared, target: Target, asked: TargetBatch, reward: FloatArray, weights: list[str]
) -> tuple[Rows, Support]:
    setup, batch = shared.setup, shared.batch
    weight = _weights(asked, batch.propensity, batch, target)
    support: Support = {WEIGHT: (weight, asked.unsupported)}
    value, logged = _expectations(asked, shared.predicted, batch)
    own = setup.own_models.get(target.name)
    own_value, own_logged = _expectations(asked, _own(own, batch), batch)
    embedding_weight = balanced_weight = None
    if EMBEDDING_WEIGHT in weights and setup.question.embedding is not None and shared.logged_mass is not None:
        full = np.zeros((batch.n, batch.k)) if asked.full is None else asked.full
        embedding_weight, unsupported = setup.question.embedding.weights(full, shared.logged_mass, batch)
        support[EMBEDDING_WEIGHT] = (embedding_weight, unsupported)
    if BALANCED_WEIGHT in weights and shared.mean_propensity is not None:
        balanced_weight = _weights(asked, shared.mean_propensity, batch, target)
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


def _own(models: CrossFitted | None, batch: RoundBatch) -> FloatArray | None:
    return None if models is None else models.predict(batch)


def _weights(asked: TargetBatch, propensity: FloatArray, batch: RoundBatch, target: Target) -> FloatArray:
    if asked.logged is None:
        return np.ones(batch.n)
    with np.errstate(over="ignore"):
        weight = asked.logged / propensity
    if np.isinf(weight).any():
        row = int(np.flatnonzero(np.isinf(weight))[0])
        raise DataError(
            f"the weight of {target.name!r} overflows for decision {batch.decision_id[row]!r}: its propensity is "
            f"{float(propensity[row])!r}",
            hint="a propensity this small is a fault of the log",
        )
    return weight


def _expectations(
    asked: TargetBatch, predicted: FloatArray | None, batch: RoundBatch
) -> tuple[FloatArray, FloatArray] | tuple[None, None]:
    if predicted is None or asked.full is None:
        return None, None
    with np.errstate(invalid="ignore"):  # an infinite prediction times 0 is reported below, not as a warning
        value = np.einsum("nk,nk->n", asked.full, predicted)
    logged = predicted[np.arange(batch.n), batch.action]
    if not (np.isfinite(value).all() and np.isfinite(logged).all()):
        raise DataError(
            f"the reward model predicts values that are not finite in chunk {batch.chunk}",
            hint="look for features out of range, or a diverged model",
        )
    return value, logged
