"""From a configuration to Vowpal Wabbit's argument strings. Pure functions; golden tests fix every string.

Exploration is not here: it is ours, and has no influence on what is learnt; only bagging and online cover learn several
models (`policies.vw.ensemble`). Nor is --l2: VW then keeps a contraction factor beside the weights, so they cannot be
read out, and learning does not go on exactly after a reload.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from engine.errors import ParameterError
from policies.horizon.config import HorizonConfig
from policies.vw.ensemble_config import EnsembleConfig
from policies.vw.live_config import LiveConfig
from policies.vw.search_config import SearchConfig

CbType = Literal["mtr", "ips", "dr"]
PAIRS = ("xc", "xh", "xa", "ch", "ca", "ha")


class VwConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How Vowpal Wabbit learns.

    Attributes:
        cb_type: mtr learns from the chosen action's example alone; ips and dr need the whole eligible set (slower).
        learning_rate: VW's `-l`, > 0.
        power_t: VW's `--power_t`, in [0, 1]: how fast adaptive steps shrink.
        bit_precision: VW's `-b`, 10 to 28: log2 of the number of weights.
        interactions: pairs of namespaces whose products are learnt: x context, c channel, h hour slot, a arm.
        passes: passes over the rows of one `learn`, at least 1.
        max_levels: levels kept per categorical feature.
        regression: of reward models: bfgs (batch, order of rows and scale of rewards do not matter) or sgd.
        regression_passes: most passes of a reward model; bfgs stops by itself when the loss no longer falls.
        ridge: squared-norm penalty of a bfgs reward model, in units of rows, >= 0.
        slot_pairs: pairs of slots of a modular catalog whose products are learnt, by name.
        largest_importance: of modular content: 1 counts every round alike; above it rounds count in inverse proportion
            to their propensity (mtr), between its inverse and it.
        ensemble: several models at once, for the explorations bag and cover; null is one model.
        search: values among which to choose first (`policies.vw.search.choose`); null learns with the values above.
        horizon: learn what a message is worth over a horizon (`policies.horizon`); null learns the reward as it is.
        live: an exploration that VW serves itself; mtr alone, without an ensemble or a search. null compiles.
    """

    cb_type: CbType = "mtr"
    learning_rate: float = 0.1
    power_t: float = 0.5
    bit_precision: int = 18
    interactions: tuple[str, ...] = PAIRS
    passes: int = 1
    max_levels: int = 64
    regression: Literal["bfgs", "sgd"] = "bfgs"
    regression_passes: int = 20
    ridge: float = 1.0
    slot_pairs: tuple[tuple[str, str], ...] = ()
    largest_importance: float = 1.0
    ensemble: EnsembleConfig | None = None
    search: SearchConfig | None = None
    horizon: HorizonConfig | None = None
    live: LiveConfig | None = None

    def __post_init__(self) -> None:
        _require(self.learning_rate > 0, "learning_rate", "finite and above 0", self.learning_rate)
        _require(0 <= self.power_t <= 1, "power_t", "in [0, 1]", self.power_t)
        _require(10 <= self.bit_precision <= 28, "bit_precision", "in 10..28", self.bit_precision)
        _require(self.passes >= 1, "passes", "at least 1", self.passes)
        _require(self.max_levels >= 1, "max_levels", "at least 1", self.max_levels)
        least = 2 if self.regression == "bfgs" else 1
        _require(self.regression_passes >= least, "regression_passes", f"at least {least}", self.regression_passes)
        _require(self.ridge >= 0, "ridge", "finite and at least 0", self.ridge)
        _require(self.largest_importance >= 1, "largest_importance", "finite and at least 1", self.largest_importance)
        known = set(self.interactions) <= set(PAIRS) and len(set(self.interactions)) == len(self.interactions)
        if not known:
            raise ParameterError("interactions", "VwConfig", allowed=f"unique, among {PAIRS}", got=self.interactions)
        if self.live is not None and (self.cb_type != "mtr" or self.ensemble or self.search):
            raise ParameterError(
                "live", "VwConfig", allowed="with cb_type mtr, without an ensemble or a search", got=self.live.kind
            )


def learning_arguments(config: VwConfig, k: int) -> str:
    """Arguments of a new contextual-bandit model over k actions.

    mtr's one-action examples carry the probability propensity x mean eligible / k (see `examples.mtr_probability`), so
    every importance weight is k times too large. Adaptive steps grow with weight ** (1 - power_t), so a learning rate
    multiplied by k ** (power_t - 1) undoes the factor.
    """
    head = "--cb_adf" if config.ensemble is None else config.ensemble.arguments()
    return f"{head} --cb_type {config.cb_type} -b {config.bit_precision}{_interactions(config)} {_steps(config, k)}"


def learns_one_action(config: VwConfig) -> bool:
    """Whether examples of the chosen action alone are enough: for mtr, but not under cover: it costs every action."""
    return config.cb_type == "mtr" and (config.ensemble is None or config.ensemble.kind == "bag")


def model_layout(config: VwConfig) -> tuple[int, tuple[int, ...]]:
    """How VW interleaves its weight vectors: the width of one weight's slot, and the position of every policy in it.

    dr keeps its reward model beside each policy, cover one for all of them; VW rounds widths up to powers of two.
    """
    if config.ensemble is None:
        return (2, (0,)) if config.cb_type == "dr" else (1, (0,))
    return config.ensemble.layout(config.cb_type)


def continuing_arguments(config: VwConfig, k: int) -> str:
    """Arguments that a saved model does not keep and that learning on needs; a bag's random state is kept."""
    return _steps(config, k)


def regression_arguments(config: VwConfig) -> str:
    """Arguments of a squared-loss regression of a reward on context and action."""
    shape = f"-b {config.bit_precision}{_interactions(config)}"
    if config.regression == "bfgs":
        # VW refuses to write a bfgs model that could be continued, and to read one without the same flag.
        return f"{shape} --bfgs --predict_only_model --l2 {_number(config.ridge)}"
    return f"{shape} -l {_number(config.learning_rate)} --power_t {_number(config.power_t)}"


def _steps(config: VwConfig, k: int) -> str:
    factor = float(k) ** (config.power_t - 1.0) if learns_one_action(config) else 1.0
    return f"-l {_number(config.learning_rate * factor)} --power_t {_number(config.power_t)}"


def _interactions(config: VwConfig) -> str:
    return "".join(f" --interactions {pair}" for pair in config.interactions)


def _number(value: float) -> str:
    return f"{value:.9g}"


def _require(holds: bool, name: str, allowed: str, value: float) -> None:
    if not holds or not math.isfinite(value):
        raise ParameterError(name, "VwConfig", allowed=allowed, got=value)
