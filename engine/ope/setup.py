"""An evaluation before its first row: what is asked, checked once, and the columns of sums that the answer needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from engine.errors import ParameterError
from engine.ope.estimators.marginalised import Embedding
from engine.ope.estimators.named import Asked, estimators_named
from engine.ope.estimators.several_loggers import Loggers, Pooled
from engine.ope.estimators.slope import Tuned
from engine.ope.estimators.terms import BALANCED_WEIGHT, EMBEDDING_WEIGHT, ONE, WEIGHT, Estimator
from engine.ope.estimators.weighting import Ips
from engine.ope.models.crossfit import CrossFitted
from engine.ope.settings import BY_ROW, DEFAULTS, NEED_LARGEST_WEIGHT, USE_WEIGHTS, EvaluationSettings
from engine.ope.sums.moments import Pair
from engine.ope.sums.ratios import ONE_COLUMN, Ratio, Ratios
from engine.ope.support import SupportRule
from engine.ope.target import LoggedTarget, Target


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of a log.

    Attributes:
        metric: The reward to judge by, a key in `RoundBatch.rewards`.
        reward_range: The lowest and the highest possible reward, inclusive.
        estimators: Names in the order of the results (`engine.ope.estimators.named.estimators_named`), or estimators of
            one's own.
        baseline: The policy that every other one is compared to.
        clustered: Whether rows of one cluster depend on each other; else each row is its own unit.
        allow_inexact: Whether rows without a propensity are let through, for the estimator dm alone; results are then
            not exact.
        rule: When the support of a figure is too little.
        embedding: What is known of the actions' attributes, and the policy that decided the log; None skips MIPS and
            OffCEM.
        loggers: Who decided which row; None skips the estimators of several loggers.
        primary: The policy that the question is about, named before any result is seen: its difference stands alone.
        secondary_share: The share of the error that the differences of all others have together, in (0, 1].
        assigned: Whether an action was assigned to each contact once and for all: the verdict is then on the
            difference per contact (intention to treat), where it is defined.

    Raises:
        ParameterError: an empty range or share, or `allow_inexact` with other estimators than dm.
    """

    metric: str
    reward_range: tuple[float, float]
    estimators: tuple[str | Estimator, ...] = ("ips", "snips")
    baseline: Target = field(default_factory=LoggedTarget)
    clustered: bool = False
    allow_inexact: bool = False
    rule: SupportRule = field(default_factory=SupportRule)
    embedding: Embedding | None = None
    loggers: Loggers | None = None
    primary: str = ""
    secondary_share: float = 1.0
    assigned: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.secondary_share <= 1.0:
            raise ParameterError("secondary_share", "evaluate", allowed="in (0, 1]", got=self.secondary_share)
        if not self.reward_range[0] < self.reward_range[1]:
            raise ParameterError("reward_range", "evaluate", allowed="(low, high), low < high", got=self.reward_range)
        if self.allow_inexact and any(name != "dm" for name in self.estimators):
            raise ParameterError(
                "allow_inexact",
                "evaluate",
                allowed="given with the estimator dm alone",
                got=list(self.estimators),
                hint="without propensities only a reward model can say anything, and its own error is not known",
            )


@dataclass(frozen=True)
class Setup:
    """An evaluation, checked.

    Attributes:
        targets: The policies to judge, with distinct names.
        question: What is asked of the log.
        settings: How it is answered.
        models: Cross-fitted reward models; None skips DM, DR and their kin.
        own_models: By target, the models that were fitted for it alone; without them MRDR is skipped.

    Raises:
        ParameterError: no target or the same name twice, an unknown estimator, an interval that does not fit.
    """

    targets: tuple[Target, ...]
    question: Question
    settings: EvaluationSettings = DEFAULTS
    models: CrossFitted | None = None
    own_models: Mapping[str, CrossFitted] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [target.name for target in self.targets]
        if not names or len(set(names)) != len(names):
            raise ParameterError("targets", "evaluate", allowed="at least one, with distinct names", got=names)
        interval = self.settings.interval
        if self.question.clustered and interval in BY_ROW:
            raise ParameterError(
                "interval",
                "evaluate",
                allowed="delta, bootstrap, studentised or asymptotic_sequence where rows are clustered",
                got=interval,
                hint="rows of one contact depend on each other, this interval is about independent rows",
            )
        if interval in NEED_LARGEST_WEIGHT and self.settings.largest_weight is None:
            raise ParameterError(
                "largest_weight",
                "evaluate",
                allowed=f"given with interval={interval}",
                got=None,
                hint="1 / the smallest propensity that the log's policy can give to an action of the target, for "
                "instance actions / epsilon; the largest weight that was seen bounds nothing",
            )
        _ = self.estimators  # unknown names are refused before a row is read

    @cached_property
    def estimators(self) -> tuple[Asked, ...]:
        """The estimators that the question names."""
        loggers = 0 if self.question.loggers is None else len(self.question.loggers.names)
        return estimators_named(self.question.estimators, self.settings.clip, loggers)

    @property
    def baseline(self) -> Target:
        """The policy that every other one is compared to."""
        return self.question.baseline

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
        if asked.weight == EMBEDDING_WEIGHT and self.question.embedding is None:
            return f"{asked.name} needs the attributes that carry the effect, and the policy that decided the log"
        if isinstance(asked, Pooled) and self.question.loggers is None:
            return f"{asked.name} needs to know which of several loggers decided each row"
        if asked.weight == BALANCED_WEIGHT and (self.question.loggers is None or not self.question.loggers.policies):
            return f"{asked.name} needs the policies of all loggers"
        return None

    @cached_property
    def layout(self) -> Layout:
        return Layout(self)


