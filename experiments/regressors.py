"""A scikit-learn regressor by its dotted name, for the reward model."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from engine.errors import ConfigError
from engine.ope.regressor import Regressor

_PACKAGE = "sklearn."


def regressor_named(name: str, options: Mapping[str, Any]) -> Regressor:
    """Build a regressor.

    Args:
        name: dotted, within scikit-learn: `sklearn.ensemble.HistGradientBoostingRegressor`.
        options: arguments of its class.

    Raises:
        ConfigError: not within scikit-learn, scikit-learn is not installed, no such regressor, or wrong options.
    """
    if not name.startswith(_PACKAGE):
        raise ConfigError(
            f"evaluation.regressor must name a class of scikit-learn, got {name!r}",
            hint="for instance sklearn.ensemble.HistGradientBoostingRegressor",
        )
    module, _, cls = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), cls)
        built: Regressor = found(**options)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{name} cannot be imported: {error}", hint='pip install "tactful[sklearn]"') from error
    except (AttributeError, TypeError) as error:
        raise ConfigError(f"{name} cannot be built: {error}", hint="see scikit-learn's documentation") from error
    if not (callable(getattr(built, "fit", None)) and callable(getattr(built, "predict", None))):
        raise ConfigError(f"{name} is no regressor: it has no fit and predict", hint="see scikit-learn's documentation")
    return built
