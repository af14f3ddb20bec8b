"""What keeping fewer sends would have brought: values against the share of sends kept, with simultaneous bands.

A ranking orders the decisions that may send something; at a share v the best message goes to the first v of them and
nothing to the others. Of every decision that is a known policy, with probability K_v of its best message a* and 1 - K_v
of hold, so its value is self-normalised importance sampling with the weight

    w_v = K_v [A = a*] / p + (1 - K_v) [A = hold] / p

(Swaminathan & Joachims, NIPS 2015). Where nothing but one action is eligible it is taken at every share. The mean of
w_v is 1 wherever the log could have taken what the policy takes. A share where it is not (of a log that never held,
say) has no figure: self-normalising would value other contacts in the place of those that the log says nothing about.

All shares share their rows, so their errors move together, and one band holds for the whole curve: max-t over the
influences of contacts, or of buckets of them where they are many, so that memory does not grow with the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from engine.errors import ParameterError
from engine.ope.intervals.simultaneous import max_t_quantile
from engine.ope.sums.bootstrap import BucketSums
from engine.ope.support import SupportRule
from engine.types import BoolArray, FloatArray, KeyArray

SHARES: Final = tuple(place / 20 for place in range(1, 21))
# Below so many effective rows a share has no figure: its band would promise more than it holds.
LEAST_EFFECTIVE: Final = 50.0
# The same for effective rows whose reward is not 0: a rate without events would have a band without width.
LEAST_EVENTS: Final = 20.0
_NANO: Final = 1e9
_PER_METRIC: Final = 4


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """A figure per decision, and the band that holds for all shares of its curve at once."""

    value: float
    stderr: float
    low: float
    high: float


class VolumePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One share of a curve.

    Attributes:
        share: that was asked for.
        kept: share of the log's decisions with a choice that get a send.
        sends_per_1000: expected messages per 1,000 decisions, of those with a choice.
        effective: effective rows of the weights.
        bands: metric -> its figure; null where the log supports too little.
    """

    share: float
    kept: float
    sends_per_1000: float
    effective: float
    bands: dict[str, Band | None]


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """One ranking's curve, by ascending share."""

    ranking: str
    points: tuple[VolumePoint, ...]


@dataclass(frozen=True)
class Cutoffs:
    """Where a ranking is cut for every share, ties by chance.

    Attributes:
        at: (G,) the decision is kept above it; -inf keeps all.
        ties: (G,) probability to be kept exactly there.
    """

    at: FloatArray
    ties: FloatArray

    @classmethod
    def of(cls, sample: FloatArray, shares: Sequence[float] = SHARES) -> Cutoffs:
        """The cuts that keep these shares of a sample (m,) of rank values, of which higher ones are kept first.

        Raises:
            ParameterError: no sample, NaN in it, or a share outside (0, 1].
        """
        if not len(sample) or np.isnan(sample).any():
            raise ParameterError("sample", "Cutoffs", allowed="at least one number, none of them NaN", got=len(sample))
        if not all(0.0 < share <= 1.0 for share in shares):
            raise ParameterError("shares", "Cutoffs", allowed="in (0, 1]", got=tuple(shares))
        ordered = np.sort(sample)[::-1]
        count = np.asarray(shares) * len(ordered)
        at = ordered[np.maximum(np.ceil(count - 1e-9).astype(np.int64) - 1, 0)]
        above = np.searchsorted(-ordered, -at, side="left")
        equal = np.searchsorted(-ordered, -at, side="right") - above
        whole = np.asarray(shares) >= 1.0
        # Whoever ranks below the whole sample is kept too where all are.
        return cls(np.where(whole, -np.inf, at), np.where(whole, 1.0, (count - above) / equal))

    def keep(self, ranks: FloatArray) -> FloatArray:
        """(n,) rank values -> (n, G) probability that each is kept."""
        tied = ranks[:, None] == self.at
        return np.where(ranks[:, None] > self.at, 1.0, np.where(tied, self.ties, 0.0))


@dataclass(frozen=True)
class CurveRows:
    """n logged decisions.

    Attributes:
        cluster: (n,) keys of the contacts.
        sendable: (n,) whether there was a choice: a send was eligible, and so was hold.
        send / hold: (n,) 1 / propensity where the log took the best eligible send, or what is done without it: hold,
            or that send where hold was not eligible; else 0.
        keep: ranking -> (n, G) probability to be kept, where something may be sent.
        rewards: metric -> (n,); NaN where it is not known.
    """

    cluster: KeyArray
    sendable: BoolArray
    send: FloatArray
    hold: FloatArray
    keep: Mapping[str, FloatArray]
    rewards: Mapping[str, FloatArray]


