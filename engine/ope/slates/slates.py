"""Slates: several slots filled in one decision, each with a reward of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.errors import ParameterError
from engine.types import FloatArray


@dataclass(frozen=True)
class Slates:
    """n slates of L slots.

    Attributes:
        reward: (n, L) reward of each slot; where only the slate has one, it may stand in any slot.
        slot_weight: (n, L) target / logging probability of the action of each slot, whatever stands in the others.
        chain_weight: (n, L) target / logging probability of each slot's action given those of the slots above it; where
            every slot is filled on its own the two are the same.
        value: (n, L) a model's expectation, under the target, of the rewards from each slot down, given the slots
            above; or None.
        logged: (n, L) the same given also the slot's own action; or None.
    """

    reward: FloatArray
    slot_weight: FloatArray
    chain_weight: FloatArray
    value: FloatArray | None = None
    logged: FloatArray | None = None

    def __post_init__(self) -> None:
        shape = self.reward.shape
        if len(shape) != 2 or 0 in shape:
            raise ParameterError("reward", "Slates", allowed="(n, L), not empty", got=shape)
        for name in ("reward", "slot_weight", "chain_weight", "value", "logged"):
            values = getattr(self, name)
            if values is not None and (values.shape != shape or not np.isfinite(values).all()):
                raise ParameterError(name, "Slates", allowed=f"finite, of shape {shape}", got=values.shape)
        for name in ("slot_weight", "chain_weight"):
            if getattr(self, name).min() < 0:
                raise ParameterError(name, "Slates", allowed="not negative", got=float(getattr(self, name).min()))

    @property
    def n(self) -> int:
        return len(self.reward)

    @property
    def slots(self) -> int:
        return int(self.reward.shape[1])

    @cached_property
    def prefix_weight(self) -> FloatArray:
        """(n, L) weight of the slots from the first to each."""
        return np.asarray(np.cumprod(self.chain_weight, axis=1), dtype=np.float64)

    def model(self, owner: str) -> tuple[FloatArray, FloatArray]:
        """The model's value and logged value.

        Raises:
            ParameterError: no model's values were given.
        """
        if self.value is None or self.logged is None:
            raise ParameterError("value", owner, allowed="given, with `logged`", got=None)
        return self.value, self.logged


def slot_importance(slots: int, importance: FloatArray | None) -> FloatArray:
    """(L,) how much each slot's reward counts; 1 where None.

    Raises:
        ParameterError: another shape, negative or not finite.
    """
    if importance is None:
        return np.ones(slots)
    found = np.asarray(importance, dtype=np.float64)
    if found.shape != (slots,) or not np.isfinite(found).all() or found.min() < 0:
        raise ParameterError("importance", "a slate", allowed=f"({slots},), finite, not negative", got=importance)
    return found
