"""A contact's sends and hits before any instant: only what had been decided, and was known, by then.

A message that the policy liked to send would otherwise stand for all: each past send has the weight 1 / (propensity x
eligible actions), truncated (Ionides, J. Comput. Graph. Stat. 17, 2008) to half and twice that of a uniform choice. Of
weighted sends n is Kish's effective number (sum w)^2 / sum w^2, and the hits are n times their weighted mean; equal
weights give plain counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from engine.catalog import Catalog
from engine.errors import ParameterError
from engine.features import MISSING, PRESENT, Column, ContextBatch, FeatureSchema
from engine.records.rounds import RoundBatch
from engine.time.localtime import DAY_US
from engine.types import HOLD, NOT_AN_INSTANT, BoolArray, FloatArray, IntArray, KeyArray
from policies.parts.memory.columns import Kind, kinds, with_memory

_LEAST, _MOST = 0.5, 2.0
# Weights are multiples of this power of two, so that their sums are exact, whatever was summed before.
_GRAIN: Final = 256.0


class Memory:
    """Past sends, to be asked for the counts of any contact at any instant.

    Args:
        catalog: of the actions.
        stage: metric (0 or 1) that a send may hit.
        known_days: days after a decision at which its stage is known: the window in which outcomes are joined.

    Raises:
        ParameterError: `known_days` is negative or not finite.
    """

    def __init__(self, catalog: Catalog, stage: str, known_days: float) -> None:
        if not 0.0 <= known_days < np.inf:
            hint = "days from a decision until its stage counts as known: the window of the metric"
            raise ParameterError("known_days", "memory", allowed="finite and at least 0", got=known_days, hint=hint)
        self.catalog, self.stage = catalog, stage
        self._kinds = kinds(catalog)
        # A decision never remembers itself, nor one of the same instant.
        self._lag = max(round(known_days * DAY_US), 1)
        self._parts: list[_Sends] = []

    def add(self, rounds: RoundBatch, contact: KeyArray | None = None) -> BoolArray:
        """Remember the sends of a batch whose stage is known; after that `at` knows them.

        Args:
            rounds: with the stage among its rewards.
            contact: (n,) keys of the contacts; those of the clusters by default.

        Returns:
            (n,) the rows that are remembered.
        """
        hit = rounds.rewards[self.stage]
        kept: BoolArray = (
            (rounds.action != HOLD) & rounds.usable & ~np.isnan(hit) & (rounds.decided_at != NOT_AN_INSTANT)
        )
        contact = rounds.cluster if contact is None else contact
        self._parts.append(
            _Sends(
                contact[kept],
                rounds.decided_at[kept] + self._lag,
                rounds.action[kept].astype(np.int64),
                weights(rounds.propensity[kept], rounds.eligible_counts()[kept]),
                hit[kept],
            )
        )
        self.__dict__.pop("_sums", None)
        return kept

    def at(self, contact: KeyArray, at: IntArray) -> dict[str, Column]:
        """The features of `memory_features` for n contacts, each at an instant.

        A count is 0 where nothing is known by then, and missing where the instant is.
        """
        dated = at != NOT_AN_INSTANT
        state = np.where(dated, PRESENT, MISSING).astype(np.uint8)
        out = {}
        for kind, sums in self._sums:
            for level, names in enumerate(kind.features(self.stage)):
                for name, values in zip(names, sums.before(contact, level, at), strict=True):
                    out[name] = Column(np.where(dated, values, np.nan), state)
        return out

    def context(
        self, context: ContextBatch, contact: KeyArray, at: IntArray, schema: FeatureSchema | None = None
    ) -> ContextBatch:
        """A context with the counts of n contacts, each at an instant; what it held of them is replaced.

        Args:
            context: of the contacts.
            contact / at: (n,) keys and instants.
            schema: of the result, whose other features the context has; its own and all counts by default.
        """
        schema = schema or with_memory(context.schema, self.catalog, self.stage)
        found = {**context.columns, **self.at(contact, at)}
        return ContextBatch(schema, {name: found[name] for name in schema.names}, context.n)

    @cached_property
    def _sums(self) -> Sequence[tuple[Kind, _Sums]]:
        sends = _Sends(*(np.concatenate(each) for each in zip(_NONE, *map(_arrays, self._parts), strict=True)))
        return [(kind, _Sums(sends, kind.level(self.catalog, sends.action))) for kind in self._kinds]


def weights(propensity: FloatArray, eligible: IntArray) -> FloatArray:
    """(n,) weight of each send; 1 where the log has no propensity."""
    with np.errstate(divide="ignore"):
        raw = np.where(np.isnan(propensity), 1.0, 1.0 / (propensity * np.maximum(eligible, 1)))
    found: FloatArray = np.round(np.clip(raw, _LEAST, _MOST) * _GRAIN) / _GRAIN
    return found


@dataclass(frozen=True)
class _Sends:
    """m sends: keys, instants at which their stages are known, actions, weights, stages."""

    contact: KeyArray
    known_at: IntArray
    action: IntArray
    weight: FloatArray
    hit: FloatArray


def _arrays(sends: _Sends) -> tuple[np.ndarray[Any, Any], ...]:
    return (sends.contact, sends.known_at, sends.action, sends.weight, sends.hit)


_NONE: Final = tuple(np.zeros(0, dtype=kind) for kind in (np.uint64, np.int64, np.int64, np.float64, np.float64))


class _Sums:
    """Running sums of sends that have a level, contact by contact, level by level, in the order of time."""

    def __init__(self, sends: _Sends, level: IntArray) -> None:
        order = np.lexsort((sends.known_at, sends.contact, level))
        order = order[level[order] >= 0]
        self._level, self._contact, self._at = level[order], sends.contact[order], sends.known_at[order]
        weight, hit = sends.weight[order], sends.hit[order]
        self._sums = [np.concatenate([[0.0], np.cumsum(one)]) for one in (weight, weight**2, weight * hit)]

    def before(self, contact: KeyArray, level: int, at: IntArray) -> tuple[FloatArray, FloatArray]:
        """(n,) hits and effective sends of a level that were known at an instant."""
        low, high = (int(np.searchsorted(self._level, level, side=side)) for side in ("left", "right"))
        own = self._contact[low:high]
        first = low + np.searchsorted(own, contact, side="left")
        last = self._until(first, low + np.searchsorted(own, contact, side="right"), at)
        weight, squares, hits = (sums[last] - sums[first] for sums in self._sums)
        some = weight > 0.0
        sends = np.divide(weight**2, squares, out=np.zeros(len(at)), where=some)
        share = np.divide(hits, weight, out=np.zeros(len(at)), where=some)
        return sends * share, sends

    def _until(self, first: IntArray, last: IntArray, at: IntArray) -> IntArray:
        """(n,) where in each row's own stretch what was not known yet begins: a search by halves, all rows at once."""
        low, high = first.copy(), last.copy()
        while (open_ := low < high).any():
            middle = (low + high) // 2
            known = np.zeros(len(at), dtype=np.bool_)
            known[open_] = self._at[middle[open_]] <= at[open_]
            low = np.where(open_ & known, middle + 1, low)
            high = np.where(open_ & ~known, middle, high)
        return low
