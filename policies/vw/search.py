"""The automatic choice of a learner's parameters by progressive validation of the policy's value.

Source: Blum, Kalai & Langford, "Beating the Hold-Out: Bounds for K-fold and Progressive Cross-Validation", COLT 1999:
every piece of the log judges what was learnt from the pieces before it. Judged is the value of the learnt policy (the
sum of its target weights times rewards, doubly robust or self-normalised), not the squared error of a prediction: a
model may predict well and choose badly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.errors import LearnError
from engine.features import FeatureSchema
from engine.records.rounds import RoundBatch
from engine.types import FloatArray
from policies.exploring.config import ExplorationConfig
from policies.vw.arguments import SearchConfig, VwConfig
from policies.vw.learner import VwLearner
from policies.vw.reward_model import VwRewardModel
from policies.vw.rows import repeatable, trainable

GREEDY = ExplorationConfig(kind="greedy")


@dataclass(frozen=True)
class Trial:
    """One configuration that was judged.

    Attributes:
        config: without a search.
        value: what its greedy policies earn over all judged rounds, in reward units; -inf where it could not learn.
        gain: paired difference to the best configuration before it, and its standard error.
        stderr: the standard error of the gain.
        chosen: it replaced that one.
    """

    config: VwConfig
    value: float
    gain: float
    stderr: float
    chosen: bool


@dataclass(frozen=True)
class Search:
    """The result: the configuration that was chosen, and everything that was tried, in order."""

    config: VwConfig
    trials: tuple[Trial, ...]

    def to_builtins(self) -> list[dict[str, Any]]:
        """Plain data, for a manifest."""
        return [
            {
                "config": msgspec.to_builtins(trial.config),
                "value": trial.value if np.isfinite(trial.value) else None,
                "gain": trial.gain if np.isfinite(trial.gain) else None,
                "stderr": trial.stderr,
                "chosen": trial.chosen,
            }
            for trial in self.trials
        ]


def choose(
    rounds: Iterable[RoundBatch],
    catalog: Catalog,
    schema: FeatureSchema,
    metric: str,
    reward_range: tuple[float, float],
    config: VwConfig,
    on_trial: Callable[[Trial], None] | None = None,
) -> Search:
    """Choose key by key: every listed value is tried with the best of the keys before it.

    Args:
        rounds: the training log, in its own order; read several times.
        catalog / schema / metric / reward_range: see `VwLearner`.
        config: start, and what to try (`config.search`); without a search it comes back as it is.
        on_trial: called with every trial.

    Raises:
        LearnError: too few rounds for the pieces, or the start cannot learn.
    """
    if config.search is None:
        return Search(config, ())
    course = _Course(rounds, catalog, schema, metric, reward_range, config.search)
    best = msgspec.structs.replace(config, search=None)
    terms = course.terms(best)
    trials = [Trial(best, float(terms.mean()), 0.0, 0.0, chosen=True)]
    tried = {_effective(best, catalog)}
    for candidate in _candidates(config.search):
        config = msgspec.structs.replace(best, **candidate)
        if _effective(config, catalog) in tried:
            continue
        tried.add(_effective(config, catalog))
        trial, judged = course.trial(config, terms)
        trials.append(trial)
        if on_trial:
            on_trial(trial)
        if trial.chosen:
            best, terms = config, judged
    return Search(best, tuple(trials))


def _candidates(search: SearchConfig) -> Iterator[dict[str, Any]]:
    """Changes of one key; `choose` puts each onto the best configuration so far."""
    keys = {
        "interactions": search.interactions,
        "learning_rate": search.learning_rates,
        "passes": search.passes,
        "power_t": search.power_ts,
        "cb_type": search.cb_types,
    }
    for key, values in keys.items():
        for value in values:
            yield {key: value}


def _effective(config: VwConfig, catalog: Catalog) -> VwConfig:
    """The configuration without interactions that an axis of size 1 leaves empty."""
    sizes = dict(zip("cha", (catalog.shape[0], catalog.shape[1], 2), strict=True))
    kept = tuple(sorted(pair for pair in config.interactions if all(sizes.get(axis, 2) > 1 for axis in pair)))
    return msgspec.structs.replace(config, interactions=kept)


class _Course:
    """The pieces of a log, and what judges a policy on them: the same for every candidate."""

    def __init__(
        self,
        rounds: Iterable[RoundBatch],
        catalog: Catalog,
        schema: FeatureSchema,
        metric: str,
        reward_range: tuple[float, float],
        search: SearchConfig,
    ) -> None:
        self._catalog, self._schema, self._metric, self._range = catalog, schema, metric, reward_range
        self._search = search
        batches = repeatable(rounds)
        kept = (trainable(batch, metric, reward_range, catalog, propensities=True) for batch in batches)
        n = min(sum(batch.n for batch in kept), search.rounds)
        if n < 2 * search.pieces:
            raise LearnError(
                f"{n} usable rounds are too few to choose parameters on {search.pieces} pieces",
                hint="name a learner instead of learner=auto, or join more outcomes",
            )
        edges = [n * piece // search.pieces for piece in range(search.pieces + 1)]
        self._pieces = [_Piece(batches, self._usable, start, stop) for start, stop in pairwise(edges)]
        self._models = [self._model(piece) for piece in range(1, search.pieces)] if search.estimator == "dr" else []

    def trial(self, config: VwConfig, best: FloatArray) -> tuple[Trial, FloatArray]:
        """Judge a configuration against the terms of the best one."""
        try:
            terms = self.terms(config)
        except LearnError:
            # A step size at which learning diverges is a bad one, not a failure of the search.
            return Trial(config, -np.inf, -np.inf, 0.0, chosen=False), best
        gain = terms - best
        stderr = float(gain.std(ddof=1) / np.sqrt(len(gain)))
        better = bool(gain.mean() > self._search.least_gain * stderr and gain.mean() > 0.0)
        return Trial(config, float(terms.mean()), float(gain.mean()), stderr, chosen=better), terms

    def terms(self, config: VwConfig) -> FloatArray:
        """(n,) terms of the value, over all pieces but the first; their mean is the value.

        Raises:
            LearnError: VW fails, or the model diverges.
        """
        learner = VwLearner(self._catalog, self._schema, self._metric, self._range, config, GREEDY)
        judged: list[FloatArray] = []
        for at, piece in enumerate(self._pieces[:-1]):
            learner.learn(piece)
            judged += self._judge(learner, at)
        return np.concatenate(judged)

    def _judge(self, learner: VwLearner, at: int) -> list[FloatArray]:
        policy = learner.policy()
        weights, rewards, models = [], [], []
        for batch in self._pieces[at + 1]:
            target = policy.distribution(batch.context, batch.eligible_dense())
            logged = (np.arange(batch.n), batch.action)
            weights.append(target[logged] / batch.propensity)
            rewards.append(batch.rewards[self._metric])
            if self._models:
                predicted = self._models[at].predict(batch.context)
                models.append(((target * predicted).sum(axis=1), predicted[logged]))
        if self._models:
            # Dudik, Langford & Li, "Doubly Robust Policy Evaluation and Learning", ICML 2011, equation (1).
            parts = zip(weights, rewards, models, strict=True)
            return [direct + weight * (reward - own) for weight, reward, (direct, own) in parts]
        scale = float(np.concatenate(weights).mean()) or 1.0
        return [weight * reward / scale for weight, reward in zip(weights, rewards, strict=True)]

    def _usable(self, batch: RoundBatch) -> RoundBatch:
        return trainable(batch, self._metric, self._range, self._catalog, propensities=True)

    def _model(self, pieces: int) -> VwRewardModel:
        model = VwRewardModel(self._catalog, self._schema, self._metric, self._range)
        model.fit([batch for piece in self._pieces[:pieces] for batch in piece])
        return model


@dataclass(frozen=True)
class _Piece:
    """The usable rounds [start, stop) of a log, read anew at every iteration."""

    batches: Iterable[RoundBatch]
    usable: Callable[[RoundBatch], RoundBatch]
    start: int
    stop: int

    def __iter__(self) -> Iterator[RoundBatch]:
        at = 0
        for batch in self.batches:
            rows = self.usable(batch)
            first, last = max(self.start - at, 0), min(self.stop - at, rows.n)
            if first < last:
                yield rows.take(slice(first, last))
            at += rows.n
            if at >= self.stop:
                return
