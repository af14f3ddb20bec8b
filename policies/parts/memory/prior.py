"""How far contacts differ beyond chance, by empirical Bayes, and the codings that follow from it.

With all sends of a contact, S hits where E = sends x everybody's rate were expected, the variance 1 / k of the factor
among contacts is found by moments (Marshall, Applied Statistics 40, 1991; Casella, The American Statistician 39, 1985,
shows the idea):

    1 / k = sum((S - E)^2 - E (1 - rate)) / sum(E^2)

Of a contact with N sends and S hits, chance alone puts s of them on a level by the hypergeometric law, q the level's
share of what was expected. What the squares exceed its variance by is that of the level's factor against the others:

    v = sum((s - S q)^2 - S q (1 - q) (N - S) / (N - 1)) / sum(S (S - 1) q^2 (1 - q)^2)

Where each of L levels has a gamma factor of its own and q = 1 / L, the share is Dirichlet and v is exactly
L^2 / ((L - 1) (L k + 1)); so k = 1 / (v (1 - 1 / L)) - 1 / L. Where the sum is not above 0 contacts do not differ, and
nothing is coded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.encoder import Encoder, MemoryCoding
from engine.features import PRESENT
from engine.records.rounds import RoundBatch
from engine.types import FloatArray, IntArray
from policies.parts.memory.columns import ALL, GROUP, Kind, kinds

# With fewer hits no rate can be told.
LEAST_HITS: Final = 50.0
_TWO: Final = 2.0
_WEAKEST: Final = 0.1


@dataclass(frozen=True)
class Recall:
    """One term of a regression: what the contact's past says of sends like this one, one weight for all levels.

    Attributes:
        kind: of the sends that are alike.
        columns: (C,), (H,) or (K,) column of the encoded context for each position of the kind's axis; -1 for none.
        strength: k, in expected hits.
    """

    kind: Kind
    columns: tuple[int, ...]
    strength: float

    @property
    def name(self) -> str:
        return f"{GROUP}.{self.kind.name}"


def without_memory(encoder: Encoder) -> Encoder:
    """The encoder without anything of a contact's past: neither codings of it nor its counts as plain numbers."""
    kept = tuple(one for one in encoder.codings if not one.name.startswith(f"{GROUP}."))
    return msgspec.structs.replace(encoder, codings=kept)


def codings_of(batches: Sequence[RoundBatch], catalog: Catalog, stage: str) -> tuple[MemoryCoding, ...]:
    """A coding for every level of every kind in which contacts differ.

    Args:
        batches: every decision of some contacts; the counts are those of each contact's last one.
        catalog: of the actions.
        stage: that the counts are of; kinds whose counts the context lacks are left out.
    """
    known = set(batches[0].context.schema.names) if batches else set()
    found = {kind.name: kind for kind in kinds(catalog) if known.issuperset(sum(kind.features(stage), ()))}
    if ALL not in found:
        return ()
    last = _last_rows(batches, found[ALL].features(stage)[0][1])
    codings: list[MemoryCoding] = []
    whole = _whole(last, found.pop(ALL).features(stage)[0])
    if whole is not None:
        codings.append(whole)
    for kind in found.values():
        codings += _levels(last, kind.features(stage), whole)
    return tuple(codings)


def recalls(encoder: Encoder, catalog: Catalog, stage: str) -> tuple[Recall, ...]:
    """The terms of an encoder's codings of the past."""
    coded = {one.name: one for one in encoder.codings if isinstance(one, MemoryCoding)}
    at = {name: position for position, name in enumerate(encoder.column_names)}
    out = []
    for kind in kinds(catalog):
        names = [hits for hits, _ in kind.features(stage)]
        strengths = [coded[name].strength for name in names if name in coded]
        if strengths:
            columns = tuple(at.get(names[level], -1) if level >= 0 else -1 for level in kind.of)
            out.append(Recall(kind, columns, strengths[0]))
    return tuple(out)


