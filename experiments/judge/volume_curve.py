"""The volume curve of a learnt policy on a log, and the price that gives the chosen volume."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.errors import DataError, ParameterError
from engine.features import PRESENT, FeatureSchema
from engine.names import known_name
from engine.ope.target import PolicyTarget, Remembered, Target
from engine.ope.volume_curve import SHARES, Curve, CurveRows, Cutoffs, VolumeSums
from engine.protocols import Policy
from engine.records.rounds import RoundBatch
from engine.types import HOLD, BoolArray, FloatArray
from experiments.outputs import Output
from policies.prices.use import sample_keys
from policies.vw.scoring.compiled import CompiledPolicy
from policies.wrappers.safe import SafePolicy

LEARNT, RECENCY, RANDOM = "learnt", "recency", "random"
# Metrics that are shown beside the value, where the log has them.
HARMS: Final = ("unsubscribed", "complained")
# Decisions, of the smallest hashes, on which the rankings are cut.
SAMPLE: Final = 50_000
_RECENT: Final = ("days_since_purchase", "days_since_order", "days_since_visit", "days_since_engagement", "recency")


class VolumeCurve(Output, frozen=True, kw_only=True):
    """Value and harm against the share of sends kept; figures are per decision, bands hold for a whole curve.

    Attributes:
        policy: whose scores choose the best message of each decision, and the learnt ranking.
        metric: the value; further metrics of the bands are rates of what harms.
        unit: of the value.
        recency: feature of the recency ranking; "" where the features have none.
        alpha: error of each curve's band.
        curves: of each ranking.
        prices: per share of the learnt ranking, what a send's score has to bring more than hold's, in the unit that
            the policy learnt; null where nothing is held back.
        chosen: share of the highest value of the learnt ranking; null where no share is supported.
        price: of the chosen share; null where there is none, or it is not above 0.
        overrides: of `decide` and `simulate`, that charge this price.
    """

    policy: str
    metric: str
    unit: str
    recency: str
    alpha: float
    curves: tuple[Curve, ...]
    prices: tuple[float | None, ...]
    chosen: float | None = None
    price: float | None = None
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ranked:
    """The best message of n decisions, and how each ranking orders them.

    Attributes:
        sendable: (n,) whether there is a choice: a send is eligible, and so is hold.
        best: (n,) the eligible send of the highest score; hold where there is none.
        effect: (n,) its score less hold's; 0 where there is no choice.
        recent: (n,) the more recent the higher, -inf where it is not known; None without the feature.
    """

    sendable: BoolArray
    best: np.ndarray[tuple[int], np.dtype[np.int64]]
    effect: FloatArray
    recent: FloatArray | None


def recency_feature(schema: FeatureSchema, asked: str = "", *, volume: bool = True) -> str:
    """The feature of the recency ranking: the one that was asked for, else the first that is known, else "".

    Args:
        schema: of the log.
        asked: by name.
        volume: whether there is a curve to rank for.

    Raises:
        ParameterError: no such numeric feature; it names the nearest. Or one was asked for and no curve.
    """
    if asked and not volume:
        raise ParameterError(
            "recency", "volume", allowed="only with --volume", got=asked, hint="add --volume, or leave --recency out"
        )
    numeric = [spec.name for spec in schema.features if spec.type == "numeric"]
    if not asked:
        return next((name for name in _RECENT if name in numeric), "")
    return known_name(asked, numeric, owner="volume", parameter="recency", hint="a numeric feature of the log")


class CurvePass:
    """Cuts the rankings on some decisions, then sums a log.

    Args:
        policy: gives the scores.
        metrics: the value first.
        recency: see `recency_feature`.
        rounds: decisions to cut on; their rewards play no part.
        seed: of the resamples.

    Raises:
        DataError: no decision with a choice between a send and hold.
    """

    def __init__(
        self, policy: CompiledPolicy, metrics: Sequence[str], recency: str, rounds: Iterable[RoundBatch], seed: int
    ) -> None:
        self.policy, self.recency = policy, recency
        effect, recent = self._sample(rounds)
        self._cuts = {LEARNT: Cutoffs.of(effect)} | ({RECENCY: Cutoffs.of(recent)} if recency else {})
        self._sums = VolumeSums((*self._cuts, RANDOM), metrics, SHARES, seed)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that `add` reads, the value first."""
        return self._sums.metrics

    def rank(self, batch: RoundBatch) -> Ranked:
        """Rank some decisions."""
        eligible, scores = batch.eligible_dense(), self.policy.scores(batch.context)
        sends = np.where(eligible[:, 1:], scores[:, 1:], -np.inf)
        some = eligible[:, 1:].any(axis=1)
        sendable: BoolArray = some & eligible[:, HOLD]
        best = np.where(some, 1 + sends.argmax(axis=1), HOLD)
        effect = np.where(sendable, scores[np.arange(batch.n), best] - scores[:, HOLD], 0.0)
        recent = None
        if self.recency:
            column = batch.context.columns[self.recency]
            days = column.values.astype(np.float64)
            recent = np.where((column.state == PRESENT) & ~np.isnan(days), -days, -np.inf)
        return Ranked(sendable, best, effect, recent)

    def add(self, batch: RoundBatch) -> None:
        """Sum some decisions."""
        if not batch.n:
            return
        found = self.rank(batch)
        inverse = 1.0 / batch.propensity
        otherwise = np.where(batch.eligible_dense()[:, HOLD], HOLD, found.best)
        keep = {LEARNT: self._cuts[LEARNT].keep(found.effect)}
        if found.recent is not None:
            keep[RECENCY] = self._cuts[RECENCY].keep(found.recent)
        keep[RANDOM] = np.tile(SHARES, (batch.n, 1))
        self._sums.add(
            CurveRows(
                batch.cluster,
                found.sendable,
                np.where(found.sendable & (batch.action == found.best), inverse, 0.0),
                np.where(batch.action == otherwise, inverse, 0.0),
                keep,
                batch.rewards,
            )
        )

    def result(self, unit: str, alpha: float, draws: int) -> VolumeCurve:
        """The curves and the price of the chosen share.

        Args:
            unit: of the value.
            alpha / draws: see `VolumeSums.curves`.
        """
        curves, metric = self._sums.curves(alpha, draws), self._sums.metrics[0]
        prices = tuple(float(at) if np.isfinite(at) else None for at in self._cuts[LEARNT].at)
        values = [(band.value, place) for place, p in enumerate(curves[0].points) if (band := p.bands[metric])]
        best = max(values, default=None)
        price = None if best is None else prices[best[1]]
        price = price if price is not None and price > 0.0 else None
        return VolumeCurve(
            policy=self.policy.name,
            metric=metric,
            unit=unit,
            recency=self.recency,
            alpha=alpha,
            curves=curves,
            prices=prices,
            chosen=None if best is None else SHARES[best[1]],
            price=price,
            overrides=() if price is None else price_overrides(self.policy.catalog.channels, price),
        )

    def _sample(self, rounds: Iterable[RoundBatch]) -> tuple[FloatArray, FloatArray]:
        kept: list[tuple[FloatArray, FloatArray, FloatArray]] = []
        for batch in rounds:
            found = self.rank(batch)
            rows = np.flatnonzero(found.sendable)
            recent = np.zeros(batch.n) if found.recent is None else found.recent
            kept.append((sample_keys(batch.decision_id[rows]), found.effect[rows], recent[rows]))
            if sum(len(keys) for keys, *_ in kept) > 4 * SAMPLE:
                kept = [_smallest(kept)]
        keys, effect, recent = _smallest(kept)
        if not len(keys):
            raise DataError(
                "no decision of the log has a choice between a send and hold, so there is no volume to choose",
                hint="where the log held, name that action as `hold` in the mapping",
            )
        return effect, recent


