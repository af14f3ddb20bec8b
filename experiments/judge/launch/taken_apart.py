"""A difference in money taken apart: what was sent more, what was answered more, and what an answer was worth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from scipy.special import stdtrit

from engine.ope.sums.bootstrap import BucketSums
from engine.ope.support import SupportRule
from engine.ope.target import Target
from engine.records.rounds import RoundBatch
from engine.types import HOLD, FloatArray
from experiments.outputs import Output

# Of each policy, by bucket: weight, weight of sends, of answered sends, its square, their money, all money.
_SUMS: Final = 6
SENDS, ANSWERS, WORTH, REST = "sends", "answers", "worth", "rest"
PARTS: Final = (SENDS, ANSWERS, WORTH, REST)


class PartRow(Output, frozen=True, kw_only=True):
    """One part of a difference.

    Attributes:
        part: sends (messages per decision), answers (answered messages, of those sent), worth (money per answered
            message) or rest (money per decision that no answered message brought, costs among it).
        baseline / policy: the part under each.
        value / low / high: what its change brings per decision, in the metric's unit.
    """

    part: str
    baseline: float
    policy: float
    value: float
    low: float
    high: float


class ApartOutput(Output, frozen=True, kw_only=True):
    """A difference as the sum of what its parts bring.

    Attributes:
        stage: the metric that counts as an answer.
        metric: the money.
        baseline / policy: names.
        confidence: of the intervals.
        rows: the parts; empty where the log holds too few answered messages of either policy.
        missing: why there are none.
    """

    stage: str
    metric: str
    baseline: str
    policy: str
    confidence: float
    rows: tuple[PartRow, ...] = ()
    missing: str = ""


@dataclass
class ApartSums:
    """Sums of one pass: value = sends x answers x worth + rest, for two policies.

    Attributes:
        targets: the baseline and the policy.
        stage / metric: rewards of the log, the first 0 or 1.
        seed: of the hash that puts contacts into groups.
    """

    targets: tuple[Target, Target]
    stage: str
    metric: str
    seed: int = 0

    def __post_init__(self) -> None:
        self._sums = BucketSums(1 + 2 * _SUMS, self.seed)

    def add(self, batch: RoundBatch) -> None:
        """Add a batch; rows that do not know whether they were answered, or what they brought, are left out."""
        answered, money = batch.rewards[self.stage], batch.rewards[self.metric]
        known = ~np.isnan(answered) & ~np.isnan(money)
        sent = (batch.action != HOLD) & known
        answer = np.where(sent, answered, 0.0)
        columns = [np.ones(batch.n)]
        for target in self.targets:
            asked = target.probabilities(batch)
            weight = np.ones(batch.n) if asked.logged is None else asked.logged / batch.propensity
            weight = np.where(known, weight, 0.0)
            own = weight * answer
            paid = np.where(known, money, 0.0)
            columns += [weight, weight * sent, own, own * own, own * paid, weight * paid]
        self._sums.add(batch.cluster, np.stack(columns, axis=1))

    def result(self, alpha: float, rule: SupportRule | None = None) -> ApartOutput:
        """The parts, each with the interval of a jackknife over groups of contacts.

        Contributions are Shapley's for a product of three factors: the mean over the orders in which the factors may
        change, so that none depends on which is looked at first (Shapley 1953; Sun 1998 for products). They add up to
        the difference of the two weighted means.

        Args:
            alpha: error of each interval, in (0, 1).
            rule: when support is too little.
        """
        rule = SupportRule() if rule is None else rule
        names = [target.name for target in self.targets]
        output = ApartOutput(
            stage=self.stage, metric=self.metric, baseline=names[0], policy=names[1], confidence=1.0 - alpha
        )
        units = self._sums.units()[:, 1:]
        total = units.sum(axis=0)
        for name, own in zip(names, np.split(total, 2), strict=True):
            events = float(own[2] ** 2 / own[3]) if own[3] else 0.0
            if events < max(rule.min_ess, rule.min_outcomes):
                return msgspec.structs.replace(
                    output, missing=f"too few answered messages speak for {name}: {events:.1f} effective ones"
                )
        if len(units) < rule.min_clusters:
            few = f"{len(units)} independent groups of contacts are fewer than {rule.min_clusters}"
            return msgspec.structs.replace(output, missing=few)
        values, errors = _jackknife(units, total, contributions)
        reach = float(stdtrit(len(units) - 1, 1.0 - alpha / 2.0))
        factors = factors_of(total)
        rows = tuple(
            PartRow(
                part=part,
                baseline=float(factors[0][place]),
                policy=float(factors[1][place]),
                value=float(values[place]),
                low=float(values[place] - reach * errors[place]),
                high=float(values[place] + reach * errors[place]),
            )
            for place, part in enumerate(PARTS)
        )
        return msgspec.structs.replace(output, rows=rows)


def factors_of(sums: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(4, ...) parts under the baseline and under the policy, from (12, ...) sums."""
    found = []
    for own in np.split(sums, 2):
        weight, sends, answers, _, earned, money = own
        found.append(np.array([sends / weight, answers / sends, earned / answers, (money - earned) / weight]))
    return found[0], found[1]


def contributions(sums: FloatArray) -> FloatArray:
    """(4, ...) what each part's change brings; they add up to the difference of the weighted means."""
    (s0, a0, w0, r0), (s1, a1, w1, r1) = factors_of(sums)
    return np.array(
        [_share(s0, s1, a0, a1, w0, w1), _share(a0, a1, s0, s1, w0, w1), _share(w0, w1, s0, s1, a0, a1), r1 - r0]
    )


def _share(
    x0: FloatArray, x1: FloatArray, y0: FloatArray, y1: FloatArray, z0: FloatArray, z1: FloatArray
) -> FloatArray:
    """Shapley's share of x in the change of x y z."""
    return (x1 - x0) * ((y0 * z0 + y1 * z1) / 3.0 + (y0 * z1 + y1 * z0) / 6.0)


def _jackknife(
    units: FloatArray, total: FloatArray, statistic: Callable[[FloatArray], FloatArray]
) -> tuple[FloatArray, Sequence[float]]:
    """A statistic of sums, and its errors by leaving out one group at a time (Efron & Stein 1981)."""
    left = statistic((total - units).T)
    count = len(units)
    spread = left - left.mean(axis=1, keepdims=True)
    return statistic(total), [math.sqrt((count - 1) / count * float((row * row).sum())) for row in spread]