def remembered_words(chosen: Sequence[Recall], saved: tuple[float, float] | None, stage: str) -> str:
    """A sentence on whether the contact's own past is used, and by which kinds of sends."""
    by_how_much = "" if saved is None else f" (log loss saved per held-out row: {saved[0]:.5f}, error {saved[1]:.5f})"
    if not chosen:
        return (
            f"What a contact reached before says no more of {stage} than its features do{by_how_much}: it is left out."
        )
    named = ", ".join(f"{one.kind.name} (k {one.strength:.3g})" for one in chosen)
    return f"The chance of {stage} remembers what the contact reached before, by {named}{by_how_much}."


class _Last:
    """Counts of each contact's last decision."""

    def __init__(self, batches: Sequence[RoundBatch], rows: Sequence[IntArray]) -> None:
        self._batches, self._rows = batches, rows

    def counts(self, name: str) -> FloatArray:
        """(contacts,) values; 0 where missing or stale."""
        found = []
        for batch, rows in zip(self._batches, self._rows, strict=True):
            column = batch.context.columns[name].take(rows)
            found.append(np.where(column.state == PRESENT, column.values, 0.0).astype(np.float64))
        return np.concatenate(found)


def _last_rows(batches: Sequence[RoundBatch], sends: str) -> _Last:
    """The row of each contact with the newest instant, and of these with the most sends."""
    column = _Last(batches, [np.arange(batch.n, dtype=np.int64) for batch in batches]).counts(sends)
    cluster = np.concatenate([batch.cluster for batch in batches])
    at = np.concatenate([batch.decided_at for batch in batches])
    order = np.lexsort((column, at, cluster))
    final = np.append(cluster[order][1:] != cluster[order][:-1], True)
    newest = np.zeros(len(order), dtype=np.bool_)
    newest[order[final]] = True
    stops = np.cumsum([batch.n for batch in batches])[:-1]
    return _Last(batches, [np.flatnonzero(own).astype(np.int64) for own in np.split(newest, stops)])


def _whole(last: _Last, names: tuple[str, str]) -> MemoryCoding | None:
    hits, sends = (last.counts(name) for name in names)
    if hits.sum() < LEAST_HITS:
        return None
    rate = float(hits.sum() / sends.sum())
    expected = sends * rate
    variance = float(((hits - expected) ** 2 - expected * (1.0 - rate)).sum() / (expected**2).sum())
    return MemoryCoding(*names, rate, 1.0 / variance) if variance > 0.0 else None


def _levels(last: _Last, names: Sequence[tuple[str, str]], whole: MemoryCoding | None) -> list[MemoryCoding]:
    hits, sends = (np.column_stack([last.counts(pair[at]) for pair in names]) for at in (0, 1))
    if hits.sum() < LEAST_HITS:
        return []
    rates = hits.sum(axis=0) / np.maximum(sends.sum(axis=0), 1.0)
    expected = sends * rates
    total, all_expected = hits.sum(axis=1), expected.sum(axis=1)
    some = (total >= _TWO) & (all_expected > 0.0)
    hits, total, messages = hits[some], total[some, None], sends[some].sum(axis=1, keepdims=True)
    q = expected[some] / all_expected[some, None]
    chance = q * (1.0 - q)
    scale = float((total * (total - 1.0) * chance**2).sum())
    drawn = np.maximum(messages - total, 0.0) / np.maximum(messages - 1.0, 1.0)
    excess = float(((hits - total * q) ** 2 - total * chance * drawn).sum())
    if scale <= 0.0 or excess <= 0.0:
        return []
    many = len(names)
    strength = max(scale / (excess * (1.0 - 1.0 / many)) - 1.0 / many, _WEAKEST)
    return [
        MemoryCoding(*pair, float(rate), strength, whole) for pair, rate in zip(names, rates, strict=True) if rate > 0.0
    ]
