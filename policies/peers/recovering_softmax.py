"""The recovering difference softmax: what a contact saw lately has to recover before it is likely again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from engine.catalog import Catalog
from engine.errors import ConfigError, LearnError, MissingPropensityError, ParameterError
from engine.features import PRESENT, ContextBatch, FeatureSchema
from engine.numeric.matmul import matmul
from engine.records.rounds import RoundBatch
from engine.types import BoolArray, FloatArray
from policies.exploring.exploration import softmax
from policies.vw.rows import repeatable, trainable


@dataclass(frozen=True)
class Recovery:
    """The parameters of the policy; the defaults are of the size that suits a daily reminder, tune them.

    Attributes:
        temperature: tau of the softmax, > 0.
        penalty: gamma, taken off the score of an arm that was shown just now, >= 0.
        half_life_days: h, after which half of the penalty is gone, > 0.
        days_since: arm id -> name of the numeric feature with the days since the contact last saw the arm; absent
            values mean never, and arms that are not named here never tire.
    """

    temperature: float = 0.0025
    penalty: float = 0.017
    half_life_days: float = 15.0
    days_since: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        for field, low_open in (("temperature", True), ("half_life_days", True), ("penalty", False)):
            value = getattr(self, field)
            if not (np.isfinite(value) and (value > 0 if low_open else value >= 0)):
                allowed = "finite and " + ("above 0" if low_open else "at least 0")
                raise ParameterError(field, "Recovery", allowed=allowed, got=value)


class RecoveringSoftmax:
    """P(a) proportional to exp(s*_a / tau) over the eligible actions, s*_a = s_a - gamma 2^(-days_a / h).

    Source: Yancey & Settles, "A Sleeping, Recovering Bandit Algorithm for Optimizing Recurring Notifications", KDD
    2020: sleeping arms are those outside the eligible set, s_a is the relative difference of `difference_scores`, and
    the penalty recovers with the days since the contact last saw the arm.

    Args:
        catalog: the actions.
        schema: must have the features of `recovery.days_since`, numeric.
        scores: (k,) s_a, finite.
        recovery: parameters.

    Raises:
        ConfigError: an arm or a feature that does not exist, or a feature that is not numeric.
        ParameterError: scores of another shape, or not finite.
    """

    name = "recovering_softmax"

    def __init__(self, catalog: Catalog, schema: FeatureSchema, scores: FloatArray, recovery: Recovery) -> None:
        if scores.shape != (catalog.k,) or not np.isfinite(scores).all():
            raise ParameterError("scores", "RecoveringSoftmax", allowed=f"{catalog.k} finite ones", got=scores)
        numeric = {spec.name for spec in schema.features if spec.type == "numeric"}
        arms = {arm: position for position, arm in enumerate(catalog.arm_ids)}
        named = dict(recovery.days_since or {})
        wrong = [pair for pair in named.items() if pair[0] not in arms or pair[1] not in numeric]
        if wrong:
            raise ConfigError(
                f"days_since names unknown arms or features that are not numeric: {wrong}",
                hint=f"arms are {list(arms)}, numeric features {sorted(numeric)}",
            )
        _, _, arm = catalog.split(np.arange(catalog.k))
        self._tired = [(np.flatnonzero(arm == arms[name]), feature) for name, feature in named.items()]
        self._scores, self._recovery = scores, recovery

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """Give the softmax of the scores, (n, k).

        Raises:
            EligibilityError: a row without an eligible action.
        """
        scores = np.tile(self._scores, (context.n, 1))
        for actions, feature in self._tired:
            column = context.columns[feature]
            days = np.where(column.state == PRESENT, np.maximum(column.values, 0.0), np.inf)
            loss = self._recovery.penalty * np.exp2(-days / self._recovery.half_life_days)
            scores[:, actions] -= loss[:, None]
        return softmax(scores, eligible, 1.0 / self._recovery.temperature)


def difference_scores(
    rounds: Iterable[RoundBatch], metric: str, reward_range: tuple[float, float], catalog: Catalog
) -> FloatArray:
    """(k,) relative difference of each action: (m+_a - m-_a) / m-_a.

    Source: Yancey & Settles, KDD 2020. m+_a is the mean reward of rounds that chose a, m-_a of rounds where a was
    eligible and something else was chosen: comparing within the rounds where an action was awake corrects for when it
    is eligible at all. Each round counts 1 / propensity, so both are as under even choices.
    Actions with no round of one of the kinds, or with m-_a not above 0, get 0: no difference known.

    Raises:
        MissingPropensityError: rounds without propensity.
        LearnError: rewards below 0 (relative differences mean nothing then) or outside the range, or no rounds.
    """
    if reward_range[0] < 0:
        raise LearnError(
            f"relative differences need rewards of at least 0, the range of {metric!r} is {reward_range}",
            hint="choose a metric that counts or sums what is good",
        )
    sums = np.zeros((4, catalog.k))
    for batch in repeatable(rounds):
        rows = trainable(batch, metric, reward_range, catalog, propensities=False)
        if np.isnan(rows.propensity).any():
            raise MissingPropensityError("the log has no propensities", hint="import it with a mapping that gives them")
        weight = 1.0 / rows.propensity
        gain, awake = weight * rows.rewards[metric], rows.eligible_dense().astype(np.float64)
        for at, values in ((0, gain), (1, weight)):
            sums[at] += np.bincount(rows.action, weights=values, minlength=catalog.k)
            sums[2 + at] += matmul(awake.T, values)
    if not sums[1].any():
        raise LearnError("there are no rounds to learn from", hint="check the split and the dropped rows")
    chosen, rest = sums[1], np.maximum(sums[3] - sums[1], 0.0)
    plus = sums[0] / np.where(chosen > 0, chosen, 1.0)
    minus = (sums[2] - sums[0]) / np.where(rest > 0, rest, 1.0)
    # Differences of sums leave a rounding error where nothing else was ever chosen.
    known = (chosen > 0) & (rest > 1e-9 * sums[3]) & (minus > 0)
    scores: FloatArray = np.where(known, plus / np.where(known, minus, 1.0) - 1.0, 0.0)
    return scores
