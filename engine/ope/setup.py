"""What an evaluation is asked for, checked once, and the columns of sums that the answer needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from engine.errors import ParameterError
from engine.ope.crossfit import CrossFitted
from engine.ope.embedding import Embedding
from engine.ope.intervals.names import BY_ROW, INTERVALS, NEED_LARGEST_WEIGHT
from engine.ope.layout import Layout
from engine.ope.loggers import Loggers
from engine.ope.named import DEFAULT_CLIP, Asked
from engine.ope.pooled import Pooled
from engine.ope.support import SupportRule
from engine.ope.target import LoggedTarget, Target
from engine.ope.terms import BALANCED_WEIGHT, EMBEDDING_WEIGHT
from engine.ope.tuned import Tuned


@dataclass(frozen=True)
class Setup:
    """An evaluation, checked.

    Attributes:
        targets: with distinct names.
        metric: key in `RoundBlock.rewards`.
        reward_range: lowest and highest possible reward, inclusive.
        estimators: see `engine.ope.named.estimators_named`.
        baseline: what every policy is compared to.
        alpha: error rate of the intervals, in (0, 1).
        interval: one of `INTERVALS`.
        clip: of the clipped estimator.
        seed: of folds and bootstrap.
        clustered: whether rows of one cluster depend on each other; else each row is its own unit.
        models: cross-fitted reward models; None skips DM and DR.
        allow_inexact: whether rows without a propensity are let through, for DM alone.
        rule: when support is too little.
        draws: of the bootstrap.
        own_models: by target, the models that were fitted for it alone; without them MRDR is skipped.
        embedding: attributes and logging policy; None skips MIPS and OffCEM.
        loggers: who decided which row; None skips the estimators of several loggers.
        largest_weight: that target / propensity can have under the log's policy, known before the log is read; None
            where it is not known.
        largest_sd: bound of the standard deviation of one row's term (weight x reward, or the difference of two), for
            Catoni's interval; the sample's own where None.
        simultaneous: whether the differences of all targets are to hold together, for each estimator.
    """

    targets: tuple[Target, ...]
    metric: str
    reward_range: tuple[float, float]
    estimators: tuple[Asked, ...]
    baseline: Target = field(default_factory=LoggedTarget)
    alpha: float = 0.05
    interval: str = "delta"
    clip: float = DEFAULT_CLIP
    seed: int = 0
    clustered: bool = False
    models: CrossFitted | None = None
    allow_inexact: bool = False
    rule: SupportRule = field(default_factory=SupportRule)
    draws: int = 1000
    own_models: Mapping[str, CrossFitted] = field(default_factory=dict)
    embedding: Embedding | None = None
    loggers: Loggers | None = None
    largest_weight: float | None = None
    largest_sd: float | None = None
    simultaneous: bool = False

    def __post_init__(self) -> None:
        names = [target.name for target in self.targets]
        if not names or len(set(names)) != len(names):
            raise ParameterError("targets", "evaluate", allowed="at least one, with distinct names", got=names)
        if not 0 < self.alpha < 1:
            raise ParameterError("alpha", "evaluate", allowed="in (0, 1)", got=self.alpha)
        if self.interval not in INTERVALS:
            raise ParameterError("interval", "evaluate", allowed=f"one of {INTERVALS}", got=self.interval)
        self._check_interval()
        if not self.reward_range[0] < self.reward_range[1]:
            raise ParameterError("reward_range", "evaluate", allowed="(low, high), low < high", got=self.reward_range)
        if self.draws < 100:
            raise ParameterError("draws", "evaluate", allowed="at least 100", got=self.draws)
        if not self.clip > 0:
            raise ParameterError("clip", "evaluate", allowed="positive", got=self.clip)
        if self.allow_inexact and any(estimator.name != "dm" for estimator in self.estimators):
            raise ParameterError(
                "allow_inexact",
                "evaluate",
                allowed="given with the estimator dm alone",
                got=[estimator.name for estimator in self.estimators],
                hint="without propensities only a reward model can say anything, and its own error is not known",
            )

    def _check_interval(self) -> None:
        if self.largest_weight is not None and not 1 <= self.largest_weight < math.inf:
            raise ParameterError("largest_weight", "evaluate", allowed="finite, at least 1", got=self.largest_weight)
        if self.largest_sd is not None and not 0 < self.largest_sd < math.inf:
            raise ParameterError("largest_sd", "evaluate", allowed="finite, positive", got=self.largest_sd)
        if self.clustered and self.interval in BY_ROW:
            raise ParameterError(
                "interval",
                "evaluate",
                allowed="delta, bootstrap, studentised or asymptotic_sequence where rows are clustered",
                got=self.interval,
                hint="rows of one contact depend on each other, this interval is about independent rows",
            )
        if self.interval in NEED_LARGEST_WEIGHT and self.largest_weight is None:
            raise ParameterError(
                "largest_weight",
                "evaluate",
                allowed=f"given with interval={self.interval}",
                got=None,
                hint="1 / the smallest propensity that the log's policy can give to an action of the target, for "
                "instance actions / epsilon; the largest weight that was seen bounds nothing",
            )

    @cached_property
    def units(self) -> tuple[Target, ...]:
        """The baseline, then the targets that are not the baseline again."""
        return (self.baseline, *(target for target in self.targets if target.name != self.baseline.name))

    def unit_of(self, name: str) -> int:
        """Position in `units`."""
        return [unit.name for unit in self.units].index(name)

    def obstacle(self, target: Target, asked: Asked) -> str | None:
        """Why an estimator is not defined for a target, or None."""
        if isinstance(asked, Tuned):
            reasons = (self.obstacle(target, member) for member in asked.members)
            return next((reason for reason in reasons if reason is not None), None)
        whole = asked.needs_model or asked.own_model or asked.weight == EMBEDDING_WEIGHT
        if whole and not target.knows_all:
            return f"{asked.name} needs the whole distribution; {target.name} gives the logged action's only"
        if asked.needs_model and self.models is None:
            return f"{asked.name} needs a reward model, none was given"
        if asked.own_model and target.name not in self.own_models:
            return f"{asked.name} needs a reward model that is fitted with weights, none was given"
        if asked.weight == EMBEDDING_WEIGHT and self.embedding is None:
            return f"{asked.name} needs the attributes that carry the effect, and the policy that decided the log"
        if isinstance(asked, Pooled) and self.loggers is None:
            return f"{asked.name} needs to know which of several loggers decided each row"
        if asked.weight == BALANCED_WEIGHT and (self.loggers is None or not self.loggers.policies):
            return f"{asked.name} needs the policies of all loggers"
        return None

    @cached_property
    def layout(self) -> Layout:
        return Layout(self)
