"""What the automatic choice of a learner's parameters may try."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from engine.errors import ParameterError

CHOICES = ("interactions", "learning_rates", "passes", "power_ts", "cb_types")


class SearchConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Values to try, key by key; the learner's own values come first and stay unless another is clearly better.

    Attributes:
        interactions / learning_rates / passes / power_ts / cb_types: values of the learner's keys; empty keeps the key.
        pieces: the log is cut into so many pieces in its own order; what was learnt from the pieces before is judged on
            the next one, 2 to 100.
        estimator: dr (with a reward model fitted to the pieces before) or ips (self-normalised), of the policy's value.
        least_gain: a value replaces another if the paired difference is above so many of its standard errors, >= 0.
        rounds: at most so many rounds, the first ones of the log, are used for the choice, at least 100.
    """

    interactions: tuple[tuple[str, ...], ...] = ()
    learning_rates: tuple[float, ...] = ()
    passes: tuple[int, ...] = ()
    power_ts: tuple[float, ...] = ()
    cb_types: tuple[Literal["mtr", "ips", "dr"], ...] = ()
    pieces: int = 5
    estimator: Literal["dr", "ips"] = "dr"
    least_gain: float = 1.0
    rounds: int = 200_000

    def __post_init__(self) -> None:
        if not 2 <= self.pieces <= 100:
            raise ParameterError("pieces", "SearchConfig", allowed="in 2..100", got=self.pieces)
        if not (math.isfinite(self.least_gain) and self.least_gain >= 0):
            raise ParameterError("least_gain", "SearchConfig", allowed="finite and at least 0", got=self.least_gain)
        if self.rounds < 100:
            raise ParameterError("rounds", "SearchConfig", allowed="at least 100", got=self.rounds)
        if not any(getattr(self, name) for name in CHOICES):
            raise ParameterError("search", "SearchConfig", allowed=f"values for one of {CHOICES}", got="none")
