"""Static segments: the best action per segment, tuned on a training log. What teams do today, done well."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.errors import ArtefactError, ParameterError
from engine.features import ContextBatch, FeatureSchema
from engine.identity import fold_of
from engine.records.rounds import RoundBatch
from engine.types import BoolArray, FloatArray, IntArray
from policies.exploring.action_values import ActionSums, ActionValues, Grouping
from policies.exploring.exploration import one_hot_best
from policies.peers.segmentation import Segmentation, fit_cuts

Rounds = Iterable[RoundBatch]


class SegmentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How segments are made.

    Attributes:
        features: names to segment by, or "auto": forward selection by held-out value on the training log.
        bins: numeric features are cut into this many bins.
        max_features: at most this many features are selected when auto.
        shrink_rows: a segment's mean counts as if this many more rows had shown the action's overall mean.
        max_segments: combinations with more segments than this are not tried.
    """

    features: tuple[str, ...] | Literal["auto"] = "auto"
    bins: int = 4
    max_features: int = 2
    shrink_rows: float = 200.0
    max_segments: int = 2000

    def __post_init__(self) -> None:
        if not 1 <= self.bins <= 50:
            raise ParameterError("bins", "SegmentConfig", allowed="in 1..50", got=self.bins)
        if self.max_features < 0:
            raise ParameterError("max_features", "SegmentConfig", allowed="at least 0", got=self.max_features)
        if self.shrink_rows < 0:
            raise ParameterError("shrink_rows", "SegmentConfig", allowed="at least 0", got=self.shrink_rows)


class StaticSegments:
    """The best action of each segment, the next best where it is not eligible.

    Args:
        segmentation: from context to segment.
        preference: (segments, k) shrunken mean rewards; -inf where an action was never logged.
    """

    name = "static_segments"

    def __init__(self, segmentation: Segmentation, preference: FloatArray) -> None:
        self.segmentation = segmentation
        # An eligible set may hold only actions that were never logged; a finite floor still ranks them, last.
        self._preference = np.where(np.isfinite(preference), preference, np.finfo(np.float64).min / 2)

    @property
    def preference(self) -> FloatArray:
        """(segments, k) what the actions are ranked by."""
        return self._preference

    def save(self, path: Path) -> None:
        """Write what the actions are ranked by; the cuts are kept elsewhere."""
        np.savez(path, preference=self.preference)

    @classmethod
    def load(cls, path: Path, segmentation: Segmentation, k: int) -> StaticSegments:
        """The segments of a file that `save` wrote.

        Raises:
            ArtefactError: no such file, or one that does not fit the cuts and the k actions.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                preference = stored["preference"]
        except (OSError, ValueError, KeyError) as error:
            raise ArtefactError(f"{path} holds no segments: {error}", hint="make the folder again") from error
        if preference.shape != (segmentation.segments, k) or preference.dtype != np.float64:
            raise ArtefactError(f"{path} does not fit its catalog", hint="make the folder again")
        return cls(segmentation, preference)

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """Give one-hot probabilities, (n, k).

        Raises:
            EligibilityError: a row without an eligible action.
        """
        return one_hot_best(self._preference[self.segmentation.segment_of(context)], eligible)


def tune_segments(
    rounds: Rounds, metric: str, catalog: Catalog, schema: FeatureSchema, config: SegmentConfig
) -> StaticSegments:
    """Tune static segments on a training log.

    Args:
        rounds: usable rounds with a known metric; iterated several times.
        metric: the reward to maximise.
        catalog / schema: those of the log.
        config: see `SegmentConfig`.

    Raises:
        ConfigError: a feature that the log does not have.
        LearnError: no rounds.
        MissingPropensityError: rounds without propensity.
    """
    wanted = schema.names if config.features == "auto" else config.features
    every = fit_cuts(schema, wanted, (batch.context for batch in rounds), config.bins)
    chosen = _select(rounds, metric, catalog.k, every, config) if config.features == "auto" else every
    sums = ActionSums(metric, catalog.k, chosen.segments, lambda batch: chosen.segment_of(batch.context))
    for batch in rounds:
        sums.add(batch)
    return StaticSegments(chosen, sums.result().means(config.shrink_rows))


def _select(rounds: Rounds, metric: str, k: int, every: Segmentation, config: SegmentConfig) -> Segmentation:
    """Greedy forward selection: add the feature that raises the two-fold held-out value most, while any does."""
    chosen = Segmentation(())
    best = _held_out_values(rounds, metric, k, [chosen], config)[0]
    for _ in range(config.max_features):
        wider = [Segmentation((*chosen.cuts, cut)) for cut in every.cuts if cut not in chosen.cuts]
        candidates = [candidate for candidate in wider if candidate.segments <= config.max_segments]
        values = _held_out_values(rounds, metric, k, candidates, config)
        if not candidates or max(values) <= best:
            return chosen
        best, chosen = max(values), candidates[int(np.argmax(values))]
    return chosen


def _held_out_values(
    rounds: Rounds, metric: str, k: int, candidates: Sequence[Segmentation], config: SegmentConfig
) -> list[float]:
    """Value of each candidate's rule tuned on one half of the clusters and read on the other, both ways; one pass."""
    sums = [ActionSums(metric, k, 2 * by.segments, _by_half(by)) for by in candidates]
    if sums:
        for batch in rounds:
            for candidate in sums:
                candidate.add(batch)
    return [
        _two_fold_value(candidate.result(), by.segments, config) for candidate, by in zip(sums, candidates, strict=True)
    ]


def _by_half(by: Segmentation) -> Grouping:
    def group_of(batch: RoundBatch) -> IntArray:
        return fold_of(batch.cluster, 2, "segments") * by.segments + by.segment_of(batch.context)

    return group_of


def _two_fold_value(values: ActionValues, segments: int, config: SegmentConfig) -> float:
    halves = [values.part(0, segments), values.part(segments, 2 * segments)]
    reward = weight = 0.0
    for tuned, held in (halves, halves[::-1]):
        cells = (np.arange(segments), tuned.means(config.shrink_rows).argmax(axis=1))
        reward += held.reward[cells].sum()
        weight += held.weight[cells].sum()
    return float(reward / weight) if weight > 0 else -np.inf
