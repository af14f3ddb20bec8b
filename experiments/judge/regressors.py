"""A scikit-learn regressor by its dotted name, for the reward model."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import util
from typing import Any, Final

from engine.classes import class_named, made
from engine.errors import ConfigError
from engine.ope.models.regressor import Regressor

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
