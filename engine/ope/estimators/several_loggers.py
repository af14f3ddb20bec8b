"""A log that several policies decided: who decided which row, and the estimators that use all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from engine.errors import DataError, ParameterError
from engine.ope.estimators.doubly_robust import Dr
from engine.ope.estimators.marginalised import check_propensity
from engine.ope.estimators.terms import BALANCED_WEIGHT, Estimator, Rows, Traits, logger_column
from engine.ope.estimators.weighting import Ips
from engine.ope.target import Target
from engine.records.rounds import RoundBatch
from engine.types import FloatArray, IntArray


@dataclass(frozen=True)
class Loggers:
    """The policies that decided a log.

    Attributes:
        column: key in `RoundBatch.extra` that names each row's logger.
        names: the loggers, as in that column.
        shares: share of the rows that each decided, positive, summing to 1.
        policies: what each would have done, in the order of `names`; empty where only the names are known, which is
            enough for combining the loggers' own estimates, not for balancing.
    """

    column: str
    names: tuple[str, ...]
    shares: tuple[float, ...]
    policies: tuple[Target, ...] = ()

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise ParameterError("names", "Loggers", allowed="at least one, distinct", got=self.names)
        if len(self.shares) != len(self.names) or not min(self.shares) > 0 or abs(sum(self.shares) - 1) > 1e-9:
            raise ParameterError("shares", "Loggers", allowed="positive, summing to 1, one a logger", got=self.shares)
        if self.policies and len(self.policies) != len(self.names):
            raise ParameterError("policies", "Loggers", allowed="one a logger, or none", got=len(self.policies))

    def positions(self, batch: RoundBatch) -> IntArray:
        """(n,) position in `names` of the logger of each row.

        Raises:
            DataError: the column is absent or holds another name.
        """
        labels = _labels(batch, self.column)
        known = {name: position for position, name in enumerate(self.names)}
        strange = [label for label in labels if label not in known]
        if strange:
            raise DataError(
                f"{strange[0]!r} in column {self.column!r} is no known logger ({len(strange)} such rows in chunk "
                f"{batch.chunk})",
                hint=f"known: {', '.join(self.names)}",
            )
        return np.array([known[label] for label in labels], dtype=np.int64)

    def mean_propensity(self, batch: RoundBatch, positions: IntArray) -> FloatArray:
        """(n,) mean probability of the logged action over the loggers, by their shares.

        Raises:
            DataError: a logger's probability of an action that it took is not the logged propensity.
        """
        mean = np.zeros(batch.n)
        for position, (policy, share) in enumerate(zip(self.policies, self.shares, strict=True)):
            logged = policy.probabilities(batch).logged
            if logged is None:
                raise DataError(f"logger {self.names[position]!r} does not say how likely its choices were")
            own = np.flatnonzero(positions == position)
            check_propensity(logged[own], batch.take(own), self.names[position])
            mean += share * logged
        return mean


def count_loggers(rounds: Iterable[RoundBatch], column: str, policies: Sequence[tuple[str, Target]] = ()) -> Loggers:
    """The loggers of a log with their shares of rows, counted in one pass.

    Args:
        rounds: re-iterable, so that the log can still be evaluated.
        column: key in `RoundBatch.extra` that names each row's logger.
        policies: what each logger would have done, by its name in the column.

    Raises:
        DataError: the column is absent, the log has no rows, or a logger has no policy while others have one.
        ParameterError: `rounds` can be read once only.
    """
    if iter(rounds) is rounds:
        raise ParameterError("rounds", "count_loggers", allowed="re-iterable", got=type(rounds).__name__)
    counts: Counter[str] = Counter()
    for batch in rounds:
        counts.update(_labels(batch, column))
    if not counts:
        raise DataError("the log has no rows", hint="the shares of its loggers cannot be counted")
    names = tuple(sorted(counts))
    given = dict(policies)
    if given and not set(names) <= given.keys():
        raise DataError(
            f"no policy was given for the loggers {sorted(set(names) - given.keys())} of column {column!r}",
            hint="balancing needs what every logger would have done; leave all out to combine their own estimates",
        )
    total = sum(counts.values())
    return Loggers(
        column,
        names,
        tuple(counts[name] / total for name in names),
        tuple(given[name] for name in names) if given else (),
    )


def _labels(batch: RoundBatch, column: str) -> list[str]:
    if column not in batch.extra:
        raise DataError(f"the log has no column {column!r}", hint=f"it has: {', '.join(sorted(batch.extra)) or 'none'}")
    return [str(value) for value in batch.extra[column]]


@dataclass(frozen=True)
class Balanced(Ips):
    """mean(w r), w = target / mean over all loggers of their probability of the logged action, by their shares of rows.

    Agarwal, Basu, Schnabel & Joachims (2017), section 4 (balanced IPS): never more variance than scoring each row by
    its own logger, and a weight is large only where no logger liked what the target likes.
    """

    name: str = "balanced"
    numerator: ClassVar[str] = "balanced_reward"
    weight: ClassVar[str] = BALANCED_WEIGHT


@dataclass(frozen=True)
class BalancedDr(Dr):
    """mean(sum over a of target(a) q(a) + w (r - q(logged))) with the balanced weight.

    Kallus, Saito & Uehara (2021), section 4: of all unbiased estimators that pool several loggers none has a smaller
    variance when the model is right.
    """

    name: str = "balanced_dr"
    numerator: ClassVar[str] = "balanced_doubly_robust"
    weight: ClassVar[str] = BALANCED_WEIGHT


@dataclass(frozen=True)
class OfLogger(Traits):
    """An estimator over the rows of one logger alone.

    Attributes:
        inner: The estimator; its denominator is the constant.
        position: The logger's place among the loggers.
    """

    inner: Estimator
    position: int

    @property
    def name(self) -> str:
        return f"{self.inner.name} of logger {self.position}"

    @property
    def numerator(self) -> str:
        return f"{self.inner.numerator} of {self.denominator}"

    @property
    def denominator(self) -> str:  # type: ignore[override]
        return logger_column(self.position)

    @property
    def needs_model(self) -> bool:  # type: ignore[override]
        return self.inner.needs_model

    def terms(self, rows: Rows) -> FloatArray:
        return np.where(rows.named(self.denominator) > 0, self.inner.terms(rows), 0.0)


@dataclass(frozen=True)
class Pooled:
    """sum over loggers of lambda times the mean of the logger's rows, lambda proportional to 1 / variance of that mean.

    Agarwal, Basu, Schnabel & Joachims (2017), section 5 (weighted IPS); with DR inside, Kallus, Saito & Uehara (2021).
    Needs no more of the loggers than who decided which row. The lambdas come from the same log; to first order that
    does not move the value, because all loggers' estimates have the same expectation.

    Attributes:
        name: The name in results.
        inner: what each logger's rows are scored by.
        loggers: their number.
    """

    name: str
    inner: Estimator
    loggers: int
    caution: str = ""

    @cached_property
    def members(self) -> tuple[OfLogger, ...]:
        """One estimator a logger."""
        return tuple(OfLogger(self.inner, position) for position in range(self.loggers))

    @property
    def weight(self) -> str:
        return self.inner.weight

    @property
    def needs_model(self) -> bool:
        return self.inner.needs_model

    @property
    def own_model(self) -> bool:
        return self.inner.own_model

    @property
    def has_interval(self) -> bool:
        return self.inner.has_interval
