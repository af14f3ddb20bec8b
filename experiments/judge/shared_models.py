"""Reward models of one side of a log, by Vowpal Wabbit or a scikit-learn regressor, fitted once for everybody."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import util
from itertools import count
from typing import Any, Final

from engine.classes import class_named, made
from engine.errors import ConfigError
from engine.features import ContextBatch
from engine.ope.models.regressor import Regressor
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


_PACKAGE: Final = "sklearn"
_HINT: Final = "for instance sklearn.ensemble.HistGradientBoostingRegressor; see scikit-learn's documentation"


def regressor_named(name: str, options: Mapping[str, Any]) -> Regressor:
    """Build a regressor.

    Nothing but a regressor class of scikit-learn itself is ever called (`engine.classes`).

    Args:
        name: dotted, within scikit-learn: `sklearn.ensemble.HistGradientBoostingRegressor`.
        options: arguments of its class.

    Raises:
        ConfigError: not within scikit-learn, scikit-learn is not installed, no regressor class, or wrong options.
    """
    owner = f"evaluation.regressor {name}"
    module, _, cls = name.rpartition(".")
    if module.partition(".")[0] != _PACKAGE:
        raise ConfigError(f"evaluation.regressor must name a class of scikit-learn, got {name!r}", hint=_HINT)
    if util.find_spec(_PACKAGE) is None:
        raise ConfigError(f"{owner} cannot be imported", hint='pip install "tactful[sklearn]"')
    from sklearn.base import BaseEstimator, RegressorMixin  # noqa: PLC0415 - optional, and slow to import

    found = class_named(
        module,
        cls,
        packages=(_PACKAGE,),
        owner="evaluation.regressor",
        what="regressor",
        bases=(RegressorMixin, BaseEstimator),
        members=("fit", "predict"),
        hint=_HINT,
    )
    built: Regressor = made(found, options, owner=owner, hint=_HINT)
    return built
