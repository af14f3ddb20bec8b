"""Pooling the loggers' own estimates by their precision."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.ope.terms import Estimator, Rows, Traits, logger_column
from engine.types import FloatArray


@dataclass(frozen=True)
class OfLogger(Traits):
    """An estimator over the rows of one logger alone.

    Attributes:
        inner: with the constant denominator.
        position: of the logger.
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
        name: as in results.
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
