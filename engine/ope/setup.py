"""What an evaluation is asked for, checked once, and the columns of sums that the answer needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from engine.errors import ParameterError
from engine.ope.clipped import Clipped
from engine.ope.crossfit import CrossFitted
from engine.ope.dm import Dm
from engine.ope.dr import Dr
from engine.ope.ips import Ips
from engine.ope.moments import Pair
from engine.ope.snips import Snips
from engine.ope.support import SupportRule
from engine.ope.target import LoggedTarget, Target
from engine.ope.terms import ONE, WEIGHT, Estimator

ESTIMATORS: Final = ("ips", "clipped", "snips", "dm", "dr")
INTERVALS: Final = ("delta", "bootstrap")
DEFAULT_CLIP: Final = 100.0
ONE_COLUMN: Final = 0


def estimators_named(names: Sequence[str], clip: float = DEFAULT_CLIP) -> tuple[Estimator, ...]:
    """The estimators of these names, in order.

    Raises:
        ParameterError: unknown, repeated or no name, or `clip` not positive.
    """
    known: dict[str, Estimator] = {e.name: e for e in (Ips(), Clipped(clip), Snips(), Dm(), Dr())}
    unknown = [name for name in names if name not in known]
    if unknown or not names or len(set(names)) != len(names):
        raise ParameterError("estimators", "evaluate", allowed=f"distinct, among {ESTIMATORS}", got=tuple(names))
    return tuple(known[name] for name in names)


@dataclass(frozen=True)
class Setup:
    """An evaluation, checked.

    Attributes:
        targets: with distinct names.
        metric: key in `RoundBlock.rewards`.
        reward_range: lowest and highest possible reward, inclusive.
        estimators: see `estimators_named`.
        baseline: what every policy is compared to.
        alpha: error rate of the intervals, in (0, 1).
        interval: delta or bootstrap.
        clip: of the clipped estimator.
        seed: of folds and bootstrap.
        clustered: whether rows of one cluster depend on each other; else each row is its own unit.
        models: cross-fitted reward models; None skips DM and DR.
        allow_inexact: whether rows without a propensity are let through, for DM alone.
        rule: when support is too little.
        draws: of the bootstrap.
    """

    targets: tuple[Target, ...]
    metric: str
    reward_range: tuple[float, float]
    estimators: tuple[Estimator, ...]
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

    def __post_init__(self) -> None:
        names = [target.name for target in self.targets]
        if not names or len(set(names)) != len(names):
            raise ParameterError("targets", "evaluate", allowed="at least one, with distinct names", got=names)
        if not 0 < self.alpha < 1:
            raise ParameterError("alpha", "evaluate", allowed="in (0, 1)", got=self.alpha)
        if self.interval not in INTERVALS:
            raise ParameterError("interval", "evaluate", allowed=f"one of {INTERVALS}", got=self.interval)
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

    @cached_property
    def units(self) -> tuple[Target, ...]:
        """The baseline, then the targets that are not the baseline again."""
        return (self.baseline, *(target for target in self.targets if target.name != self.baseline.name))

    def unit_of(self, name: str) -> int:
        """Position in `units`."""
        return [unit.name for unit in self.units].index(name)

    def obstacle(self, target: Target, estimator: Estimator) -> str | None:
        """Why an estimator is not defined for a target, or None."""
        if not estimator.needs_model:
            return None
        if not target.knows_all:
            return f"{estimator.name} needs the whole distribution; {target.name} gives the logged action's only"
        if self.models is None:
            return f"{estimator.name} needs a reward model, none was given"
        return None

    @cached_property
    def layout(self) -> Layout:
        return Layout(self)


class Layout:
    """The columns of sums behind a `Setup`.

    Attributes:
        columns: (unit, column name) -> position; column 0 is the constant 1, shared by all.
        estimators: per unit those that are defined for it, deduplicated by column.
        pairs: positions whose second moments the delta method needs.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.columns: dict[tuple[int, str], int] = {}
        self.estimators: list[list[Estimator]] = []
        for unit, target in enumerate(setup.units):
            self._add(unit, WEIGHT)
            defined = [e for e in setup.estimators if setup.obstacle(target, e) is None]
            if unit == 0 and len(defined) < len(setup.estimators):
                defined.append(Ips())  # what the baseline is worth where an estimator is not defined for it
            by_column = {estimator.numerator: estimator for estimator in defined}
            for name in by_column:
                self._add(unit, name)
            self.estimators.append(list(by_column.values()))
        self.pairs = self._pairs()

    @property
    def width(self) -> int:
        return 1 + len(self.columns)

    def baseline_estimator(self, estimator: Estimator) -> Estimator:
        """What judges the baseline beside an estimator: itself, or IPS where it is not defined for the baseline."""
        return estimator if self._setup.obstacle(self._setup.baseline, estimator) is None else Ips()

    def form(self, unit: int, estimator: Estimator) -> tuple[int, int]:
        """Positions of numerator and denominator."""
        below = ONE_COLUMN if estimator.denominator == ONE else self.columns[unit, WEIGHT]
        return self.columns[unit, estimator.numerator], below

    def _add(self, unit: int, name: str) -> None:
        self.columns.setdefault((unit, name), self.width)

    def _pairs(self) -> tuple[Pair, ...]:
        needed: dict[Pair, None] = {}
        for unit, target in enumerate(self._setup.units):
            weight = self.columns[unit, WEIGHT]
            needed[weight, weight] = None
            for estimator in self._setup.estimators:
                judge = self.baseline_estimator(estimator)
                own = judge if unit == 0 else estimator
                if self._setup.obstacle(target, own) is None and own.has_interval:
                    self._need(needed, (*self.form(unit, own), *self.form(0, judge)))
        return tuple(needed)

    @staticmethod
    def _need(needed: dict[Pair, None], columns: tuple[int, ...]) -> None:
        used = sorted({column for column in columns if column != ONE_COLUMN})
        needed.update(dict.fromkeys((i, j) for i in used for j in used if i <= j))


def quadratic(seconds: Mapping[Pair, float], form: Mapping[int, float]) -> float:
    """Sum over rows of (sum of coefficient * centred column)^2, from the second moments of pairs (i <= j)."""
    varying = {column: value for column, value in form.items() if column != ONE_COLUMN and value != 0.0}
    return sum(a * b * seconds[min(i, j), max(i, j)] for i, a in varying.items() for j, b in varying.items())
