"""Weighting by target / propensity: plain, self-normalised and with shrunk weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engine.errors import ParameterError
from engine.ope.estimators.terms import WEIGHT, WEIGHTED_REWARD, Rows, Traits
from engine.types import FloatArray


@dataclass(frozen=True)
class Ips(Traits):
    """mean(w r), w = target / propensity: unbiased where the log's propensities are right and nothing is unsupported.

    Horvitz & Thompson (1952); for logged bandits Dudik, Langford & Li (2011), section 2. Its influence
    function is w r - value.
    """

    name: str = "ips"
    numerator: ClassVar[str] = WEIGHTED_REWARD

    def terms(self, rows: Rows) -> FloatArray:
        return rows.named(self.weight) * rows.reward


@dataclass(frozen=True)
class Snips(Ips):
    """sum(w r) / sum(w): within the range of the rewards, unmoved by a constant added to all of them, slightly biased.

    Swaminathan & Joachims (2015). Its influence function is w (r - value) / mean(w): the denominator is random and its
    error is part of the interval.
    """

    name: str = "snips"
    denominator: ClassVar[str] = WEIGHT


@dataclass(frozen=True)
class Clipped(Traits):
    """mean(min(w, clip) r): less variance for a bias that the interval does not hold.

    Ionides (2008); Bottou et al. (2013), section 4. For rewards of one sign the bias is towards 0.

    Attributes:
        clip: The largest weight that is let through, positive.
    """

    clip: float
    name: str = "clipped"
    caution: ClassVar[str] = "weights are clipped: a bias that the interval does not hold"

    def __post_init__(self) -> None:
        if not self.clip > 0:
            raise ParameterError("clip", "Clipped", allowed="positive", got=self.clip)

    @property
    def numerator(self) -> str:
        return f"clipped_reward:{float(self.clip)!r}"

    def terms(self, rows: Rows) -> FloatArray:
        return np.minimum(rows.weight, self.clip) * rows.reward


@dataclass(frozen=True)
class SgIps(Traits):
    """mean(w / (1 - lambda + lambda w) r): the weight is replaced by its harmonic mean with 1, at most 1 / lambda.

    Metelli, Russo & Restelli (2021), section 4, s = -1: with lambda of order sqrt(log(1 / delta) / n) the error has
    sub-Gaussian tails although the weights have none. lambda = 0 is IPS.

    Attributes:
        lam: lambda, in [0, 1].
    """

    lam: float
    name: str = "sg_ips"
    caution: ClassVar[str] = "weights are shrunk: a bias that the interval does not hold"

    def __post_init__(self) -> None:
        if not 0 <= self.lam <= 1:
            raise ParameterError("lam", "SgIps", allowed="in [0, 1]", got=self.lam)

    @property
    def numerator(self) -> str:
        return f"sg_ips:{float(self.lam)!r}"

    def terms(self, rows: Rows) -> FloatArray:
        return harmonic_weight(rows.weight, self.lam) * rows.reward


def harmonic_weight(weight: FloatArray, lam: float) -> FloatArray:
    """(n,) weights -> (n,) harmonic mean of each weight and 1, with shares 1 - lam and lam."""
    return weight / (1.0 - lam + lam * weight) if lam < 1 else (weight > 0).astype(np.float64)
