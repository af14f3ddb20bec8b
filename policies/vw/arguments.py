"""How Vowpal Wabbit learns: the configurations, and the argument strings that they mean, which golden tests fix.

Our exploration is not here: it has no influence on what is learnt; only bagging and online cover learn several models
(`EnsembleConfig`), and some explorations are no sums of tables, so that VW itself has to serve them (`LiveConfig`). Nor
is --l2: VW then keeps a contraction factor beside the weights, so they cannot be read out, and learning does not go on
exactly after a reload.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from engine.errors import ParameterError
from policies.horizon.config import HorizonConfig
from policies.parts.config import PartsConfig

PAIRS = ("xc", "xh", "xa", "ch", "ca", "ha")


CHOICES = ("interactions", "learning_rates", "passes", "power_ts", "cb_types")


class EnsembleConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Several policies learnt at once; each votes for its best action.

    Attributes:
        kind: bag (an online bootstrap: each model learns a Poisson(1) number of times from each round) or cover (online
            cover of Agarwal et al., "Taming the Monster", ICML 2014: each model is charged less for actions that the
            ones before it leave out). Both as in Bietti, Agarwal & Langford, "A Contextual Bandit Bake-off", JMLR 2021.
        size: number of policies, 2 to 64.
        greedify: bag only: the first model learns from every round exactly once.
        psi: cover only: weight of the reward for disagreement, >= 0.
        epsilon: cover only: the uniform share that the reward for disagreement assumes, in [0, 1]; serve with the same.
        seed: the seed of the Poisson draws.
    """

    kind: Literal["bag", "cover"] = "bag"
    size: int = 5
    greedify: bool = False
    psi: float = 1.0
    epsilon: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.size <= 64:
            raise ParameterError("size", "EnsembleConfig", allowed="in 2..64", got=self.size)
        if not 0.0 <= self.psi < float("inf"):
            raise ParameterError("psi", "EnsembleConfig", allowed="finite and at least 0", got=self.psi)
        if not 0.0 <= self.epsilon <= 1.0:
            raise ParameterError("epsilon", "EnsembleConfig", allowed="in [0, 1]", got=self.epsilon)
        if self.seed < 0:
            raise ParameterError("seed", "EnsembleConfig", allowed="at least 0", got=self.seed)

    @property
    def served_share(self) -> float:
        """The uniform share of the distribution that VW itself predicts with."""
        return self.epsilon if self.kind == "cover" else 0.0

    def arguments(self) -> str:
        """VW's arguments of the ensemble, without its `--cb_type`."""
        if self.kind == "bag":
            greedify = " --greedify" if self.greedify else ""
            return f"--cb_explore_adf --bag {self.size}{greedify} --random_seed {self.seed}"
        return f"--cb_explore_adf --cover {self.size} --psi {self.psi:.9g} --epsilon {self.epsilon:.9g}"

    def layout(self, cb_type: str) -> tuple[int, tuple[int, ...]]:
        """Width of a weight's slot and the position of every policy in it, see `arguments.model_layout`."""
        if self.kind == "bag":
            each = 2 if cb_type == "dr" else 1
            return _power_of_two(self.size * each), tuple(range(0, self.size * each, each))
        # Position 1 holds the reward model of mtr and dr, which also double the width; the second half stays empty.
        width = (self.size + 1) * (1 if cb_type == "ips" else 2)
        return _power_of_two(width), (0, *range(2, self.size + 1))


def _power_of_two(width: int) -> int:
    return 1 << (width - 1).bit_length()


LiveKind = Literal["rnd", "regcb", "large_action_space", "slots"]


class LiveConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which exploration VW serves live, with its parameters; the ones of other kinds are ignored.

    Attributes:
        kind: rnd (random network distillation), regcb (RegCB by elimination), large_action_space (a spanner of the
            actions explored by squarecb) or slots (channel, hour and arm chosen one after the other, VW's conditional
            contextual bandits).
        epsilon: uniform share of rnd and of each slot, in [0, 1].
        rnd_size: number of random networks, 1 to 16.
        rnd_alpha: width of rnd's confidence bound, in standard deviations, > 0.
        rnd_invlambda: rnd's initial variance, > 0.
        mellowness: regcb's width of the confidence set, > 0; smaller eliminates sooner.
        max_actions: large_action_space's size of the spanner, at least 2.
        gamma_scale / gamma_exponent: squarecb's schedule of large_action_space, per unit of reward.

    RegCB's optimistic variant is not offered: VW's distribution of it does not sum to 1.
    """

    kind: LiveKind = "rnd"
    epsilon: float = 0.05
    rnd_size: int = 3
    rnd_alpha: float = 0.1
    rnd_invlambda: float = 0.1
    mellowness: float = 0.1
    max_actions: int = 20
    gamma_scale: float = 10.0
    gamma_exponent: float = 0.5

    def __post_init__(self) -> None:
        infinite = float("inf")
        ranges = (
            ("epsilon", 0.0 <= self.epsilon <= 1.0, "in [0, 1]"),
            ("rnd_size", 1 <= self.rnd_size <= 16, "in 1..16"),
            ("rnd_alpha", 0.0 < self.rnd_alpha < infinite, "finite and above 0"),
            ("rnd_invlambda", 0.0 < self.rnd_invlambda < infinite, "finite and above 0"),
            ("mellowness", 0.0 < self.mellowness < infinite, "finite and above 0"),
            ("max_actions", self.max_actions >= 2, "at least 2"),
            ("gamma_scale", 0.0 <= self.gamma_scale < infinite, "finite and at least 0"),
            ("gamma_exponent", 0.0 <= self.gamma_exponent <= 1.0, "in [0, 1]"),
        )
        for name, holds, allowed in ranges:
            if not holds:
                raise ParameterError(name, "LiveConfig", allowed=allowed, got=getattr(self, name))

    @property
    def policy_name(self) -> str:
        """Name of the policies of this exploration."""
        return f"vw_live_{self.kind}"

    def arguments(self, centre: float, unit: float, reward_range: tuple[float, float]) -> str:
        """VW's arguments of the exploration.

        Args:
            centre / unit: VW learns the cost (centre - reward) / unit.
            reward_range: declared (low, high); RegCB's range of costs is made of it.
        """
        if self.kind == "rnd":
            return (
                f"--cb_explore_adf --rnd {self.rnd_size} --epsilon {self.epsilon:.9g} "
                f"--rnd_alpha {self.rnd_alpha:.9g} --rnd_invlambda {self.rnd_invlambda:.9g}"
            )
        if self.kind == "regcb":
            # With VW's own range of 0 to 1 the bounds of every cost would meet at its ends.
            low, high = ((centre - reward) / unit for reward in reversed(reward_range))
            return (
                f"--cb_explore_adf --regcb --mellowness {self.mellowness:.9g} "
                f"--cb_min_cost {low:.9g} --cb_max_cost {high:.9g}"
            )
        if self.kind == "large_action_space":
            # Gamma is per unit of cost there.
            return (
                f"--cb_explore_adf --large_action_space --max_actions {self.max_actions} --squarecb "
                f"--gamma_scale {self.gamma_scale * unit:.9g} --gamma_exponent {self.gamma_exponent:.9g}"
            )
        return f"--ccb_explore_adf --epsilon {self.epsilon:.9g}"


class SearchConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Values to try, key by key; the learner's own values come first and stay unless another is clearly better.

    Attributes:
        interactions / learning_rates / passes / power_ts / cb_types: values of the learner's keys; empty keeps the key.
        pieces: the log is cut into so many pieces in its own order; what was learnt from the pieces before is judged on
            the next one, 2 to 100.
        estimator: dr (with a reward model fitted to the pieces before) or ips (self-normalised), of the policy's value.
        least_gain: a value replaces another if the paired difference is above so many of its standard errors, >= 0.
        rounds: at most so many rounds, the first ones of the log, are used for the choice, at least 100.
    """

    interactions: tuple[tuple[str, ...], ...] = ()
    learning_rates: tuple[float, ...] = ()
    passes: tuple[int, ...] = ()
    power_ts: tuple[float, ...] = ()
    cb_types: tuple[Literal["mtr", "ips", "dr"], ...] = ()
    pieces: int = 5
    estimator: Literal["dr", "ips"] = "dr"
    least_gain: float = 1.0
    rounds: int = 200_000

    def __post_init__(self) -> None:
        if not 2 <= self.pieces <= 100:
            raise ParameterError("pieces", "SearchConfig", allowed="in 2..100", got=self.pieces)
        if not (math.isfinite(self.least_gain) and self.least_gain >= 0):
            raise ParameterError("least_gain", "SearchConfig", allowed="finite and at least 0", got=self.least_gain)
        if self.rounds < 100:
            raise ParameterError("rounds", "SearchConfig", allowed="at least 100", got=self.rounds)
        if not any(getattr(self, name) for name in CHOICES):
            raise ParameterError("search", "SearchConfig", allowed=f"values for one of {CHOICES}", got="none")


CbType = Literal["mtr", "ips", "dr"]


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
        regression: how reward models learn: bfgs (neither the order of rows nor the scale of rewards matters) or sgd.
        regression_passes: most passes of a reward model; bfgs stops by itself when the loss no longer falls.
        ridge: squared-norm penalty of a bfgs reward model, in units of rows, >= 0.
        slot_pairs: pairs of slots of a modular catalog whose products are learnt, by name.
        largest_importance: of modular content: 1 counts every round alike; above it rounds count in inverse proportion
            to their propensity (mtr), between its inverse and it.
        ensemble: several models at once, for the explorations bag and cover; null is one model.
        search: values among which to choose first (`policies.vw.search.choose`); null learns with the values above.
        horizon: learn what a message is worth over a horizon (`policies.horizon`); null learns the reward as it is.
        parts: learn the parts of a message's value (`policies.parts`); null learns the reward as it is.
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
    parts: PartsConfig | None = None
    live: LiveConfig | None = None

    @property
    def whole(self) -> HorizonConfig | PartsConfig | None:
        """The part of the configuration of a learner that is fitted to all decisions at once, and anew each time."""
        return self.parts or self.horizon

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
