"""Send-time optimisation: one message for everybody, each contact at the hour at which it used to open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from engine.catalog import Catalog
from engine.errors import ConfigError, ParameterError
from engine.features import PRESENT, ContextBatch, FeatureSchema
from engine.records.rounds import RoundBatch
from engine.types import HOLD, BoolArray, FloatArray
from policies.exploring.action_values import ActionSums
from policies.exploring.exploration import one_hot_best


@dataclass(frozen=True)
class UsualHour:
    """A categorical feature that names the part of the day in which a contact usually opens.

    Attributes:
        feature: its name.
        parts: level -> hour slots (as text) of that part of the day.
        opens: it counts as so many opens, evenly over its slots; > 0.
    """

    feature: str
    parts: Mapping[str, tuple[str, ...]]
    opens: float = 20.0

    def __post_init__(self) -> None:
        if not 0.0 < self.opens < np.inf:
            raise ParameterError("opens", "UsualHour", allowed="finite and above 0", got=self.opens)


class SendTime:
    """The best channel and arm of the log, at the eligible hour with the most opens of the contact.

    An hour's score is (opens_h + prior * share_h) / (sum of opens + prior): the contact's own history, drawn towards
    the population's hours as if it had `prior` more opens (the posterior mean under a Dirichlet prior, Gelman et al.,
    "Bayesian Data Analysis", Section 3.4). Where the best pair may go at no hour the next best pair goes, and hold only
    where nothing may be sent. Source: what senders ship under this name; it picks the hour, never whether or what.

    Args:
        catalog: the actions.
        schema: must have the features, numeric.
        pair_values: (C, K) value of each channel and arm.
        hour_shares: (H,) the population's hours, >= 0, not all 0.
        opens: hour slot, as text -> numeric feature with the contact's historical opens in it; absent means 0.
        prior: in opens, > 0.
        usual: the part of the day that is known instead of counts, or beside them.

    Raises:
        ConfigError: an hour or a feature that does not exist, or a feature of the wrong type.
        ParameterError: other shapes, values that are not finite, or prior not above 0.
    """

    name = "send_time"

    def __init__(
        self,
        catalog: Catalog,
        schema: FeatureSchema,
        pair_values: FloatArray,
        hour_shares: FloatArray,
        opens: Mapping[str, str],
        prior: float = 5.0,
        usual: UsualHour | None = None,
    ) -> None:
        channels, hours, arms = catalog.shape
        if not 0.0 < prior < np.inf:
            raise ParameterError("prior", "SendTime", allowed="finite and above 0", got=prior)
        if pair_values.shape != (channels, arms) or np.isnan(pair_values).any():
            raise ParameterError("pair_values", "SendTime", allowed=f"{(channels, arms)} numbers", got=pair_values)
        if hour_shares.shape != (hours,) or not (hour_shares >= 0).all() or not 0.0 < hour_shares.sum() < np.inf:
            raise ParameterError("hour_shares", "SendTime", allowed=f"{hours} shares, not all 0", got=hour_shares)
        numeric = {spec.name for spec in schema.features if spec.type == "numeric"}
        slots = {str(hour): position for position, hour in enumerate(catalog.hours)}
        wrong = [pair for pair in opens.items() if pair[0] not in slots or pair[1] not in numeric]
        if wrong:
            raise ConfigError(
                f"opens names unknown hours or features that are not numeric: {wrong}",
                hint=f"hours are {list(slots)}, numeric features {sorted(numeric)}",
            )
        self._opens = [(slots[hour], feature) for hour, feature in opens.items()]
        self._usual = usual
        self._parts = {} if usual is None else _part_opens(usual, schema, slots)
        self._prior = prior * hour_shares / hour_shares.sum()
        self._none = np.zeros(hours)
        channel, self._hour, arm = (axis[1:] for axis in catalog.split(np.arange(catalog.k)))
        # Ranks are whole numbers and hour scores below 1: the pair decides first, then the hour.
        order = np.argsort(np.argsort(-pair_values.ravel(), kind="stable"), kind="stable")
        self._rank = -order.reshape(channels, arms)[channel, arm].astype(np.float64)

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """Give one-hot probabilities, (n, k).

        Raises:
            EligibilityError: a row without an eligible action.
        """
        score = np.tile(self._prior, (context.n, 1))
        total = np.full(context.n, float(np.cumsum(self._prior)[-1]))
        for hour, feature in self._opens:
            column = context.columns[feature]
            count = np.where(column.state == PRESENT, np.maximum(column.values, 0.0), 0.0)
            score[:, hour] += count
            total += count
        if self._usual is not None:
            column = context.columns[self._usual.feature]
            # The last line stands for "not known": the code -1 finds it.
            by_level = np.stack([*(self._parts.get(level, self._none) for level in column.levels), self._none])
            count = by_level[np.where(column.state == PRESENT, column.values, -1)]
            score += count
            total += count.sum(axis=1)
        preference = np.full(eligible.shape, -np.inf)
        # Halved, so that an hour with every open is still below the next rank.
        preference[:, 1:] = self._rank + 0.5 * (score / total[:, None])[:, self._hour]
        preference[:, HOLD] = self._rank.min(initial=0.0) - 1.0
        return one_hot_best(preference, eligible)


def _part_opens(usual: UsualHour, schema: FeatureSchema, slots: Mapping[str, int]) -> dict[str, FloatArray]:
    """Level -> (H,) opens at each slot."""
    named = {slot for part in usual.parts.values() for slot in part}
    categorical = {spec.name for spec in schema.features if spec.type == "categorical"}
    if usual.feature not in categorical or named - set(slots):
        raise ConfigError(
            f"usual names a feature that is not categorical or unknown hours: {usual.feature!r}, {sorted(named)}",
            hint=f"hours are {list(slots)}, categorical features {sorted(categorical)}",
        )
    found = {}
    for level, part in usual.parts.items():
        opens = np.zeros(len(slots))
        opens[[slots[slot] for slot in part]] = usual.opens / max(len(part), 1)
        found[level] = opens
    return found


def tune_send_time(
    rounds: Iterable[RoundBatch],
    metric: str,
    catalog: Catalog,
    schema: FeatureSchema,
    opens: Mapping[str, str],
    prior: float = 5.0,
    usual: UsualHour | None = None,
) -> SendTime:
    """Channel and arm by their mean reward over hours, the population's hours by theirs (those below 0 count as 0).

    Raises:
        ConfigError, ParameterError: see `SendTime`.
        MissingPropensityError, LearnError: see `policies.exploring.action_values.ActionSums`.
    """
    sums = ActionSums(metric, catalog.k)
    for batch in rounds:
        sums.add(batch)
    values = sums.result()
    reward, weight = (part[0, 1:].reshape(catalog.shape) for part in (values.reward, values.weight))
    pair_weight = weight.sum(axis=1)
    pairs = np.where(pair_weight > 0, reward.sum(axis=1) / np.where(pair_weight > 0, pair_weight, 1.0), -np.inf)
    hour_weight = weight.sum(axis=(0, 2))
    shares = np.maximum(reward.sum(axis=(0, 2)) / np.where(hour_weight > 0, hour_weight, 1.0), 0.0)
    even = np.ones(len(shares))
    return SendTime(catalog, schema, pairs, shares if shares.any() else even, opens, prior, usual)
