"""`tactful plan --learn`: can this be learnt, by when, and will the log after it still answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from engine.errors import DataError, MissingPropensityError, ParameterError
from engine.features import PRESENT
from engine.log.parquet import LogReader
from engine.log.selection import Selection
from engine.names import did_you_mean
from engine.numeric.matmul import matmul
from engine.ope.learnable import Cells, Learning, cells_of, cells_of_rates, learning, to_drop
from engine.ope.plan import Need, needed, of_moments
from engine.ope.support import SupportRule
from engine.records.rounds import RoundBatch
from engine.storage.given import Given, named
from engine.time.localtime import DAY_US
from engine.types import NOT_AN_INSTANT, FloatArray, IntArray, KeyArray
from experiments.judge.extra_columns import with_columns
from experiments.judge.planning.decisions import EXPLORATIONS, of_share, written
from experiments.outputs import Output
from experiments.report.plan_learn import learn_page
from experiments.settings import PlanConfig

ENOUGH = 0.8
LIFTS = (0.01, 0.03)
_MONTH_WEEKS = 30 / 7
_FEWEST_ROWS = 10


@dataclass(frozen=True)
class LearnLog:
    """A log to plan from.

    Attributes:
        log: a log in our schema, with propensities.
        metric: what is to be won.
        by: categorical feature whose groups may get different arms; "" for one arm for all.
        stages: other metrics of the log, for instance clicks, that may be learnt from instead.
    """

    log: Given
    metric: str
    by: str = ""
    stages: tuple[str, ...] = ()


@dataclass(frozen=True)
class LearnRates:
    """A team's numbers to plan from.

    Attributes:
        mean: the mean reward of a decision.
        arms: how many are to be tried.
        spread: by how much arms differ: standard deviation of their values as a share of the mean.
        sd: standard deviation of the reward; None for a reward of 0 or 1.
        stages: name -> rate of what may be learnt from instead.
    """

    mean: float
    arms: int
    spread: float = 0.1
    sd: float | None = None
    stages: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LearnRequest:
    """What is asked.

    Attributes:
        source: a log or rates.
        per_week: decisions; None for those of the log.
        weeks: until when it must be learnt.
        explorations: shares of uniform decisions to compare.
        power: probability to see a lift.
        out: folder for files, or None.
    """

    source: LearnLog | LearnRates
    per_week: float | None = None
    weeks: int = 26
    explorations: tuple[float, ...] = EXPLORATIONS
    power: float = 0.9
    out: Path | None = None


class ExploringRow(Output, frozen=True, kw_only=True):
    """What one exploration brings and costs.

    Attributes:
        exploration: share of uniform decisions.
        by_week: week by which 80 % of the gain is learnt; null where not within the weeks that were asked for.
        share: expected share of the gain at the end of them.
        cost: of exploring, per 100,000 decisions, in the metric's unit: what uniform decisions lose against the best
            arms.
        smallest_propensity: of an arm that is not favoured.
        next_month_ess: effective sample size in next month's log of a policy that always takes such an arm.
        answers: the metric and the stages on which next month's log supports a judgement of it.
    """

    exploration: float
    by_week: int | None
    share: float | None
    cost: float
    smallest_propensity: float
    next_month_ess: float
    answers: tuple[str, ...]


class CurveRow(Output, frozen=True, kw_only=True):
    """Expected share of the gain by week, at the recommended exploration.

    Attributes:
        name: the metric or stage, or the number of arms that are kept.
        by_week: week by which 80 % is learnt; null where it is not.
        shares: of the gain, at `weeks`.
        p_value: of arms that are all alike on this metric; null without a log.
    """

    name: str
    by_week: int | None
    shares: tuple[float | None, ...]
    p_value: float | None = None


class ArmRow(Output, frozen=True, kw_only=True):
    """An arm.

    Attributes:
        name: of the arm.
        value: its mean by inverse propensities; null without a log.
        chance_best: chance to be the best arm, over all decisions.
        drop: whether it is hardly ever the best, in any group; never true of sending nothing, which messages are held
            against.
    """

    name: str
    value: float | None
    chance_best: float
    drop: bool


class LiftRow(Output, frozen=True, kw_only=True):
    """Contacts that a lift needs at the recommended exploration; null where no number is enough.

    Attributes:
        metric: the metric or stage that is lifted.
        lift: as a share of its mean.
        decisions / contacts / weeks: until it is seen with the power that is asked for.
    """

    metric: str
    lift: float
    decisions: int | None
    contacts: int | None
    weeks: float | None


class LearnOutput(Output, frozen=True, kw_only=True):
    """`tactful plan --learn --json`.

    Attributes:
        answer: yes, not in time, or not shown (the arms of the log differ by no more than chance).
        metric / unit / mean / per_week: what was planned for.
        groups: whose best arm is learnt.
        spread: of the arms' values, as a share of the mean.
        p_value: of arms that are all alike; null without a log.
        gain: of the best arms over what the log did, as a share of the mean.
        recommended: the exploration to choose.
        explorations / stages / arm_counts / arms / lifts: the tables.
        weeks: the weeks of the curves; 0 is today.
    """

    answer: str
    source: str
    metric: str
    unit: str
    mean: float
    per_week: float
    groups: tuple[str, ...]
    spread: float
    p_value: float | None
    gain: float
    recommended: float
    weeks: tuple[int, ...]
    explorations: tuple[ExploringRow, ...]
    stages: tuple[CurveRow, ...]
    arm_counts: tuple[CurveRow, ...]
    arms: tuple[ArmRow, ...]
    lifts: tuple[LiftRow, ...]
    notes: tuple[str, ...] = ()
    files: dict[str, str] = {}


@dataclass(frozen=True)
class _Told:
    """What a source tells of one metric."""

    cells: Cells
    mean: float
    sd: float
    kurtosis: float


@dataclass(frozen=True)
class _Source:
    name: str
    metric: str
    told: Mapping[str, _Told]
    arms: tuple[str, ...]
    groups: tuple[str, ...]
    per_week: float
    per_contact: float
    notes: tuple[str, ...]
    unit: str = ""
    hold: str = ""


def plan_learning(request: LearnRequest, config: PlanConfig) -> LearnOutput:
    """Whether the best arms can be learnt, by when, at what cost, and what the log after it can still say.

    Raises:
        DataError: an unreadable log, an unknown metric or feature, fewer than two arms.
        MissingPropensityError: a log without propensities.
        ParameterError: an argument outside its range.
        StorageError: the files cannot be written.
    """
    _checked(request)
    asked = request.source
    source = _of_log(asked, request.per_week) if isinstance(asked, LearnLog) else _of_rates(asked, request.per_week)
    told, arms = source.told[source.metric], len(source.arms)
    weeks = tuple(range(request.weeks + 1))

    def simulated(cells: Cells, exploration: float, kept: Sequence[int] | None = None) -> Learning:
        return learning(cells, exploration=exploration, per_week=source.per_week, weeks=weeks, kept=kept)

    rows, found = [], {}
    for exploration in sorted(request.explorations):
        found[exploration] = learnt = simulated(told.cells, exploration)
        month = source.per_week * _MONTH_WEEKS
        rows.append(
            ExploringRow(
                exploration=exploration,
                by_week=_by_week(learnt.shares),
                share=_plain(learnt.shares[-1]),
                cost=exploration * learnt.uniform_loss * 100_000,
                smallest_propensity=exploration / arms,
                next_month_ess=month * exploration / arms,
                answers=tuple(
                    name
                    for name, one in source.told.items()
                    if month >= (_need(one, LIFTS[-1], exploration, arms, request, config).for_support or math.inf)
                ),
            )
        )
    best = _recommended(rows)
    learnt = found[best.exploration]
    dropped = set() if told.cells.spread == 0 else set(to_drop(learnt.best).tolist())
    # Silence is what messages are held against, whatever it brings by itself.
    dropped = {place for place in dropped if source.arms[place] != source.hold}
    order = np.argsort(-(told.cells.weight[:, None] * learnt.best).sum(axis=0), kind="stable")
    counts = sorted({count for count in (2, 3, 4, 6, 8, 12, 20, arms - len(dropped), arms) if 2 <= count <= arms})
    kept = {count: simulated(told.cells, best.exploration, sorted(order[:count].tolist())) for count in counts}
    chance = matmul(told.cells.weight, learnt.best)
    from_log = source.name == "log"
    shown = not from_log or (told.cells.p_value <= config.evaluation.shared_alpha and told.cells.spread > 0)
    output = LearnOutput(
        answer="not shown" if not shown else "yes" if best.by_week is not None else "not in time",
        source=source.name,
        metric=source.metric,
        unit=source.unit,
        mean=told.mean,
        per_week=source.per_week,
        groups=source.groups,
        spread=told.cells.spread / (abs(told.mean) or 1.0),
        p_value=_plain(told.cells.p_value),
        gain=learnt.gain / (abs(told.mean) or 1.0),
        recommended=best.exploration,
        weeks=weeks,
        explorations=tuple(rows),
        stages=tuple(
            _curve(name, learnt if one is told else simulated(one.cells, best.exploration), one.cells.p_value)
            for name, one in source.told.items()
        ),
        arm_counts=tuple(_curve(str(count), one) for count, one in kept.items()),
        arms=tuple(
            ArmRow(name=name, value=_value(told.cells, place) if from_log else None,
                   chance_best=float(chance[place]), drop=place in dropped)
            for place, name in enumerate(source.arms)
        ),
        lifts=tuple(
            _lift(name, lift, best.exploration, source, request, config) for name in source.told for lift in LIFTS
        ),
        notes=source.notes,
    )  # fmt: skip
    return output if request.out is None else written(output, request.out, learn_page)


def _checked(request: LearnRequest) -> None:
    if request.per_week is not None and not 0 < request.per_week < math.inf:
        raise ParameterError("per_week", "plan", allowed="positive and finite", got=request.per_week)
    if not 1 <= request.weeks <= 260:
        raise ParameterError("weeks", "plan", allowed="in 1..260", got=request.weeks)
    bad = [one for one in request.explorations if not 0 < one <= 1]
    if bad or not request.explorations:
        raise ParameterError(
            "exploration", "plan", allowed="one or several in (0, 1]", got=request.explorations,
            hint="without exploring nothing is learnt",
        )  # fmt: skip
    if not 0.5 < request.power < 1:
        raise ParameterError("power", "plan", allowed="in (0.5, 1)", got=request.power)


def _by_week(shares: FloatArray) -> int | None:
    on = np.flatnonzero(shares >= ENOUGH)
    return int(on[0]) if len(on) else None


def _recommended(rows: Sequence[ExploringRow]) -> ExploringRow:
    """The least exploration that learns in time and leaves a log that answers; else the nearest to it."""
    both = [row for row in rows if row.by_week is not None and row.answers]
    some = [row for row in rows if row.answers]
    if both or some:
        return both[0] if both else max(some, key=lambda row: row.share or 0.0)
    return max(rows, key=lambda row: row.next_month_ess)


def _curve(name: str, learnt: Learning, p_value: float | None = None) -> CurveRow:
    shares = tuple(_plain(share) for share in learnt.shares)
    return CurveRow(name=name, by_week=_by_week(learnt.shares), shares=shares, p_value=_plain(p_value))


def _plain(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _value(cells: Cells, place: int) -> float | None:
    seen = np.isfinite(cells.mean[:, place])
    weight = cells.weight[seen]
    return float(matmul(weight, cells.mean[seen, place]) / weight.sum()) if weight.sum() > 0 else None


def _need(told: _Told, lift: float, exploration: float, arms: int, request: LearnRequest, config: PlanConfig) -> Need:
    """Decisions that show that an arm is by a lift better than the one in use."""
    return needed(
        of_moments(exploration, actions=arms, sd=told.sd, disagreement=1.0),
        lift * (abs(told.mean) or told.sd),
        alpha=config.evaluation.shared_alpha,
        power=request.power,
        interval=config.evaluation.interval,
        kurtosis=told.kurtosis,
        rule=SupportRule(),
    )


def _lift(
    name: str, lift: float, exploration: float, source: _Source, request: LearnRequest, config: PlanConfig
) -> LiftRow:
    need = _need(source.told[name], lift, exploration, len(source.arms), request, config)
    count = need.decisions
    contacts = None if count is None else math.ceil(count / source.per_contact)
    weeks = None if count is None else count / source.per_week
    return LiftRow(metric=name, lift=lift, decisions=count, contacts=contacts, weeks=weeks)


def _of_rates(rates: LearnRates, per_week: float | None) -> _Source:
    if per_week is None:
        raise ParameterError("per_week", "plan", allowed="given with --mean", got=None, hint="say --per-week 20000")
    if not 2 <= rates.arms <= 1000:
        raise ParameterError("actions", "plan", allowed="in 2..1000", got=rates.arms)
    if not 0 < rates.spread <= 3:
        raise ParameterError("spread", "plan", allowed="in (0, 3]: a share of the mean", got=rates.spread)
    if not math.isfinite(rates.mean) or rates.mean == 0:
        raise ParameterError("mean", "plan", allowed="finite, not 0", got=rates.mean)
    if rates.sd is None and not 0 < rates.mean < 1:
        raise ParameterError("sd", "plan", allowed="given where the mean is no share in (0, 1)", got=None)
    if rates.sd is not None and not 0 < rates.sd < math.inf:
        raise ParameterError("sd", "plan", allowed="positive and finite", got=rates.sd)
    for name, rate in rates.stages.items():
        if not 0 < rate < 1:
            raise ParameterError(f"stage {name}", "plan", allowed="a rate in (0, 1)", got=rate)
    told = {"metric": _of_rate(rates.mean, rates.sd, rates)}
    told |= {name: _of_rate(rate, None, rates) for name, rate in rates.stages.items()}
    notes = (
        f"arms are taken to differ by {rates.spread:.0%} of the mean (--spread), alike on every stage",
        "rows are taken to be independent, one decision a contact",
    )
    names = tuple(f"arm {place + 1}" for place in range(rates.arms))
    return _Source("rates", "metric", told, names, ("everybody",), per_week, 1.0, notes)


def _of_rate(mean: float, sd: float | None, rates: LearnRates) -> _Told:
    sd, kurtosis = of_share(mean) if sd is None else (sd, math.nan)
    return _Told(cells_of_rates(mean, sd, rates.arms, rates.spread * abs(mean)), mean, sd, kurtosis)


class _Rows:
    """Rows of a log, by group and arm."""

    def __init__(self, reader: LogReader, by: str) -> None:
        self._by, self._catalog = by, reader.meta.catalog
        self._groups: dict[str, int] = {}
        self._parts: list[tuple[IntArray, IntArray, FloatArray, KeyArray, IntArray]] = []
        self._rewards: list[FloatArray] = []

    def add(self, batch: RoundBatch, metrics: Sequence[str]) -> None:
        """Add a batch."""
        group = np.zeros(batch.n, dtype=np.int64)
        if self._by:
            column = batch.context.columns[self._by]
            names = np.array([*column.levels, "not known"], dtype=object)
            code = np.where(column.state == PRESENT, column.values, len(column.levels)).astype(np.int64)
            places = np.array([self._groups.setdefault(str(names[one]), len(self._groups)) for one in np.unique(code)])
            group = places[np.unique(code, return_inverse=True)[1]]
        arm = self._catalog.split(batch.action)[2] + 1
        self._parts.append((group, arm, batch.propensity, batch.cluster, batch.decided_at))
        self._rewards.append(np.stack([batch.rewards[name] for name in metrics]).astype(np.float64))

    def joined(self) -> tuple[IntArray, IntArray, FloatArray, KeyArray, IntArray, FloatArray]:
        """Group, arm, propensity, cluster, instant and (metrics, n) rewards of all rows."""
        group, arm, p, cluster, at = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        return group, arm, p, cluster, at, np.concatenate(self._rewards, axis=1)

    @property
    def filled(self) -> bool:
        return bool(self._parts)

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(self._groups) or ("everybody",)


def _of_log(asked: LearnLog, per_week: float | None) -> _Source:
    with with_columns(asked.log, None) as reader:
        if reader.meta.propensity != "logged":
            raise MissingPropensityError(
                f"{named(asked.log)} has no propensities: it does not tell what its arms are worth",
                hint="plan from rates: --mean, --actions, --spread, --per-week",
            )
        metrics = tuple(dict.fromkeys((asked.metric, *asked.stages)))
        for name in metrics:
            reader.require_metric(name)
        _check_feature(reader, asked.by)
        rows = _Rows(reader, asked.by)
        for batch in Selection(reader, asked.metric, rewards=metrics):
            if batch.n:
                rows.add(batch, metrics)
        notes, catalog, clustered = reader.meta.notes, reader.meta.catalog, reader.clustered
        unit = reader.meta.rewards[asked.metric].unit
    if not rows.filled:
        raise DataError(f"{named(asked.log)} has no usable row whose {asked.metric} is known")
    group, arm, p, cluster, at, rewards = rows.joined()
    present, arm = np.unique(arm, return_inverse=True)
    if len(present) < 2:
        raise DataError("the log took one arm only: there is nothing to learn between", hint="explore more arms")
    names = (catalog.hold_name, *catalog.arm_ids)
    told = {
        name: _of_rewards(group, arm, p, cluster, rewards[place], len(rows.groups), len(present))
        for place, name in enumerate(metrics)
    }
    said = (
        [*notes] if clustered else [*notes, "no contact comes up twice in this log: rows are taken to be independent"]
    )
    contacts = len(np.unique(cluster)) if clustered else len(cluster)
    rate = _rate(at) if per_week is None else per_week
    said.append("an arm's value is that of a uniform choice among its channels and hours")
    arms = tuple(names[place] for place in present)
    many, hold = len(cluster) / contacts, catalog.hold_name
    return _Source("log", asked.metric, told, arms, rows.groups, rate, many, tuple(said), unit, hold)


def _check_feature(reader: LogReader, by: str) -> None:
    categorical = [spec.name for spec in reader.meta.features.features if spec.type == "categorical"]
    if by and by not in categorical:
        raise DataError(
            f"--by {by!r} is no categorical feature of the log",
            hint=f"{did_you_mean(by, categorical)}categorical are: {', '.join(categorical) or 'none'}",
        )


def _rate(at: IntArray) -> float:
    """Decisions a week, by the days from the first to the last."""
    known = at[at != NOT_AN_INSTANT]
    days = 0 if not len(known) else int(known.max() // DAY_US - known.min() // DAY_US) + 1
    if days < 2:
        raise ParameterError(
            "per_week", "plan", allowed="given where the log has no times, or those of one day", got=None,
            hint="say --per-week 20000",
        )  # fmt: skip
    return 7.0 * len(at) / days


def _of_rewards(
    group: IntArray, arm: IntArray, p: FloatArray, cluster: KeyArray, reward: FloatArray, groups: int, arms: int
) -> _Told:
    """Means by inverse propensities with errors by contact, and the spread of one decision with the clusters in it."""
    known = ~np.isnan(reward)
    group, arm, weight, cluster, reward = group[known], arm[known], 1.0 / p[known], cluster[known], reward[known]
    if not len(reward) or reward.min() == reward.max():
        raise DataError("the metric is the same in all rows: nothing can be learnt from it")
    cell, size = group * arms + arm, groups * arms
    rows, total = np.bincount(cell, minlength=size), np.bincount(cell, weights=weight, minlength=size)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(cell, weights=weight * reward, minlength=size) / total
        gap = reward - mean[cell]
        variance = np.bincount(cell, weights=weight * gap**2, minlength=size) / total
        influence = weight * gap / total[cell]
        plain = np.bincount(cell, weights=influence**2, minlength=size)
        unit = np.unique(cluster, return_inverse=True)[1].astype(np.int64)
        pairs, at = np.unique(unit * size + cell, return_inverse=True)
        sums = np.bincount(at, weights=influence)
        squares = np.bincount(pairs % size, weights=sums**2, minlength=size)
    effect = max(float(squares.sum() / plain.sum()), 1.0) if plain.sum() > 0 else 1.0
    few = (rows < _FEWEST_ROWS) | (squares == 0)
    shape = (groups, arms)
    stderr = np.where(few, np.inf, np.sqrt(squares)).reshape(shape)
    sd = np.where(few, np.nan, np.sqrt(variance * effect)).reshape(shape)
    if np.isnan(sd).all():
        raise DataError(f"no arm has {_FEWEST_ROWS} rows in any group: nothing can be planned from this log")
    cells = cells_of(np.where(few, np.nan, mean).reshape(shape), stderr, sd, rows.reshape(shape).astype(np.float64))
    centred = reward - reward.mean()
    second = float((centred**2).mean())
    return _Told(cells, float(reward.mean()), math.sqrt(second * effect), float((centred**4).mean()) / second**2)
