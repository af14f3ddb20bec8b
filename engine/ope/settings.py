"""What an evaluation is set to: the one place of every setting's type, range, default and meaning.

`conf/evaluation/default.yaml` and the table in `docs/configuration.md` repeat the defaults for their readers; a test
compares both with this struct.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from engine.errors import ParameterError

DELTA: Final = "delta"
BOOTSTRAP: Final = "bootstrap"
STUDENTISED: Final = "studentised"
EMPIRICAL_BERNSTEIN: Final = "empirical_bernstein"
CLOPPER_PEARSON: Final = "clopper_pearson"
CRESSIE_READ: Final = "cressie_read"
CONFIDENCE_SEQUENCE: Final = "confidence_sequence"
ASYMPTOTIC_SEQUENCE: Final = "asymptotic_sequence"
CATONI: Final = "catoni"

INTERVALS: Final = (
    DELTA,
    BOOTSTRAP,
    STUDENTISED,
    EMPIRICAL_BERNSTEIN,
    CLOPPER_PEARSON,
    CRESSIE_READ,
    CONFIDENCE_SEQUENCE,
    ASYMPTOTIC_SEQUENCE,
    CATONI,
)
RESAMPLED: Final = (BOOTSTRAP, STUDENTISED)
# Statements about independent rows; rows of one cluster are not.
BY_ROW: Final = (EMPIRICAL_BERNSTEIN, CLOPPER_PEARSON, CRESSIE_READ, CONFIDENCE_SEQUENCE, CATONI)
NEED_LARGEST_WEIGHT: Final = (EMPIRICAL_BERNSTEIN, CRESSIE_READ)
# These read second moments of the weights beside those of the estimate.
USE_WEIGHTS: Final = (CRESSIE_READ, CONFIDENCE_SEQUENCE)

# Setting -> its range in words, as errors and docs show it, and the test of a value that is not None.
RANGES: Final[Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "alpha": ("in (0, 1)", lambda value: 0 < value < 1),
    "interval": (f"one of {INTERVALS}", lambda value: value in INTERVALS),
    "clip": ("positive", lambda value: value > 0),
    "folds": ("at least 2", lambda value: value >= 2),
    "replicates": ("at least 100", lambda value: value >= 100),
    "largest_weight": ("finite, at least 1", lambda value: 1 <= value < math.inf),
    "largest_sd": ("finite, positive", lambda value: 0 < value < math.inf),
    "comparisons": ("at least 1", lambda value: value >= 1),
}
_HINTS: Final = {"folds": "a model must not predict the rows that it was fitted on"}


class EvaluationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How policies are evaluated.

    Attributes:
        alpha: 1 - confidence of the intervals.
        interval: The method of the intervals; `docs/intervals.md` says what each asks of the log.
        clip: The largest weight of the estimator `clipped`.
        folds: Folds of the cross-fitting of reward models.
        replicates: Resamples of the bootstrap and of differences that hold together.
        seed: Seed of the folds and of the resamples.
        largest_weight: The largest value that target / propensity can have under the log's policy, known before the
            log is read; None where it is not known.
        largest_sd: A bound of the standard deviation of one row's term (weight x reward, or the difference of two),
            for Catoni's interval; the sample's own where None.
        simultaneous: Whether the differences of all policies hold together, for each estimator; else each stands alone,
            and the best of many looks better than it is.
        comparisons: The number of evaluations (metrics, say) that are read together: alpha is divided by it.
        regressor: A scikit-learn class as reward model, by its dotted name; "" leaves it to the group `model`.
        regressor_options: Arguments of that class.
        attributes: What MIPS and OffCEM see of an action: channel, hour, arm, a field or an attribute of the arms.
        logging: The policy that decided the log, as a specification; MIPS and OffCEM need it.
        logger_column: The column that names which of several policies decided a row; "" where one did.
        loggers: Those policies as specifications, by their names in that column.

    Raises:
        ParameterError: a value outside its range; see `RANGES`.
    """

    alpha: float = 0.05
    interval: str = DELTA
    clip: float = 20.0
    folds: int = 3
    replicates: int = 1000
    seed: int = 0
    largest_weight: float | None = None
    largest_sd: float | None = None
    simultaneous: bool = True
    comparisons: int = 1
    regressor: str = ""
    regressor_options: dict[str, Any] = {}
    attributes: tuple[str, ...] = ()
    logging: str = ""
    logger_column: str = ""
    loggers: dict[str, str] = {}

    def __post_init__(self) -> None:
        for name, (allowed, holds) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not holds(value):
                raise ParameterError(name, "evaluation", allowed=allowed, got=value, hint=_HINTS.get(name, ""))

    @property
    def shared_alpha(self) -> float:
        """The error rate of each interval: alpha, divided among the comparisons."""
        return self.alpha / self.comparisons


DEFAULTS: Final = EvaluationSettings()
