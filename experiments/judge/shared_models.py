"""Reward models of one side of a log, fitted once however often that side is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count

from engine.features import ContextBatch
from engine.protocols import RewardModel
from engine.records.rounds import RoundBatch
from engine.types import FloatArray

Factory = Callable[[], RewardModel]


class SharedModels:
    """Hands the models of the first evaluation to the later ones.

    Cross-fitting asks for one fresh model per fold, in the order of the folds, and the folds depend on the clusters and
    the seed alone. So evaluations of the same rounds by the same settings fit the very same models; a backtest judges
    against five baselines and would spend most of its time on that.

    Args:
        make: a fresh model per call.
    """

    def __init__(self, make: Factory) -> None:
        self._make = make
        self._models: list[RewardModel] = []

    def factory(self) -> Factory:
        """The factory of one evaluation; each evaluation needs its own."""
        folds = count()

        def model_of_next_fold() -> RewardModel:
            fold = next(folds)
            if fold < len(self._models):
                return _Fitted(self._models[fold])
            self._models.append(self._make())
            return self._models[fold]

        return model_of_next_fold


class _Fitted:
    """A model that is already fitted to these rounds."""

    def __init__(self, model: RewardModel) -> None:
        self._model = model

    def fit(self, rounds: Iterable[RoundBatch]) -> None:
        """Nothing is left to do."""

    def predict(self, context: ContextBatch) -> FloatArray:
        return self._model.predict(context)
