"""A policy that Vowpal Wabbit serves live, row by row: for explorations that are no sums of tables.

It holds a workspace: one per process, not picklable, some hundred rows per second at 577 actions. Learn and evaluate
with it, or serve few decisions; to serve many use the compiled policies.
"""

from __future__ import annotations

import numpy as np

from engine.catalog import Catalog
from engine.eligibility import require_eligible
from engine.encoder import Encoder
from engine.errors import ParameterError
from engine.features import ContextBatch
from engine.types import HOLD, BoolArray, FloatArray, IntArray
from policies.vw import wall
from policies.vw.examples import HOLD_FEATURE, action_lines, context_row, escape


class LivePolicy:
    """VW's own distribution over the row's eligible actions (`engine.protocols.Policy`).

    Args:
        catalog: the actions.
        encoder: the encoder of the context.
        model: bytes of the VW model.
        name: begins with "vw".

    Raises:
        ArtefactError: VW cannot read the model.
    """

    def __init__(self, catalog: Catalog, encoder: Encoder, model: bytes, name: str) -> None:
        self.catalog = catalog
        self.encoder = encoder
        self.name = name
        self._model = wall.LiveModel.from_bytes(model)
        self._lines = action_lines(catalog)

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """(n, k) probabilities; rows sum to 1, removed actions have exactly 0.

        Raises:
            EligibilityError: a row without an eligible action.
            ParameterError: eligible is not of shape (n, k).
            DataError: the context has another schema.
            ArtefactError: another process than the one that made the policy, or an answer that is no distribution.
        """
        if eligible.shape != (context.n, self.catalog.k):
            raise ParameterError(
                "eligible", self.name, allowed=f"of shape {(context.n, self.catalog.k)}", got=eligible.shape
            )
        require_eligible(eligible)
        x = self.encoder.encode(context)
        out = np.zeros(eligible.shape)
        for row, may in enumerate(eligible):
            out[row] = self.row(context_row(self.encoder.column_names, x[row]), may)
        return out

    def close(self) -> None:
        """Free the workspace; the policy answers no more."""
        self._model.close()

    def row(self, context: str, may: BoolArray) -> FloatArray:
        """(k,) distribution of one row."""
        offered = np.flatnonzero(may)
        text = "\n".join(self._lines[action] for action in offered)
        out: FloatArray = np.zeros(len(may))
        out[offered] = self._model.probabilities(f"shared {context}\n{text}\n", len(offered))
        return out


class LiveSlotPolicy(LivePolicy):
    """Channel (or hold), then hour, then arm, each by VW's distribution of its own slot.

    P(c, h, a) = p1(c) p2(h | some arm may go at (c, h)) p3(a | it may go at (c, h)): each slot's distribution is
    conditioned on what is still eligible after the ones before it. Where the eligible set is a product of axes, that is
    the product of VW's own slot distributions.
    """

    def __init__(self, catalog: Catalog, encoder: Encoder, model: bytes, name: str) -> None:
        super().__init__(catalog, encoder, model, name)
        self._slots = Slots(catalog)

    def row(self, context: str, may: BoolArray) -> FloatArray:
        """(k,) distribution of one row."""
        if may.sum() == 1:
            return may.astype(np.float64)
        offers = self._slots.offers(may)
        text = self._slots.question(context, offers)
        asked = self._model.slot_probabilities(text, self._slots.lines, sum(1 for offer in offers if len(offer)))
        return self._slots.joint(asked, may)


Offers = tuple[IntArray, IntArray, IntArray]


