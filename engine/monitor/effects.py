"""Treatment against control and against the uniform slice, by day, with sequences that hold at every look.

The effect is the difference of two means per decision. Contacts are summed in buckets by a keyed hash; buckets are
independent because contacts are, and the error is that of their influences (Liang & Zeger 1986). Values from before
the first decision take off what they explain (CUPED: Deng, Xu, Kohavi & Walker, WSDM 2013): the influences are
regressed on those of the covariates, whose own difference is 0 but for chance because no group depends on them.

The interval of a day reaches as many standard errors as the mixture boundary of Waudby-Smith, Arbour, Sinha, Kennedy &
Ramdas (Annals of Statistics 2024, theorem 2.2; `engine.ope.intervals.asymptotic`) at the number of decisions so far.
The boundary is that of a Brownian motion; what a contact brings on later days goes with what it brought before, so the
effects of two days are at least as correlated as there, and then the largest of them exceeds the boundary no more often
(Slepian, "The one-sided barrier problem for Gaussian noise", 1962).

Covariates are what was known of a contact before the first decision that is watched: nothing that treatment could have
changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.audit.windows import day_name
from engine.errors import DataError
from engine.features import PRESENT, FeatureSchema
from engine.identity import unit_of
from engine.numeric.matmul import matmul
from engine.ope.intervals.asymptotic import boundary
from engine.records.rounds import RoundBatch
from engine.records.schema import CONTROL, GROUPS, TREATMENT, UNIFORM_SLICE
from engine.types import FloatArray, IntArray, KeyArray, ObjectArray

AGAINST: Final = (CONTROL, UNIFORM_SLICE)
# Fewer decisions or buckets in a group carry no interval.
_FEWEST_ROWS: Final = 100
_FEWEST_BUCKETS: Final = 30


@dataclass(frozen=True)
class DayEffect:
    """The effect of everything until the end of a day.

    Attributes:
        day: YYYY-MM-DD.
        value / stderr / low / high: treatment less the other group, per decision.
        plain / plain_stderr: the same without covariates.
        treated / others: decisions so far.
    """

    day: str
    value: float
    stderr: float
    low: float
    high: float
    plain: float
    plain_stderr: float
    treated: int
    others: int


class EffectSums:
    """Rows, rewards and covariates by day, group and bucket; mergeable.

    Args:
        buckets: independent units.
        covariates: their number.
    """

    def __init__(self, buckets: int, covariates: int) -> None:
        self._buckets, self._width = buckets, 2 + covariates
        self._days: dict[int, FloatArray] = {}

    def add(self, day: IntArray, group: ObjectArray, contact: KeyArray, reward: FloatArray, before: FloatArray) -> None:
        """Add rows; those whose reward is not known are left out.

        Args:
            day: (n,) days since 1970.
            group: (n,) of `records.GROUPS`.
            contact: (n,) keys.
            reward: (n,) NaN where not known.
            before: (n, covariates).
        """
        known = ~np.isnan(reward)
        codes = np.select([group == name for name in GROUPS], range(len(GROUPS)), -1)
        known &= codes >= 0
        bucket = (unit_of(contact, "monitor/buckets") * self._buckets).astype(np.int64)
        table = np.column_stack([np.ones(len(reward)), np.nan_to_num(reward), before])
        for one in np.unique(day[known]).tolist():
            rows = np.flatnonzero(known & (day == one))
            place = codes[rows] * self._buckets + bucket[rows]
            size = len(GROUPS) * self._buckets
            sums = [np.bincount(place, weights=table[rows, column], minlength=size) for column in range(self._width)]
            stacked = np.stack(sums, axis=1).astype(np.float64)
            self._plus(one, stacked.reshape(len(GROUPS), self._buckets, self._width))

    def merge(self, other: EffectSums) -> None:
        """Take over the sums of another part."""
        for day, sums in other._days.items():
            self._plus(day, sums)

    def _plus(self, day: int, sums: FloatArray) -> None:
        self._days[day] = sums + self._days[day] if day in self._days else sums

    def sequence(self, against: str, alpha: float, tuned_for: float) -> tuple[DayEffect, ...]:
        """The effect after each day; days on which a group is too small yet are left out."""
        total = np.zeros((len(GROUPS), self._buckets, self._width))
        out = []
        for day in sorted(self._days):
            total = total + self._days[day]
            found = _effect(total[GROUPS.index(TREATMENT)], total[GROUPS.index(against)])
            if found is not None:
                out.append(_at(day, found, alpha, tuned_for))
        return tuple(out)

    def missing(self, against: str) -> str:
        """What a comparison lacks for an interval and until when, at the pace so far; "" where it lacks nothing."""
        if not self._days:
            return "no decision has a known reward yet"
        days = sorted(self._days)
        total = np.sum([self._days[day] for day in days], axis=0)
        span, said = days[-1] - days[0] + 1, []
        for name in (TREATMENT, against):
            rows, units = total[GROUPS.index(name)][:, 0].sum(), (total[GROUPS.index(name)][:, 0] > 0).sum()
            if not rows:
                said.append(
                    f"no decision with a known reward is in the group {name!r}: until one is, no date can be named"
                )
            elif rows < _FEWEST_ROWS or units < _FEWEST_BUCKETS:
                wait = max((_FEWEST_ROWS - rows) * span / rows, (_FEWEST_BUCKETS - units) * span / units)
                until = day_name(days[-1] + math.ceil(wait))
                have = f"{rows:.0f} decisions of {units} contacts in the group {name!r}"
                said.append(
                    f"{have}, {_FEWEST_ROWS} of {_FEWEST_BUCKETS} contacts are needed: about {until} at this pace"
                )
        return "; ".join(said)


@dataclass(frozen=True)
class _Effect:
    value: float
    stderr: float
    plain: float
    plain_stderr: float
    treated: int
    others: int


def _effect(treated: FloatArray, others: FloatArray) -> _Effect | None:
    """The difference of two ratios of bucket sums, with and without covariates."""
    rows = [group[:, 0].sum() for group in (treated, others)]
    used = [int((group[:, 0] > 0).sum()) for group in (treated, others)]
    if min(rows) < _FEWEST_ROWS or min(used) < _FEWEST_BUCKETS:
        return None
    means = [group[:, 1:].sum(axis=0) / n for group, n in zip((treated, others), rows, strict=True)]
    parts = [
        (group[:, 1:] - group[:, :1] * mean) / n for group, mean, n in zip((treated, others), means, rows, strict=True)
    ]
    influence, gap = parts[0] - parts[1], means[0] - means[1]
    plain_stderr = _stderr(influence[:, 0], 0)
    value, stderr = float(gap[0]), plain_stderr
    if influence.shape[1] > 1 and plain_stderr > 0:
        scale = np.sqrt((influence[:, 1:] ** 2).sum(axis=0))
        varying = scale > 0
        before = influence[:, 1:][:, varying] / scale[varying]
        slope = np.linalg.lstsq(before, influence[:, 0], rcond=1e-8)[0]
        value = float(gap[0] - matmul(gap[1:][varying] / scale[varying], slope))
        stderr = _stderr(influence[:, 0] - matmul(before, slope), len(slope))
    return _Effect(value, stderr, float(gap[0]), plain_stderr, int(rows[0]), int(rows[1]))


def _stderr(influence: FloatArray, spent: int) -> float:
    units = len(influence)
    return math.sqrt(float((influence * influence).sum()) * units / max(units - 1 - spent, 1))


def _at(day: int, found: _Effect, alpha: float, tuned_for: float) -> DayEffect:
    count = float(found.treated + found.others)
    reach = float(boundary(np.array([count]), alpha, tuned_for)[0]) * math.sqrt(count) * found.stderr
    return DayEffect(
        day=day_name(day),
        value=found.value,
        stderr=found.stderr,
        low=found.value - reach,
        high=found.value + reach,
        plain=found.plain,
        plain_stderr=found.plain_stderr,
        treated=found.treated,
        others=found.others,
    )


MOST = 10


def covariates_of(schema: FeatureSchema, asked: Sequence[str]) -> tuple[str, ...]:
    """Names of numeric features.

    Raises:
        DataError: an unknown name, or a feature that is not numeric.
    """
    numeric = [spec.name for spec in schema.features if spec.type == "numeric"]
    if tuple(asked) == ("auto",):
        return tuple(numeric[:MOST])
    wrong = sorted(set(asked) - set(numeric))
    if wrong:
        raise DataError(f"covariates must be numeric features, got {wrong}", hint=f"numeric are: {numeric}")
    return tuple(asked)


class FirstValues:
    """The first values of each contact; memory grows with contacts (8 bytes each, and 8 for each covariate).

    Args:
        names: names of numeric features.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._keys: KeyArray = np.zeros(0, dtype=np.uint64)
        self._values: FloatArray = np.zeros((0, len(names)))

    def of(self, batch: RoundBatch) -> FloatArray:
        """(n, d) values of each row's contact when it was seen first; 0 where the feature was absent then."""
        if not self._names:
            return np.zeros((batch.n, 0))
        keys, first = np.unique(batch.cluster, return_index=True)
        new = ~np.isin(keys, self._keys, assume_unique=True)
        if new.any():
            # First come, first kept: rows are read in the order in which they were decided.
            columns = [batch.context.columns[name] for name in self._names]
            values = [np.where(column.state == PRESENT, np.nan_to_num(column.values), 0.0) for column in columns]
            added = np.stack(values, axis=1)[first[new]]
            order = np.argsort(np.concatenate([self._keys, keys[new]]), kind="stable")
            self._keys = np.concatenate([self._keys, keys[new]])[order]
            self._values = np.concatenate([self._values, added])[order]
        found: FloatArray = self._values[np.searchsorted(self._keys, batch.cluster)]
        return found