def members(asked: Asked) -> tuple[Estimator, ...]:
    """The estimators whose columns are summed for one that was asked for."""
    return tuple(asked.members) if isinstance(asked, Tuned | Pooled) else (asked,)


class Layout:
    """The columns of sums behind a `Setup`.

    Attributes:
        columns: (unit, column name) -> position; column 0 is the constant 1, shared by all.
        estimators: per unit those that are defined for it, deduplicated by column.
        named: per unit the columns that `Rows.named` gives: weights and indicators.
        weights: per unit the weights whose support is judged; `WEIGHT` first.
        pairs: positions whose second moments the delta method needs.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.columns: dict[tuple[int, str], int] = {}
        self.estimators: list[list[Estimator]] = []
        self.named: list[list[str]] = []
        self.weights: list[list[str]] = []
        for unit, target in enumerate(setup.units):
            defined = [e for e in setup.estimators if setup.obstacle(target, e) is None]
            if unit == 0 and len(defined) < len(setup.estimators):
                defined.append(Ips())  # what the baseline is worth where an estimator is not defined for it
            parts = [part for asked in defined for member in members(asked) for part in chain(member)]
            weights = dict.fromkeys([WEIGHT, *(member.weight for asked in defined for member in members(asked))])
            named = dict.fromkeys([*weights, *(part.denominator for part in parts if part.denominator != ONE)])
            by_column = {part.numerator: part for part in parts}
            for name in (*named, *by_column):
                self.columns.setdefault((unit, name), self.width)
            self.weights.append(list(weights))
            self.named.append(list(named))
            self.estimators.append(list(by_column.values()))
        self.pairs = self._pairs()

    @property
    def width(self) -> int:
        return 1 + len(self.columns)

    def baseline_estimator(self, estimator: Asked) -> Asked:
        """What judges the baseline beside an estimator: itself, or IPS where it is not defined for the baseline."""
        return estimator if self._setup.obstacle(self._setup.baseline, estimator) is None else Ips()

    def form(self, unit: int, estimator: Estimator, factor: float = 1.0) -> Ratios:
        """The ratios whose sum is the estimator's value, the weighted one first."""
        return tuple(
            Ratio(self.columns[unit, part.numerator], self._below(unit, part), factor) for part in chain(estimator)
        )

    def _below(self, unit: int, part: Estimator) -> int:
        return ONE_COLUMN if part.denominator == ONE else self.columns[unit, part.denominator]

    def _pairs(self) -> tuple[Pair, ...]:
        needed: dict[Pair, None] = {}
        for unit, target in enumerate(self._setup.units):
            for name in self.weights[unit]:
                weight = self.columns[unit, name]
                needed[weight, weight] = None
            # Whether the log's rows tell a policy from the baseline at all.
            needed[self.columns[0, WEIGHT], self.columns[unit, WEIGHT]] = None
            for asked in self._setup.estimators:
                judge = self.baseline_estimator(asked)
                own = judge if unit == 0 else asked
                if self._setup.obstacle(target, own) is None and own.has_interval:
                    mine, others = self._groups(unit, own), self._groups(0, judge)
                    weights = self._weights_of(unit)
                    for group in (*(mine[0] | group for group in mine), mine[0] | others[0] | weights):
                        needed.update(dict.fromkeys(_pairs_of(group)))
        return tuple(needed)

    def _weights_of(self, unit: int) -> set[int]:
        """Weights of a unit and of the baseline, where the interval reads them beside the estimate."""
        if self._setup.settings.interval not in USE_WEIGHTS:
            return set()
        return {self.columns[unit, WEIGHT], self.columns[0, WEIGHT]}

    def _groups(self, unit: int, asked: Asked) -> list[set[int]]:
        """Sets of columns that stand in one figure together, first those of the interval.

        Each candidate of a family alone, the least biased first, or all loggers at once.
        """
        found = [{column for ratio in self.form(unit, part) for column in ratio[:2]} for part in members(asked)]
        return [set().union(*found)] if isinstance(asked, Pooled) else found


def chain(estimator: Estimator) -> Iterator[Estimator]:
    """An estimator and those that are added to it."""
    part: Estimator | None = estimator
    while part is not None:
        yield part
        part = part.offset


def _pairs_of(columns: set[int]) -> list[Pair]:
    used = sorted(columns - {ONE_COLUMN})
    return [(i, j) for i in used for j in used if i <= j]