class Slots:
    """The texts of one decision as three slots: channel or hold, then hour, then arm.

    Source of the format and of the name: Vowpal Wabbit's conditional contextual bandits (`--ccb_explore_adf`). The
    common actions are hold, the channels, the hours, the arms, in this order; every slot names which of them it offers,
    so channels, hours and arms never mix. VW's slates are the same with one cost for all slots; here hold leaves the
    later slots without one.

    Args:
        catalog: the actions.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._shape = catalog.shape
        channels, hours, _ = catalog.shape
        self._first = (0, 1 + channels, 1 + channels + hours)
        names = (
            f"|c {HOLD_FEATURE}",
            *(f"|c channel={escape(name)}" for name in catalog.channels),
            *(f"|h hour={escape(str(hour))}" for hour in catalog.hours),
            *(f"|a arm={escape(name)}" for name in catalog.arm_ids),
        )
        self.lines = len(names)
        self._actions = "".join(f"ccb action {name}\n" for name in names)

    def offers(self, may: BoolArray) -> Offers:
        """What each slot offers, given the eligible actions (k,): positions among the common actions."""
        cells = may[1:].reshape(self._shape)
        hold = np.flatnonzero(may[:1])
        channels, hours, arms = (np.flatnonzero(cells.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
        return np.concatenate([hold, 1 + channels]), self._first[1] + hours, self._first[2] + arms

    def question(self, context: str, offers: Offers, labels: tuple[str, str, str] = ("", "", "")) -> str:
        """The text of one decision; slots that offer nothing are left out, labels go to their slots."""
        slots = "".join(
            f"ccb slot {label}{','.join(map(str, offer.tolist()))} |s slot={slot}\n"
            for slot, (offer, label) in enumerate(zip(offers, labels, strict=True))
            if len(offer)
        )
        return f"ccb shared {context}\n{self._actions}{slots}"

    def labels(
        self, may: BoolArray, offers: Offers, action: int, cost: float, propensity: float
    ) -> tuple[str, str, str]:
        """Labels of the slots for one logged decision; where it held, only the first slot learns.

        A log knows the probability of the whole action, not of each slot's choice. propensity x eligible actions /
        offers of the slot weights the rows of every slot as if the action had been drawn evenly, so each slot learns
        the mean reward over even choices of the others; VW silently resets a probability above 1 to 1.
        """
        first = self._positions(action)
        share = propensity * float(may.sum())
        return tuple(  # type: ignore[return-value]
            "" if at is None else f"{at}:{np.float32(cost)!s}:{np.float32(min(share / len(offer), 1.0))!s} "
            for at, offer in zip(first, offers, strict=True)
        )

    def joint(self, asked: FloatArray, may: BoolArray) -> FloatArray:
        """(slots asked, lines) distributions of the slots -> (k,) distribution over the eligible actions."""
        out: FloatArray = np.zeros(len(may))
        out[HOLD] = asked[0, 0] if may[HOLD] else 0.0
        cells = may[1:].reshape(self._shape)
        if not cells.any():
            return out
        channels, hours, arms = self._shape
        first = asked[0, 1 : 1 + channels]
        second = _given(asked[1, self._first[1] : self._first[1] + hours], np.asarray(cells.any(axis=2)))
        third = _given(asked[2, self._first[2] : self._first[2] + arms], cells)
        out[1:] = (first[:, None, None] * second[:, :, None] * third).ravel()
        return np.asarray(out / np.cumsum(out)[-1])

    def _positions(self, action: int) -> tuple[int, int | None, int | None]:
        if action == HOLD:
            return 0, None, None
        channel, hour, arm = np.unravel_index(action - 1, self._shape)
        return 1 + int(channel), self._first[1] + int(hour), self._first[2] + int(arm)


def _given(probabilities: FloatArray, may: BoolArray) -> FloatArray:
    """The distribution of one slot, conditioned on each of the sets `may` (..., size); even where it has no mass."""
    masked = np.where(may, probabilities, 0.0)
    total = np.cumsum(masked, axis=-1)[..., -1:]
    count = may.sum(axis=-1, keepdims=True)
    even = may / np.maximum(count, 1)
    conditioned: FloatArray = np.where(total > 0.0, masked / np.where(total > 0.0, total, 1.0), even)
    return conditioned
