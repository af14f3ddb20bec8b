"""Slates: several slots filled in one decision, each with a reward of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.errors import DataError, ParameterError
from engine.numeric.matmul import matmul
from engine.types import FloatArray, IntArray


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


def joint_weights(possible: IntArray, logging: FloatArray, target: FloatArray) -> FloatArray:
    """(m,) weight of each possible slate of one context; the estimate is the mean of weight times the slate's reward.

    Swaminathan et al. (2017), section 3: 1_s' Gamma^+ theta, where 1_s marks the (slot, action) pairs of slate s, Gamma
    is the expectation of 1_s 1_s' under the log and theta that of 1_s under the target. Right where the slate's reward
    is a sum of what each slot's action adds. Where slots are filled on their own it is the sum of their weights less
    L - 1 (`slates.estimators.pseudo_inverse`).

    Args:
        possible: (m, L) actions of every slate that the log or the target could show, codes from 0.
        logging: (m,) probability of each under the log, summing to 1.
        target: (m,) the same under the target.

    Raises:
        ParameterError: shapes that differ, or probabilities that do not sum to 1.
        DataError: the target shows some action in a slot where the log never does, or slates that are no combination
            of the log's.
    """
    for name, chances in (("logging", logging), ("target", target)):
        if chances.shape != possible.shape[:1] or not (chances >= 0).all() or abs(chances.sum() - 1) > 1e-9:
            raise ParameterError(name, "joint_weights", allowed="(m,), summing to 1", got=chances.shape)
    m, slots = possible.shape
    k = int(possible.max()) + 1
    marks = np.zeros((m, slots * k))
    marks[np.arange(m)[:, None], np.arange(slots) * k + possible] = 1.0
    shown = matmul(target, marks)
    never = (shown > 0) & (matmul(logging, marks) == 0)
    if never.any():
        slot, action = divmod(int(np.flatnonzero(never)[0]), k)
        raise DataError(f"the log never shows action {action} in slot {slot}, the target does")
    gamma = matmul(marks.T, logging[:, None] * marks)
    solved = matmul(np.linalg.pinv(gamma, hermitian=True), shown)
    if not np.allclose(matmul(gamma, solved), shown, atol=1e-9):
        raise DataError(
            "the target mixes slots in a way that the log's slates do not span",
            hint="the log must show slates whose slots differ independently enough; a log with some exploration does",
        )
    found: FloatArray = matmul(marks, solved)
    return found
