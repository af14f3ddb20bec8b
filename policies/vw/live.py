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
from engine.features import ContextBlock
from engine.types import BoolArray, FloatArray
from policies.vw import wall
from policies.vw.examples import context_row
from policies.vw.names import action_lines
from policies.vw.slots import Slots


class LivePolicy:
    """VW's own distribution over the row's eligible actions (`engine.protocols.Policy`).

    Args:
        catalog: the actions.
        encoder: of the context.
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

    def distribution(self, context: ContextBlock, eligible: BoolArray) -> FloatArray:
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