def harms_of(known: Iterable[str], metric: str) -> tuple[str, ...]:
    """Metrics of a log that are shown beside the value."""
    names = set(known)
    return tuple(name for name in HARMS if name in names and name != metric)


def asked_curve(volume: bool, recency: str) -> str:
    """The options that ask for the curve again."""
    return (" --volume" if volume else "") + (f" --recency {recency}" if recency else "")


def scored_policy(target: Target) -> CompiledPolicy | None:
    """The policy of a target, where its scores alone say what it sends."""
    inner = target.target if isinstance(target, Remembered) else target
    return scored(inner.policy) if isinstance(inner, PolicyTarget) else None


def scored(policy: Policy) -> CompiledPolicy | None:
    """The policy where its scores alone say what it sends; of one that keeps to a practice no price gives a share."""
    return policy if isinstance(policy, CompiledPolicy) and not isinstance(policy, SafePolicy) else None


def no_scores(who: str, hint: str) -> DataError:
    """The error where a policy has no curve."""
    return DataError(f"{who} is not chosen by scores alone, so no price gives a share of its sends", hint=hint)


def price_overrides(channels: Sequence[str], price: float) -> tuple[str, ...]:
    """What `decide` and `simulate` have to be told to charge a price for every send."""
    each = ", ".join(f"{channel}: {price:.6g}" for channel in channels)
    return (f"prices.channel_cost_usd={{{each}}}", "prices.charge_costs=true")


def _smallest(parts: Sequence[tuple[FloatArray, FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The decisions of the smallest keys, ordered by key."""
    if not parts:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    keys, effect, recent = (np.concatenate(side) for side in zip(*parts, strict=True))
    order = np.argsort(keys, kind="stable")[:SAMPLE]
    return keys[order], effect[order], recent[order]
