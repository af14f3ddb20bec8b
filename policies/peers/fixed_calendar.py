"""A fixed-frequency calendar: one send every so many days, hold in between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.catalog import Catalog
from engine.errors import ConfigError, ParameterError
from engine.features import PRESENT, ContextBatch, FeatureSchema
from engine.types import HOLD, BoolArray, FloatArray
from policies.exploring.exploration import one_hot_best

_WEEK_DAYS = 7.0


class FixedCalendar:
    """Send where the last send is at least `every_days` days ago (or there was none), hold where it is not.

    Where only the sends of the last seven days are counted, the rhythm is kept in the same way: send where they are
    fewer than 7 / every_days.

    A due contact gets the first eligible action of the list, any other send where none of them is eligible, and hold
    where nothing may be sent: a = send if days since the last send >= every_days, else hold. Source: the practice
    itself; Zhang, Kumar & Cosguner, "Dynamically Managing a Profitable Email Marketing Program", Journal of Marketing
    Research 54(6), 2017, measure what a wrong frequency costs.

    Args:
        catalog: the actions.
        schema: must have the feature, numeric.
        actions: names of send actions, the preferred one first.
        every_days: > 0.
        days_since: numeric feature with the days since the contact's last send; absent means never.
        counts: the feature counts the sends of the last seven days instead; absent means none.

    Raises:
        ConfigError: the feature does not exist or is not numeric, no action is given, or one of them is hold.
        DataError: an unknown action.
        ParameterError: every_days not above 0.
    """

    def __init__(
        self,
        catalog: Catalog,
        schema: FeatureSchema,
        actions: Sequence[str],
        every_days: float,
        days_since: str,
        *,
        counts: bool = False,
    ) -> None:
        if not 0.0 < every_days < np.inf:
            raise ParameterError("every_days", "FixedCalendar", allowed="finite and above 0", got=every_days)
        if days_since not in {spec.name for spec in schema.features if spec.type == "numeric"}:
            raise ConfigError(
                f"a calendar needs a numeric feature {days_since!r}", hint=f"the schema knows {list(schema.names)}"
            )
        listed = [catalog.resolve(action) for action in actions]
        if not listed or HOLD in listed:
            raise ConfigError(f"a calendar sends actions, got {list(actions)}", hint="name at least one send action")
        self.name = f"every_{every_days:g}_days"
        self._every, self._feature, self._counts = every_days, days_since, counts
        due = np.zeros(catalog.k)
        due[HOLD] = -1.0
        due[listed[::-1]] = np.arange(1, len(listed) + 1)
        rest = np.zeros(catalog.k)
        rest[HOLD] = 1.0
        self._preference = np.stack([rest, due])

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """Give one-hot probabilities, (n, k).

        Raises:
            EligibilityError: a row without an eligible action.
        """
        column = context.columns[self._feature]
        known = column.state == PRESENT
        if self._counts:
            due = ~known | (column.values < _WEEK_DAYS / self._every)
        else:
            due = ~known | (column.values >= self._every)
        return one_hot_best(self._preference[due.astype(np.int64)], eligible)
