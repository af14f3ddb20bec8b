"""What moved a score: the exact additive parts of the difference between two actions' compiled scores.

A compiled score is a sum, so the difference of two is one too. What both actions share (the
context alone) cancels. Each remaining term belongs to a feature, hence to a signal group, or to none (what an action is
worth to everybody), and to a factor: the channel, the hour, the content, a pair of them, or hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.special import expit

from engine.catalog import Catalog
from engine.encoder import Encoder
from engine.errors import ParameterError
from engine.features import ContextBatch, FeatureSchema
from engine.numeric.matmul import matmul
from engine.types import HOLD, Float32Array, FloatArray
from policies.parts.tables import PartTables
from policies.vw.scoring.compiled import CompiledPolicy
from policies.vw.scoring.tables import ScoreTables

EVERYBODY: Final = "everybody"
CLIPPING: Final = "clipping"
STAGE: Final = "chance x worth"
MONEY: Final = "money"
LOSS: Final = "loss of permission"
WAITING: Final = "waiting"
_CANCELS: Final = 1e-12
_NONE: Final = np.zeros(1)
FACTORS: Final = ("channel", "hour", "content", "channel x hour", "channel x content", "hour x content", "hold")


@dataclass(frozen=True)
class Part:
    """One term of a difference of scores.

    Attributes:
        signal_group: that of the feature, or its own name where its schema gives none; `EVERYBODY` without a feature.
        feature: its name, or "" for what the action is worth to everybody.
        factor: one of `FACTORS`, `CLIPPING` where scores are clipped, or of parts against hold `STAGE`, `LOSS` and
            `WAITING`.
        value: in the metric's unit; positive speaks for the first action.
    """

    signal_group: str
    feature: str
    factor: str
    value: float


@dataclass(frozen=True)
class Comparison:
    """Why one action scores higher, or lower, than another in one context.

    Attributes:
        action / other: indices in the catalog.
        difference: score of the action - score of the other; the parts add up to it.
        parts: every term, by feature in schema order, then what is worth the same to everybody.
    """

    action: int
    other: int
    difference: float
    parts: tuple[Part, ...]

    def by(self, key: Callable[[Part], str]) -> dict[str, float]:
        """Sums of the parts by a key, the largest first; they add up to the difference."""
        sums: dict[str, float] = {}
        for part in self.parts:
            sums[key(part)] = sums.get(key(part), 0.0) + part.value
        return dict(sorted(sums.items(), key=lambda item: (-abs(item[1]), item[0])))


def group_of(schema: FeatureSchema) -> dict[str, str]:
    """Feature -> its signal group; a feature without one is a group of its own."""
    return {spec.name: spec.signal_group or spec.name for spec in schema.features}


def compare(policy: CompiledPolicy, context: ContextBatch, action: int, other: int) -> Comparison:
    """Take the difference of two actions' scores in one context apart.

    Of an ensemble the mean score of its members is explained, not their votes.

    Args:
        context: one row.
        action / other: indices in the policy's catalog.

    Raises:
        ParameterError: not one row, or no such action.
        DataError: the context has another schema.
    """
    k = policy.catalog.k
    if context.n != 1 or not (0 <= action < k and 0 <= other < k):
        raise ParameterError(
            "context", "compare", allowed=f"one row, actions in 0..{k - 1}", got=(context.n, action, other)
        )
    x, tables = policy.encoder.encode(context), policy.tables
    scores = tables.scores(x)[0]
    difference = float(scores[action] - scores[other])
    groups = group_of(context.schema)
    if isinstance(tables, PartTables):
        found = _by_part(policy, tables, groups, x, action, other)
        return Comparison(action, other, difference, found)
    first, second = (_weights(tables, policy.catalog, one) for one in (action, other))
    parts = _parts(policy.encoder, groups, x[0].astype(np.float64), first, second)
    clipped = _clipped(tables, x[0], first, second)
    if clipped:
        parts.append(Part(EVERYBODY, "", CLIPPING, clipped))
    return Comparison(action, other, difference, tuple(parts))


def in_words(policy: CompiledPolicy, context: ContextBatch, action: int) -> str | None:
    """The parts of an action's score as one sum: "0.0310 chance of clicked x 9.2000 - 0.0120 sending = 0.2732".

    Args:
        policy: None is said of one that knows no parts.
        context: one row.
        action: hold or a send.

    Raises:
        DataError: the context has another schema.
    """
    tables = policy.tables
    if not isinstance(tables, PartTables):
        return None
    x = policy.encoder.encode(context)
    parts = {name: float(value[0]) for name, value in tables.parts(x, action).items()}
    summands = []
    if "chance" in parts:
        summands.append(f"{parts.pop('chance'):.4f} chance of {tables.stage} x {parts.pop('worth'):.4f}")
    money = "beside it" if summands else "expected money"
    for name, value in parts.items():
        # As many decimals as are printed; a float32 that was rounded is no part of its own.
        if abs(value) < 5e-5 and summands:
            continue
        sign = ("- " if value < 0.0 else "+ ") if summands else ("-" if value < 0.0 else "")
        summands.append(f"{sign}{abs(value):.4f} {money if name == MONEY else name}")
    return f"{' '.join(summands)} = {float(tables.scores(x)[0, action]):.4f}"


def _by_part(
    policy: CompiledPolicy, tables: PartTables, groups: dict[str, str], x: Float32Array, action: int, other: int
) -> tuple[Part, ...]:
    """The terms of a difference of chance x worth + money - losses; they add up to it.

    A product's difference is split evenly, p w - q v = (p - q) (w + v) / 2 + (w - v) (p + q) / 2, and the difference of
    a chance among the terms of its log odds in proportion. Against hold, what a send has by its stage is taken apart by
    `_stage_over_hold`.
    """
    row, d = x[0].astype(np.float64), policy.encoder.d

    def terms(of: ScoreTables, gap: float) -> list[Part]:
        first, second = (_weights(of, policy.catalog, one) for one in (action, other))
        own = _parts(policy.encoder, groups, row, first, second)
        total = sum(part.value for part in own)
        # Terms that cancel say nothing of where a difference comes from.
        if abs(total) < _CANCELS:
            return [Part(EVERYBODY, "", "content", gap)] if gap else []
        return [replace(part, value=part.value * gap / total) for part in own]

    if d != tables.d:
        raise ParameterError("policy", "compare", allowed="tables of its encoder", got=tables.d)
    money = tables.money.scores(x)[0]
    found = terms(tables.money, float(money[action] - money[other]))
    first, second = (tables.parts(x, one) for one in (action, other))
    for loss in tables.losses:
        gap = float(first.get(loss.name, _NONE)[0] - second.get(loss.name, _NONE)[0])
        found += terms(loss.odds, gap) if HOLD not in (action, other) else [Part(EVERYBODY, "", LOSS, gap)]
    if tables.waiting is not None:
        gap = float(first.get(WAITING, _NONE)[0] - second.get(WAITING, _NONE)[0])
        found.append(Part(groups[tables.waiting.feature], tables.waiting.feature, WAITING, gap))
    if tables.chance is not None and tables.worth is not None:
        p, w, q, v = (float(one.get(name, _NONE)[0]) for one in (first, second) for name in ("chance", "worth"))
        if HOLD in (action, other):
            sign, send, gain = (1.0, action, p * w) if action != HOLD else (-1.0, other, q * v)
            found += _stage_over_hold(policy, tables.chance, groups, x, send, sign * gain)
            found.append(Part(EVERYBODY, "", STAGE, p * w - q * v - sign * gain))
        else:
            found += terms(tables.chance, (p - q) * (w + v) / 2) + terms(tables.worth, (w - v) * (p + q) / 2)
    return tuple(part for part in found if part.value)


def _stage_over_hold(
    policy: CompiledPolicy, chance: ScoreTables, groups: dict[str, str], x: Float32Array, send: int, value: float
) -> list[Part]:
    """What a send has by its stage: what it would have for a contact of whom nothing is known, and what features add.

    Features share the difference of the two chances in proportion to their terms of the log odds.
    """
    plain, own = (float(expit(chance.scores(one)[0, send])) for one in (np.zeros_like(x), x))
    weights = _weights(chance, policy.catalog, send)
    vector = weights.base + sum(weights.vectors.values())
    terms = {
        coding.name: float(matmul(x[0, columns].astype(np.float64), vector[columns]))
        for coding, columns in policy.encoder.places
    }
    total = sum(terms.values())
    if abs(total) < _CANCELS or not own:
        return [Part(EVERYBODY, "", STAGE, value)]
    by_feature = value * (own - plain) / own / total
    parts = [Part(groups[name], name, STAGE, term * by_feature) for name, term in terms.items() if term]
    return [*parts, Part(EVERYBODY, "", STAGE, value * plain / own)]


@dataclass(frozen=True)
class _Weights:
    """An action's own weights: (d + 1,) vectors and constants, by factor; the shared base is apart."""

    base: FloatArray
    vectors: dict[str, FloatArray]
    constants: dict[str, float]


