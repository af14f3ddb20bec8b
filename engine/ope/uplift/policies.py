"""Whom the message helps on a log, and how well each policy's chance to send says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
from scipy.special import ndtri

from engine.errors import DataError, ParameterError
from engine.ope.sums.ratios import PointEstimate
from engine.ope.target import Target
from engine.ope.uplift.curve import UpliftSums, auuc, qini
from engine.ope.uplift.effects import effects, rule_difference, rule_gain
from engine.records.rounds import RoundBatch
from engine.types import HOLD, BoolArray, FloatArray, KeyArray

# The curve is drawn at these chances to send; a rule sends where the chance is at least a half.
THRESHOLDS: Final = tuple(place / 20 for place in range(20, 0, -1))
RULE: Final = 0.5


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A figure in the metric's unit with its interval; None where there is no error."""

    value: float
    stderr: float | None
    low: float | None
    high: float | None


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """The rows whose score is at least a threshold.

    Attributes:
        threshold: The score.
        share: Their share of all rows.
        gain: What sending to them alone adds per row, over sending to nobody.
        stderr: The standard error of the gain.
    """

    threshold: float
    share: float
    gain: float
    stderr: float | None


class Uplift(msgspec.Struct, frozen=True, kw_only=True):
    """How well a policy's probability of sending orders the rows by what the message does to them.

    Attributes:
        policy: The policy's name.
        rows: The rows that could have been sent to and could have been held; the figures are over them.
        left_out: The other rows.
        everybody: The mean effect of the message: the gain per row of sending to everybody over sending to nobody.
        rule: The gain of sending where the policy's probability of sending is at least a half.
        over_everybody: That rule over sending to everybody.
        auuc: The area under the uplift curve.
        qini: That area less the one of a score that knows nothing.
        curve: The gain at falling thresholds of the probability of sending.
    """

    policy: str
    rows: int
    left_out: int
    everybody: Figure
    rule: Figure
    over_everybody: Figure
    auuc: Figure
    qini: Figure
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class _Rows:
    """Scores (policies, n), effects (n,) and cluster keys (n,) of the rows of a chunk."""

    chunk: int
    score: FloatArray
    effect: FloatArray
    cluster: KeyArray


@dataclass
class UpliftState:
    """Scores and effects of a log's rows; memory grows with the rows, 16 bytes each and 8 more for each policy.

    A score is a policy's probability of sending anything. The effect is that of the messages that the log sends, by
    inverse propensities (`engine.ope.uplift.effects`).

    Attributes:
        targets: Policies that give their whole distribution.
        metric: A key in `RoundBatch.rewards`.
        logging: The policy that decided the log; None where every row could be sent one message at most, so that the
            propensity of a send is that of sending.

    Raises:
        ParameterError: no target, or one that gives the logged action's probability only.
    """

    targets: Sequence[Target]
    metric: str
    logging: Target | None = None
    _parts: list[_Rows] = field(default_factory=list, init=False)
    _seen: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        partial = [target.name for target in (*self.targets, self.logging) if target and not target.knows_all]
        if not self.targets or partial:
            raise ParameterError(
                "uplift", "evaluate", allowed="asked of policies that give their whole distribution", got=partial
            )

    def add(self, batch: RoundBatch) -> None:
        """Add a chunk of usable rows whose metric and propensity are known.

        Raises:
            DataError: a row that could be sent several messages while the logging policy is not known.
        """
        self._seen += batch.n
        sending = self._sending(batch)
        possible = (sending > 0) & (sending < 1)
        kept = batch.take(possible)
        if not kept.n:
            return
        effect = effects(kept.action != HOLD, kept.rewards[self.metric], sending[possible])
        self._parts.append(
            _Rows(batch.chunk, np.stack([_sends(target, kept) for target in self.targets]), effect, kept.cluster)
        )

    def merge(self, other: UpliftState) -> None:
        """Take over the rows of another state of the same policies."""
        self._parts += other._parts
        self._seen += other._seen

    def results(self, alpha: float, *, clustered: bool) -> tuple[Uplift, ...]:
        """The figures of each policy.

        Args:
            alpha: Error of the intervals, in (0, 1).
            clustered: Whether rows of one cluster depend on each other.

        Raises:
            DataError: no row could have been both sent to and held, or a chunk was added twice.
        """
        if not self._parts:
            raise DataError("no row of the log could have been sent to and could have been held: there is no effect")
        parts = sorted(self._parts, key=lambda part: part.chunk)
        effect = np.concatenate([part.effect for part in parts])
        cluster = np.concatenate([part.cluster for part in parts]) if clustered else None
        everybody = np.ones(len(effect), dtype=np.bool_)

        def figure(estimate: PointEstimate) -> Figure:
            if math.isnan(estimate.stderr):
                return Figure(value=estimate.value, stderr=None, low=None, high=None)
            reach = float(ndtri(1 - alpha / 2)) * estimate.stderr
            value = estimate.value
            return Figure(value=value, stderr=estimate.stderr, low=value - reach, high=value + reach)

        found = []
        for place, target in enumerate(self.targets):
            score = np.concatenate([part.score[place] for part in parts])
            send: BoolArray = score >= RULE
            found.append(
                Uplift(
                    policy=target.name,
                    rows=len(effect),
                    left_out=self._seen - len(effect),
                    everybody=figure(rule_gain(everybody, effect, cluster=cluster)),
                    rule=figure(rule_gain(send, effect, cluster=cluster)),
                    over_everybody=figure(rule_difference(send, everybody, effect, cluster=cluster)),
                    auuc=figure(auuc(score, effect, cluster)),
                    qini=figure(qini(score, effect, cluster)),
                    curve=_curve(parts, place),
                )
            )
        return tuple(found)

    def _sending(self, batch: RoundBatch) -> FloatArray:
        """(n,) probability of sending under the log; 0 or 1 where the row could not be sent to, or not be held."""
        eligible = batch.eligible_dense()
        sends = eligible[:, HOLD + 1 :].sum(axis=1)
        if self.logging is not None:
            sending = _sends(self.logging, batch)
        elif (eligible[:, HOLD] & (sends > 1)).any():
            raise DataError(
                "rows could be sent several messages: the propensity of one is not that of sending",
                hint="name the policy that decided the log: evaluation.logging=...",
            )
        else:
            sending = np.where(batch.action == HOLD, 1.0 - batch.propensity, batch.propensity)
        return np.where(sends == 0, 0.0, np.where(eligible[:, HOLD], sending, 1.0))


def _sends(target: Target, batch: RoundBatch) -> FloatArray:
    """(n,) a target's probability of sending anything."""
    full = target.probabilities(batch).full
    if full is None:
        raise DataError(f"{target.name!r} does not give its whole distribution")
    # A sum of the sends would differ from 1 by rounding where nothing is held.
    return np.clip(1.0 - full[:, HOLD], 0.0, 1.0)


def _curve(parts: Sequence[_Rows], place: int) -> tuple[CurvePoint, ...]:
    sums = UpliftSums(THRESHOLDS)
    for part in parts:
        sums.add(part.chunk, part.score[place], part.effect)
    curve = sums.result()
    columns = zip(curve.threshold, curve.share, curve.gain, curve.stderr, strict=True)
    return tuple(
        CurvePoint(
            threshold=float(threshold),
            share=float(share),
            gain=float(gain),
            stderr=None if math.isnan(stderr) else float(stderr),
        )
        for threshold, share, gain, stderr in columns
    )
