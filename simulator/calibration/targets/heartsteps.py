"""How the effect of a push message fades: the published analysis of HeartSteps V1 (real, micro-randomised)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import ParameterError
from engine.types import BoolArray, FloatArray, IntArray
from simulator.calibration.targets.excursion import excursion_effects
from simulator.calibration.targets.tables import read_columns


@dataclass(frozen=True)
class FatigueEffect:
    """Effect of sending on a log outcome, and its line over the days.

    Attributes:
        average / average_se: over all days; log ratio.
        day_0 / day_0_se: at day 0; log ratio.
        slope / slope_se: change per day; log ratio a day.
        rows: available decision points.
        users: persons.
    """

    average: float
    average_se: float
    day_0: float
    day_0_se: float
    slope: float
    slope_se: float
    rows: int
    users: int

    @property
    def zero_day(self) -> float:
        """Day at which the line reaches 0; NaN where it does not fall from above."""
        return self.day_0 / -self.slope if self.slope < 0 < self.day_0 else float("nan")

    def at(self, day: float) -> float:
        """The line's log ratio at a day."""
        return self.day_0 + self.slope * day


@dataclass(frozen=True)
class Trial:
    """Rows of a micro-randomised trial; n decision points.

    Attributes:
        day: (n,) days in the trial, from 0.
        user: (n,) person.
        treated: (n,) whether a message was sent.
        probability: (n,) of a send; 0 where not available.
        available: (n,) whether a message could be sent.
        outcome: (n,) log outcome after the decision point.
        before: (n,) the same before it, a control.
    """

    day: FloatArray
    user: IntArray
    treated: BoolArray
    probability: FloatArray
    available: BoolArray
    outcome: FloatArray
    before: FloatArray


def read_heartsteps(path: Path) -> Trial:
    """Rows of the decision table: outcome and `before` are log(0.5 + steps) in the 30 minutes after and before.

    Raises:
        DataError: a file that cannot be read, lacks a column or has an incomplete row.
    """
    table = read_columns(path, ("day", "user", "send", "p_send", "avail", "y_log", "prelog"))
    column = {name: table[name].to_numpy() for name in table.columns}
    return Trial(
        column["day"],
        column["user"].astype(np.int64),
        column["send"] > 0,
        column["p_send"],
        column["avail"] > 0,
        column["y_log"],
        column["prelog"],
    )


def fatigue_effect(
    day: FloatArray,
    user: IntArray,
    treated: BoolArray,
    probability: FloatArray,
    available: BoolArray,
    outcome: FloatArray,
    before: FloatArray | None = None,
) -> FatigueEffect:
    """The average effect of sending, and its line over the days: for real and for simulated trials.

    Klasnja et al. (2019), "Efficacy of contextually tailored suggestions for physical activity", Annals of Behavioral
    Medicine 53(6), 573-582: weighted and centred least squares with day and earlier outcome as controls.

    Args:
        day, user, treated, probability, available, outcome, before: as in `Trial`; without `before` the control is
            the day alone.

    Raises:
        ParameterError: shapes that do not fit.
        DataError: rows from which the effect cannot be told; see `excursion_effects`.
    """
    n = len(outcome)
    if day.shape != (n,) or (before is not None and before.shape != (n,)):
        raise ParameterError("day", "fatigue_effect", allowed=f"of shape ({n},), like `before`", got=day.shape)
    ones = np.ones(n)
    controls = np.column_stack([ones, day] if before is None else [ones, day, before])
    average, line = (
        excursion_effects(
            outcome=outcome,
            treated=treated,
            probability=probability,
            available=available,
            cluster=user,
            moderators=moderators,
            controls=controls,
        )
        for moderators in (ones[:, None], np.column_stack([ones, day]))
    )
    return FatigueEffect(
        float(average.effect[0]),
        float(average.se[0]),
        float(line.effect[0]),
        float(line.se[0]),
        float(line.effect[1]),
        float(line.se[1]),
        line.rows,
        line.clusters,
    )


def heartsteps_effect(path: Path) -> FatigueEffect:
    """The published analysis on the published rows.

    Raises:
        DataError: as `read_heartsteps`.
    """
    trial = read_heartsteps(path)
    return fatigue_effect(
        trial.day, trial.user, trial.treated, trial.probability, trial.available, trial.outcome, trial.before
    )
