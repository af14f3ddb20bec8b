"""The intervals by name, and what each asks of the log."""

from __future__ import annotations

from typing import Final

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
# Second moments of weights beside those of the estimate.
USE_WEIGHTS: Final = (CRESSIE_READ, CONFIDENCE_SEQUENCE)
