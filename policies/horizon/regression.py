"""Regressions of many targets on the same decisions, with Vowpal Wabbit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.eligibility import pack
from engine.features import ContextBatch, FeatureSchema
from engine.records.rounds import SAMPLE_WEIGHT, RoundBatch
from engine.types import HOLD, BoolArray, FloatArray, IntArray
from policies.vw.arguments import VwConfig
from policies.vw.reward_model import VwRewardModel

_TARGET: Final = "target"


@dataclass(frozen=True)
class Regression:
    """Decisions on which targets are regressed.

    Attributes:
        catalog / schema: those of the actions and contexts below.
        contexts: the contexts of the n decisions, in batches.
        action: (n,) in [0, k).
        weight: (n,) importance, above 0.
        config: bits, levels and passes of Vowpal Wabbit's bfgs.
    """

    catalog: Catalog
    schema: FeatureSchema
    contexts: Sequence[ContextBatch]
    action: IntArray
    weight: FloatArray
    config: VwConfig

    def fitted(
        self, target: FloatArray, rows: BoolArray, ridge: float, interactions: Sequence[str] = ()
    ) -> VwRewardModel:
        """The regression of a target on some rows.

        Args:
            target: (n,) finite on the rows.
            rows: (n,) bool, at least one.
            ridge: penalty, in rows.
            interactions: see `VwConfig`.

        Raises:
            LearnError: Vowpal Wabbit failed.
        """
        shown = target[rows]
        low, high = float(shown.min()), float(shown.max())
        # A linear model may leave the range of what was seen, but not by far.
        width = max(high - low, 1e-6)
        config = msgspec.structs.replace(
            self.config, regression="bfgs", ridge=ridge, interactions=tuple(interactions), search=None
        )
        model = VwRewardModel(self.catalog, self.schema, _TARGET, (low - width, high + width), config)
        model.fit(self._rounds(target, rows))
        return model

    def of_context(self, target: FloatArray, rows: BoolArray, ridge: float) -> FloatArray:
        """(n,) predictions from the context alone, from a fit on some rows.

        Raises:
            LearnError: Vowpal Wabbit failed.
        """
        # All decisions as holds: the action then tells nothing.
        model = replace(self, action=np.full_like(self.action, HOLD)).fitted(target, rows, ridge)
        return np.concatenate([model.predict(context)[:, HOLD] for context in self.contexts])

    def _rounds(self, target: FloatArray, rows: BoolArray) -> list[RoundBatch]:
        out, start = [], 0
        for chunk, context in enumerate(self.contexts):
            kept = np.flatnonzero(rows[start : start + context.n])
            if len(kept):
                at = start + kept
                weights = {SAMPLE_WEIGHT: self.weight[at]}
                taken = context.take(kept)
                out.append(plain_rounds(chunk, taken, self.action[at], self.catalog.k, _TARGET, target[at], weights))
            start += context.n
        return out


def plain_rounds(
    chunk: int,
    context: ContextBatch,
    action: IntArray,
    k: int,
    metric: str,
    reward: FloatArray,
    extra: dict[str, FloatArray] | None = None,
) -> RoundBatch:
    """Rounds in which every action was eligible and as likely as any other."""
    n = len(action)
    return RoundBatch(
        chunk=chunk,
        decision_id=np.array([f"{chunk}-{row}" for row in range(n)], dtype=object),
        context=context,
        action=action.astype(np.int32),
        propensity=np.full(n, 1.0 / k),
        eligible=np.repeat(pack(np.ones((1, k), dtype=np.bool_)), n, axis=0),
        k=k,
        cluster=np.arange(n, dtype=np.uint64),
        rewards={metric: reward},
        usable=np.ones(n, dtype=np.bool_),
        decided_at=np.zeros(n, dtype=np.int64),
        extra={name: values.astype(object) for name, values in (extra or {}).items()},
    )