class VolumeSums:
    """Sums over a stream of decisions, flat in memory.

    Args:
        rankings / metrics: names.
        shares: ascending, in (0, 1].
        seed: of the buckets and the resamples.
        rule: how far the mean weight may lie from 1, how many units there must be, and how much of a variance one of
            them may carry.
    """

    def __init__(
        self,
        rankings: Sequence[str],
        metrics: Sequence[str],
        shares: Sequence[float] = SHARES,
        seed: int = 0,
        rule: SupportRule | None = None,
    ) -> None:
        self.rankings, self.metrics, self.shares = tuple(rankings), tuple(metrics), tuple(shares)
        self._seed, self._rows, self._sendable = seed, 0, 0
        self._rule = SupportRule() if rule is None else rule
        self._kept = {name: np.zeros(len(self.shares), dtype=np.int64) for name in self.rankings}
        # Per ranking and share: the weight squared; per metric the weight of known rows, the weighted reward, its size
        # and its square.
        columns = len(self.rankings) * len(self.shares) * (1 + _PER_METRIC * len(self.metrics))
        self._sums = BucketSums(columns, seed)
        # All rows, also those without a weight; per metric those that know it.
        self._counts = BucketSums(1 + len(self.metrics), seed)

    def add(self, rows: CurveRows) -> None:
        """Sum some decisions; rows of one contact may come apart."""
        self._rows += len(rows.cluster)
        self._sendable += int(rows.sendable.sum())
        if not len(rows.cluster):
            return
        each = [np.ones(len(rows.cluster)), *(~np.isnan(rows.rewards[name]) for name in self.metrics)]
        self._counts.add(rows.cluster, np.stack(each, axis=1).astype(np.float64))
        some = np.flatnonzero((rows.send > 0.0) | (rows.hold > 0.0))
        known = {name: ~np.isnan(rows.rewards[name][some]) for name in self.metrics}
        reward = {name: np.where(known[name], rows.rewards[name][some], 0.0) for name in self.metrics}
        columns = []
        for name in self.rankings:
            keep = np.where(rows.sendable[:, None], rows.keep[name], 0.0)
            self._kept[name] += np.rint(keep * _NANO).astype(np.int64).sum(axis=0)
            kept = keep[some]
            weight = kept * rows.send[some, None] + (1.0 - kept) * rows.hold[some, None]
            columns.append(weight * weight)
            for metric in self.metrics:
                product = weight * reward[metric][:, None]
                columns += [weight * known[metric][:, None], product, np.abs(product), product * product]
        if len(some):
            self._sums.add(rows.cluster[some], np.concatenate(columns, axis=1))

    def curves(self, alpha: float, draws: int = 1000) -> tuple[Curve, ...]:
        """The curves.

        Args:
            alpha: error of each whole curve of each metric, in (0, 1).
            draws: resamples of the largest |t|.
        """
        counts, size = self._counts.buckets(), len(self.shares)
        filled = counts[:, 0] > 0
        counts, units = counts[filled], self._sums.buckets()[filled]
        width = size * (1 + _PER_METRIC * len(self.metrics))
        out = []
        for place, name in enumerate(self.rankings):
            own = units[:, place * width : (place + 1) * width]
            bands: dict[str, list[Band | None]] = {}
            effective = np.zeros(size)
            for at, metric in enumerate(self.metrics):
                first = 1 + _PER_METRIC * at
                weight, product, events, squared = (
                    own[:, size * (first + side) :][:, :size] for side in range(_PER_METRIC)
                )
                if not at:
                    effective = _effective(weight, own[:, :size])
                fine = (effective >= LEAST_EFFECTIVE) & (_effective(events, squared) >= LEAST_EVENTS)
                fine &= self._supported(weight, counts[:, 1 + at])
                bands[metric] = self._bands(weight, product, fine, alpha, draws)
            kept = self._kept[name] / _NANO
            out.append(
                Curve(
                    ranking=name,
                    points=tuple(
                        VolumePoint(
                            share=self.shares[g],
                            kept=float(kept[g] / max(self._sendable, 1)),
                            sends_per_1000=float(1000.0 * kept[g] / max(self._rows, 1)),
                            effective=float(effective[g]),
                            bands={metric: bands[metric][g] for metric in self.metrics},
                        )
                        for g in range(size)
                    ),
                )
            )
        return tuple(out)

    def _supported(self, weight: FloatArray, known: FloatArray) -> BoolArray:
        """(G,) whether the mean weight of the known rows is near 1, of (u, G) sums of weights and (u,) rows."""
        rows = max(float(known.sum()), 1.0)
        mean = weight.sum(axis=0) / rows
        spread = np.sqrt(((weight - mean * known[:, None]) ** 2).sum(axis=0)) / rows
        allowed = self._rule.mean_weight_sigmas * spread + self._rule.mean_weight_slack
        supported: BoolArray = (np.abs(mean - 1.0) <= allowed) & (np.count_nonzero(known) >= self._rule.min_clusters)
        return supported

    def _bands(
        self, weight: FloatArray, product: FloatArray, fine: BoolArray, alpha: float, draws: int
    ) -> list[Band | None]:
        total = weight.sum(axis=0)
        safe = np.where(total > 0.0, total, 1.0)
        value = product.sum(axis=0) / safe
        influence = (product - value * weight) / safe
        square = influence**2
        fine = fine & (total > 0.0) & (square.max(axis=0) <= self._rule.max_cluster_error_share * square.sum(axis=0))
        out: list[Band | None] = [None] * len(fine)
        if not fine.any():
            return out
        value, influence = value[fine], influence[:, fine]
        error = np.sqrt((influence**2).sum(axis=0) * len(weight) / (len(weight) - 1))
        reach = max_t_quantile(influence, draws, self._seed, alpha)
        for place, g in enumerate(np.flatnonzero(fine).tolist()):
            own, by = float(value[place]), float(reach * error[place])
            out[g] = Band(value=own, stderr=float(error[place]), low=own - by, high=own + by)
        return out


def _effective(sums: FloatArray, squares: FloatArray) -> FloatArray:
    """(G,) Kish's effective number of rows, from (u, G) sums of weights and of their squares."""
    total, square = sums.sum(axis=0), squares.sum(axis=0)
    out: FloatArray = np.where(square > 0.0, total**2 / np.where(square > 0.0, square, 1.0), 0.0)
    return out
