"""The pseudo-inverse weights of a log that fills slots jointly: rankings without repetition, say."""

from __future__ import annotations

import numpy as np

from engine.errors import DataError, ParameterError
from engine.numeric.matmul import matmul
from engine.types import FloatArray, IntArray


def joint_weights(possible: IntArray, logging: FloatArray, target: FloatArray) -> FloatArray:
    """(m,) weight of each possible slate of one context; the estimate is the mean of weight times the slate's reward.

    Swaminathan et al. (2017), section 3: 1_s' Gamma^+ theta, where 1_s marks the (slot, action) pairs of slate s, Gamma
    is the expectation of 1_s 1_s' under the log and theta that of 1_s under the target. Right where the slate's reward
    is a sum of what each slot's action adds. Where slots are filled on their own it is the sum of their weights less
    L - 1 (`slates.pseudo_inverse`). The mean of weight times reward over rows is `engine.ope.ips.ips`.

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