def _weights(tables: ScoreTables, catalog: Catalog, action: int) -> _Weights:
    base = tables.base.astype(np.float64)
    if action == HOLD:
        return _Weights(base, {"hold": tables.hold.astype(np.float64)}, {})
    channel, hour, arm = (int(place[0]) for place in catalog.split(np.array([action])))
    vectors = {"channel": tables.channel[channel], "hour": tables.hour[hour], "content": tables.arm[arm]}
    return _Weights(
        base,
        {factor: vector.astype(np.float64) for factor, vector in vectors.items()},
        {
            "channel x hour": float(tables.channel_hour[channel, hour]),
            "channel x content": float(tables.channel_arm[channel, arm]),
            "hour x content": float(tables.hour_arm[hour, arm]),
        },
    )


def _parts(encoder: Encoder, groups: dict[str, str], x: FloatArray, first: _Weights, second: _Weights) -> list[Part]:
    parts = []
    zero = np.zeros(encoder.d + 1)
    gaps = {
        factor: first.vectors.get(factor, zero) - second.vectors.get(factor, zero)
        for factor in FACTORS
        if factor in first.vectors or factor in second.vectors
    }
    for coding, columns in encoder.places:
        for factor, gap in gaps.items():
            value = float(matmul(x[columns], gap[columns]))
            if value:
                parts.append(Part(groups[coding.name], coding.name, factor, value))
    constants = {factor: float(gap[-1]) for factor, gap in gaps.items()}
    for factor in FACTORS:
        constants[factor] = (
            constants.get(factor, 0.0) + first.constants.get(factor, 0.0) - second.constants.get(factor, 0.0)
        )
    return parts + [Part(EVERYBODY, "", factor, value) for factor, value in constants.items() if value]


def _clipped(
    tables: ScoreTables, x: np.ndarray[tuple[int], np.dtype[np.float32]], first: _Weights, second: _Weights
) -> float:
    """Measure what the clipping of the scores changes in the difference."""
    low, high = (float(limit) for limit in tables.limits)
    if not np.isfinite([low, high]).any():
        return 0.0
    wide = np.append(x.astype(np.float64), 1.0)
    changed = []
    for one in (first, second):
        raw = float(matmul(wide, one.base + sum(one.vectors.values()))) + sum(one.constants.values())
        changed.append(min(max(raw, low), high) - raw)
    return changed[0] - changed[1]
