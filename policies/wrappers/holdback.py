"""Why a contact is held back (R23): the one reason for which no message was sent, from what the decision knew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from engine.errors import ParameterError
from engine.records.schema import CONTROL, UNIFORM_SLICE
from engine.types import HOLD, BoolArray, FloatArray

Reason = Literal[
    "control", "guardrails", "limits", "low_expected_value", "price", "uniform_slice", "practice", "exploration",
    "suppressed",
]  # fmt: skip
SENTENCES: Final[dict[str, str]] = {
    "control": "the contact is in the control group, which is held out",
    "guardrails": "the guardrails left no message to send",
    "limits": "limits over all contacts left no message to send",
    "low_expected_value": "no message that may be sent is worth more than sending none",
    "price": "no message that may be sent is worth more than sending none after its price",
    "uniform_slice": "a message was worth more, but this decision was drawn uniformly",
    "practice": "a message seemed worth more, but not surely enough to leave the practice of sending none",
    "exploration": "a message was worth more, but exploration drew no message",
    "suppressed": "a message was drawn but found no room in the state store",
}


@dataclass(frozen=True)
class Holdback:
    """Whether and why a contact is held back.

    Attributes:
        held: whether the best expected value is at most that of hold: nothing is worth sending.
        best: eligible send with the highest expected value after prices, or None where none is eligible.
        expected_value: the expected value of `best`, before its price; None without one.
        hold_value: expected value of sending nothing.
        reason: why nothing is sent; None where something is.
    """

    held: bool
    best: int | None
    expected_value: float | None
    hold_value: float
    reason: Reason | None

    @property
    def sentence(self) -> str:
        """The reason in words; "" where something is sent."""
        return "" if self.reason is None else SENTENCES[self.reason]


def holdback(
    scores: FloatArray,
    eligible: BoolArray,
    action: int,
    *,
    group: str,
    suppressed: bool = False,
    limited: bool = False,
    practice: bool = False,
    price: FloatArray | None = None,
) -> Holdback:
    """The flag and the reason of one decision.

    Args:
        scores: (k,) expected values.
        eligible: (k,) with hold.
        action: the action that was chosen.
        group: the group of the decision, one of `engine.records.schema.GROUPS`.
        suppressed: whether the send was suppressed at once.
        limited: whether set-level limits removed the last send.
        practice: whether a safe policy stays with a practice that sends nothing.
        price: (k,) charged for each action when the policy chose; None is none.

    Raises:
        ParameterError: hold is not eligible, or an expected value is not finite.
    """
    if not eligible[HOLD] or not np.isfinite(scores).all():
        raise ParameterError("eligible", "holdback", allowed="with hold, and finite scores", got=eligible[HOLD])
    hold = float(scores[HOLD])
    sends = np.flatnonzero(eligible[1:]) + 1
    net = scores if price is None else scores - price
    best = int(sends[net[sends].argmax()]) if len(sends) else None
    held = best is None or float(net[best]) <= float(net[HOLD])
    value = None if best is None else float(scores[best])
    reason = _reason(
        scores, sends, action, held=held, group=group, suppressed=suppressed, limited=limited, practice=practice
    )
    return Holdback(held, best, value, hold, reason)


def _reason(
    scores: FloatArray, sends: np.ndarray[tuple[int], np.dtype[np.int64]], action: int, *, held: bool, group: str,
    suppressed: bool, limited: bool, practice: bool,
) -> Reason | None:  # fmt: skip
    if action != HOLD:
        return "suppressed" if suppressed else None
    if group == CONTROL:
        return "control"
    if not len(sends):
        return "limits" if limited else "guardrails"
    if held:
        return "low_expected_value" if float(scores[sends].max()) <= float(scores[HOLD]) else "price"
    if group == UNIFORM_SLICE:
        return "uniform_slice"
    return "practice" if practice else "exploration"
