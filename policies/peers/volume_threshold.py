"""A volume threshold on the uplift of sending: the best message to those whom it moves most, hold for the others."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from engine.eligibility import require_eligible
from engine.encoder import Encoder
from engine.errors import LearnError, ParameterError
from engine.features import ContextBatch
from engine.records.rounds import RoundBatch
from engine.types import HOLD, BoolArray, FloatArray
from policies.exploring.exploration import one_hot_best
from policies.vw.scoring.tables import ScoreTables


class VolumeThreshold:
    """Send the eligible send with the highest predicted reward where it beats hold by more than the threshold.

    Source: Gupta, Liang, Tseng, Holur Vijay, Chen & Rosales, "Email Volume Optimization at LinkedIn", KDD 2016.
    max sum_i z_i u_i subject to sum_i z_i <= volume, 0 <= z_i <= 1, has the solution z_i = 1 [u_i > threshold], where
    u_i is the predicted effect of sending to i and the threshold is the limit's dual price: that of one message.

    Args:
        encoder: the encoder of the context.
        tables: predicted rewards of every action, for instance `VwRewardModel.fitted.tables`.
        threshold: in reward units; finite, or infinite to hold always.

    Raises:
        ParameterError: a threshold that is no number.
    """

    name = "volume_threshold"

    def __init__(self, encoder: Encoder, tables: ScoreTables, threshold: float) -> None:
        if np.isnan(threshold):
            raise ParameterError("threshold", "VolumeThreshold", allowed="a number", got=threshold)
        self.threshold = float(threshold)
        self._encoder, self._tables = encoder, tables

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """(n, k) one-hot; without an eligible hold the best send goes, however little it moves.

        Raises:
            EligibilityError: a row without an eligible action.
            DataError: the context has another schema.
        """
        scores = self._tables.scores(self._encoder.encode(context))
        gain = uplift(scores, eligible)
        scores[:, HOLD] = np.where(gain > self.threshold, -np.inf, np.inf)
        # Where hold alone is eligible its gain is -inf and it stays the best.
        return one_hot_best(scores, eligible)


def uplift(scores: FloatArray, eligible: BoolArray) -> FloatArray:
    """(n,) predicted reward of the best eligible send minus that of hold; -inf where nothing may be sent.

    Args:
        scores: (n, k).
        eligible: (n, k).

    Raises:
        EligibilityError: a row without an eligible action.
    """
    require_eligible(eligible)
    best = np.where(eligible[:, 1:], scores[:, 1:], -np.inf).max(axis=1, initial=-np.inf)
    gain: FloatArray = best - scores[:, HOLD]
    return gain


def tune_volume(rounds: Iterable[RoundBatch], encoder: Encoder, tables: ScoreTables, volume: float) -> VolumeThreshold:
    """The threshold at which at most a share `volume` of logged rounds would have been sent to, and none that harms.

    It is the largest of 0 and the (1 - volume) quantile of the uplift over all usable rounds.

    Args:
        rounds: their contexts and eligible sets are read, nothing else.
        volume: in [0, 1].

    Raises:
        ParameterError: volume outside [0, 1].
        LearnError: no usable round.
    """
    if not 0.0 <= volume <= 1.0:
        raise ParameterError("volume", "tune_volume", allowed="in [0, 1]", got=volume)
    gains = []
    for batch in rounds:
        rows = batch.take(batch.usable)
        gains.append(uplift(tables.scores(encoder.encode(rows.context)), rows.eligible_dense()))
    every = np.sort(np.concatenate(gains)) if gains else np.zeros(0)
    if not len(every):
        raise LearnError("there are no usable rounds to learn from", hint="check the split and the dropped rows")
    sends = int(volume * len(every))
    # Everything strictly above the first one left out: never more than `volume`, also among ties.
    price = every[len(every) - sends - 1] if sends < len(every) else -np.inf
    return VolumeThreshold(encoder, tables, max(float(price), 0.0))
