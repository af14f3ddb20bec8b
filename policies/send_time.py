"""Send-time optimisation: one message for everybody, each contact at the hour at which it used to open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from engine.catalog import Catalog
from engine.errors import ConfigError, ParameterError
from engine.features import PRESENT, ContextBlock, FeatureSchema
from engine.rounds import RoundBlock
from engine.types import HOLD, BoolArray, FloatArray
from policies.action_values import ActionSums
from policies.ranked import one_hot_best


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

    Raises:
        ConfigError: an hour or a feature that does not exist, or a feature that is not numeric.
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
        self._prior = prior * hour_shares / hour_shares.sum()
        channel, self._hour, arm = (axis[1:] for axis in catalog.split(np.arange(catalog.k)))
        # Ranks are whole numbers and hour scores below 1: the pair decides first, then the hour.
        order = np.argsort(np.argsort(-pair_values.ravel(), kind="stable"), kind="stable")
        self._rank = -order.reshape(channels, arms)[channel, arm].astype(np.float64)

    def distribution(self, context: ContextBlock, eligible: BoolArray) -> FloatArray:
        """(n, k) one-hot.

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
        preference = np.full(eligible.shape, -np.inf)
        # Halved, so that an hour with every open is still below the next rank.
        preference[:, 1:] = self._rank + 0.5 * (score / total[:, None])[:, self._hour]
        preference[:, HOLD] = self._rank.min(initial=0.0) - 1.0
        return one_hot_best(preference, eligible)


def tune_send_time(
    rounds: Iterable[RoundBlock],
    metric: str,
    catalog: Catalog,
    schema: FeatureSchema,
    opens: Mapping[str, str],
    prior: float = 5.0,
) -> SendTime:
    """Channel and arm by their mean reward over hours, the population's hours by theirs (those below 0 count as 0).

    Raises:
        ConfigError, ParameterError: see `SendTime`.
        MissingPropensityError, LearnError: see `policies.action_values.ActionSums`.
    """
    sums = ActionSums(metric, catalog.k)
    for block in rounds:
        sums.add(block)
    values = sums.result()
    reward, weight = (part[0, 1:].reshape(catalog.shape) for part in (values.reward, values.weight))
    pair_weight = weight.sum(axis=1)
    pairs = np.where(pair_weight > 0, reward.sum(axis=1) / np.where(pair_weight > 0, pair_weight, 1.0), -np.inf)
    hour_weight = weight.sum(axis=(0, 2))
    shares = np.maximum(reward.sum(axis=(0, 2)) / np.where(hour_weight > 0, hour_weight, 1.0), 0.0)
    even = np.ones(len(shares))
    return SendTime(catalog, schema, pairs, shares if shares.any() else even, opens, prior)
