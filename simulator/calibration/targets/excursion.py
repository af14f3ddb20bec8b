"""Causal effects in a micro-randomised trial: weighted and centred least squares with errors clustered by person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.errors import DataError, ParameterError
from engine.numeric.matmul import matmul
from engine.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Excursion:
    """Coefficients of the treatment effect; m moderators.

    Attributes:
        effect: (m,) change of the outcome per unit of each moderator.
        se: (m,) cluster-robust standard errors.
        rows: decision points used: those at which the person was available.
        clusters: persons among them.
    """

    effect: FloatArray
    se: FloatArray
    rows: int
    clusters: int


def excursion_effects(
    *,
    outcome: FloatArray,
    treated: BoolArray,
    probability: FloatArray,
    available: BoolArray,
    cluster: IntArray,
    moderators: FloatArray,
    controls: FloatArray,
) -> Excursion:
    """The effect of treating now on the next outcome, linear in the moderators, over available decision points.

    Boruvka, Almirall, Witkiewitz & Murphy (2018), "Assessing time-varying causal effect moderation in mobile health",
    J. American Statistical Association 113(523), section 4: outcome on controls and (treated - p~) x moderators with
    weights (p~ / p)^treated ((1 - p~) / (1 - p))^(1 - treated); p~ is the mean of p here, so that constant p gives
    weights of 1. The standard errors are the sandwich over clusters, without a correction for few clusters.

    Args:
        outcome: (n,) after each decision point; read where available.
        treated: (n,) whether treated.
        probability: (n,) of being treated, in (0, 1) where available.
        available: (n,) whether the person could be treated; other rows are left out, never divided by 0.
        cluster: (n,) person.
        moderators: (n, m), with a column of ones for an effect that varies about a level.
        controls: (n, d) known before the decision, with a column of ones.

    Raises:
        ParameterError: shapes that do not fit.
        DataError: fewer than 2 persons available, a probability outside (0, 1), a value that is not finite, or
            moderators and controls that the rows cannot tell apart.
    """
    n = len(outcome)
    for name, array in (("treated", treated), ("probability", probability), ("available", available)):
        if array.shape != (n,):
            raise ParameterError(name, "excursion_effects", allowed=f"of shape ({n},)", got=array.shape)
    if cluster.shape != (n,) or moderators.ndim != 2 or controls.ndim != 2 or {len(moderators), len(controls)} != {n}:
        raise ParameterError("moderators", "excursion_effects", allowed=f"(n, m) with n = {n}", got=moderators.shape)
    keep = available.astype(bool)
    _, person = np.unique(cluster[keep], return_inverse=True)
    clusters = int(person.max(initial=-1)) + 1
    p, a, y = probability[keep], treated[keep].astype(np.float64), outcome[keep]
    if clusters < 2:
        raise DataError(f"{clusters} persons were available", hint="errors by person need at least 2")
    if not ((p > 0) & (p < 1)).all():
        raise DataError(
            "a probability of an available row is not in (0, 1)", hint="mark rows without choice unavailable"
        )
    centre = p.mean()
    design = np.hstack([controls[keep], (a - centre)[:, None] * moderators[keep]])
    if not (np.isfinite(design).all() and np.isfinite(y).all()):
        raise DataError("a value of an available row is not finite", hint="each available row must be complete")
    weight = np.where(a > 0, centre / p, (1 - centre) / (1 - p))
    coefficients, covariance = _clustered(design, y, weight, person, clusters)
    m = moderators.shape[1]
    return Excursion(coefficients[-m:], np.sqrt(np.diag(covariance)[-m:]), len(y), clusters)


def _clustered(
    design: FloatArray, y: FloatArray, weight: FloatArray, person: IntArray, clusters: int
) -> tuple[FloatArray, FloatArray]:
    """Weighted least squares and its sandwich covariance over persons."""
    # Columns are scaled first: days and log steps differ in size, and rank is judged against the largest.
    scale = np.sqrt((design**2).mean(axis=0))
    scale[scale == 0] = 1.0
    scaled = design / scale
    gram = matmul(scaled.T, weight[:, None] * scaled)
    if np.linalg.matrix_rank(gram) < len(gram):
        raise DataError(
            "the rows cannot tell the moderators and controls apart", hint="treated and untreated on several days?"
        )
    bread = np.linalg.inv(gram)
    coefficients = matmul(bread, matmul(scaled.T, weight * y))
    score = (weight * (y - matmul(scaled, coefficients)))[:, None] * scaled
    sums = np.stack([np.bincount(person, column, minlength=clusters) for column in score.T])
    return coefficients / scale, matmul(matmul(bread, matmul(sums, sums.T)), bread) / np.outer(scale, scale)
