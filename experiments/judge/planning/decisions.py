"""Plan a log: from a pilot log or a few numbers to the object that `tactful plan` prints, and its files."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import msgspec

from engine.errors import DataError, MissingPropensityError, ParameterError
from engine.log.selection import Selection
from engine.log.structure import require_sound
from engine.ope.evaluate import evaluate
from engine.ope.plan import ASSURANCE, Need, Pilot, PilotSums, Terms, needed, of_moments
from engine.ope.settings import EvaluationSettings
from engine.ope.setup import Question
from engine.ope.support import SupportRule
from engine.ope.target import Target
from engine.storage.given import Given, named
from experiments.judge.extra_columns import with_columns
from experiments.judge.learnt_rows import marked
from experiments.judge.planning.judge_by import JudgedBy, advised, judged_by
from experiments.judge.specs import parse_spec
from experiments.outputs import Output, json_bytes
from experiments.report.files import make_folder, write_whole
from experiments.report.plan import plan_page
from experiments.settings import PlanConfig

EXPLORATIONS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
# Uniform decisions so many times the fewest are as good as the fewest where they come sooner.
_NEAR = 1.15
Planned = TypeVar("Planned", bound=Output)


class PlanOutput(Output, frozen=True, kw_only=True):
    """`tactful plan --json`.

    Attributes:
        difference: that is to be seen, in the metric's unit.
        baseline_value: what the baseline is worth, or null where it was not given.
        source: "pilot" or "moments".
        design_effect: how many times larger the variance is because rows of one contact depend on each other.
        plan: one row for each exploration.
        recommended: the exploration to choose; null where no number of decisions is enough.
        exploring_cost: what the uniform decisions of the recommended row lose against the baseline in all, in the
            metric's unit; null where no pilot tells what a uniform choice is worth.
        judged_by: the decisions that each figure needs which a backtest can be judged by; empty where the pilot knows
            the metric alone.
        judge_by: the one to choose of them; "" where there is none.
    """

    difference: float
    baseline_value: float | None
    alpha: float
    power: float
    interval: str
    source: str
    design_effect: float
    plan: tuple[Need, ...]
    recommended: float | None = None
    exploring_cost: float | None = None
    judged_by: tuple[JudgedBy, ...] = ()
    judge_by: str = ""
    notes: tuple[str, ...] = ()
    files: dict[str, str] = {}


@dataclass(frozen=True)
class PilotLog:
    """A log to plan from.

    Attributes:
        log: A log in our schema.
        metric: a metric of it.
        policy / baseline: specifications, see `experiments.judge.specs`.
        override_learnt: the reason to judge trained policies on rows that they learnt from; the notes say so.
    """

    log: Given
    metric: str
    policy: str
    baseline: str = "logged"
    override_learnt: str | None = None


@dataclass(frozen=True)
class Moments:
    """Numbers to plan from.

    Attributes:
        mean: The mean reward under the baseline.
        actions: eligible at once.
        sd: The standard deviation of the reward of one action; None for a reward of 0 or 1, whose mean tells it.
        disagreement: share of decisions on which the policies differ.
    """

    mean: float
    actions: int
    sd: float | None = None
    disagreement: float = 1.0


@dataclass(frozen=True)
class PlanRequest:
    """What is asked.

    Attributes:
        source: a pilot log, or moments.
        difference: The difference that is to be seen, in the metric's unit; None where `lift` says it.
        lift: the difference as a share of the baseline's value.
        power: probability to see it.
        explorations: shares of uniform decisions to plan for.
        out: folder for files, or None.
    """

    source: PilotLog | Moments
    difference: float | None = None
    lift: float | None = None
    power: float = 0.9
    explorations: tuple[float, ...] = EXPLORATIONS
    out: Path | None = None


@dataclass(frozen=True)
class _Told:
    """What a source tells."""

    name: str
    baseline: float
    kurtosis: float
    terms: Sequence[Terms]
    design_effect: float = 1.0
    notes: tuple[str, ...] = ()
    reward_range: tuple[float, float] = (-math.inf, math.inf)
    uniform: float | None = None


def plan_log(request: PlanRequest, config: PlanConfig) -> PlanOutput:
    """How many decisions are needed, at each exploration.

    Raises:
        DataError: an unreadable log, an unknown metric or policy, a pilot on which the policies cannot be compared.
        MissingPropensityError: a pilot without propensities.
        ParameterError: an argument outside its range.
        StorageError: the files cannot be written.
    """
    settings, source = config.evaluation, request.source
    told = _of_pilot(source, request, settings) if isinstance(source, PilotLog) else _of_moments(source, request)
    difference = _difference(request, told)
    alpha, rule = settings.shared_alpha, SupportRule()
    needs = [
        needed(
            replace(
                t, variance=t.variance * told.design_effect, variance_stderr=t.variance_stderr * told.design_effect
            ),
            difference,
            alpha=alpha,
            power=request.power,
            interval=settings.interval,
            kurtosis=told.kurtosis,
            rule=rule,
        )
        for t in told.terms
    ]
    best = recommended(needs)
    cost = None
    if best is not None and best.decisions is not None and told.uniform is not None:
        cost = best.decisions * best.exploration * (told.baseline - told.uniform)
    figures = _figures(source, best, difference, request.power, config)
    output = PlanOutput(
        difference=difference,
        baseline_value=told.baseline,
        alpha=alpha,
        power=request.power,
        interval=settings.interval,
        source=told.name,
        design_effect=told.design_effect,
        plan=tuple(needs),
        recommended=None if best is None else best.exploration,
        exploring_cost=cost,
        judged_by=figures,
        judge_by=advised(figures),
        notes=told.notes,
    )
    return output if request.out is None else written(output, request.out, plan_page)


def _figures(
    source: PilotLog | Moments, best: Need | None, difference: float, power: float, config: PlanConfig
) -> tuple[JudgedBy, ...]:
    """What each figure needs at the exploration that is recommended; nothing without a pilot."""
    if best is None or not isinstance(source, PilotLog):
        return ()
    with with_columns(source.log, None) as reader:
        target, columns = parse_spec(source.policy, reader)
        baseline, more = parse_spec(source.baseline, reader)
        read = tuple(sorted({*columns, *more}))
        return judged_by(reader, source.metric, (baseline, target), (best.exploration, difference, power), config, read)


def recommended(needs: Sequence[Need]) -> Need | None:
    """The exploration that needs the fewest decisions, of those with hardly more uniform decisions than the fewest."""
    possible = [(row.decisions, row.decisions * row.exploration, row) for row in needs if row.decisions is not None]
    if not possible:
        return None
    fewest = min(drawn for _, drawn, _ in possible)
    return min((one for one in possible if one[1] <= _NEAR * fewest), key=lambda one: one[0])[2]


def _difference(request: PlanRequest, told: _Told) -> float:
    if (request.difference is None) == (request.lift is None):
        raise ParameterError(
            "difference", "plan", allowed="one of --difference and --lift", got=(request.difference, request.lift)
        )
    difference, asked = request.difference, "difference"
    if request.lift is not None:
        difference, asked = request.lift * told.baseline, "lift"
        if not request.lift > -1 or not math.isfinite(difference) or difference == 0:
            raise ParameterError(
                "lift",
                "plan",
                allowed="above -1 and not 0, of a baseline worth other than 0",
                got=(request.lift, told.baseline),
                hint="0.03 is 3 % more than the baseline's value",
            )
    low, high = told.reward_range
    reached = told.baseline + float(difference or 0.0)
    if not low <= reached <= high:
        raise ParameterError(
            asked,
            "plan",
            allowed=f"such that the policy's value lies in the metric's range, {low:g} to {high:g}",
            got=f"{told.baseline:g} {float(difference or 0.0):+g} = {reached:g}",
        )
    return float(difference or 0.0)


def _of_moments(moments: Moments, request: PlanRequest) -> _Told:
    mean, sd, kurtosis, range_ = moments.mean, moments.sd, math.nan, (-math.inf, math.inf)
    if not math.isfinite(mean):
        raise ParameterError("mean", "plan", allowed="finite", got=mean)
    if sd is None:
        if not 0 < mean < 1:
            raise ParameterError(
                "sd", "plan", allowed="given where the mean is no share in (0, 1)", got=None, hint="say --sd"
            )
        sd, kurtosis = of_share(mean)
        range_ = (0.0, 1.0)
    terms = [
        of_moments(exploration, actions=moments.actions, sd=sd, disagreement=moments.disagreement)
        for exploration in request.explorations
    ]
    notes = ("planned from moments: both policies always take one action, and rows are independent",)
    return _Told("moments", mean, kurtosis, terms, notes=notes, reward_range=range_)


def _of_pilot(source: PilotLog, request: PlanRequest, settings: EvaluationSettings) -> _Told:
    with with_columns(source.log, None) as reader:
        if reader.meta.propensity != "logged":
            raise MissingPropensityError(
                f"{named(source.log)} has no propensities: it does not tell what another log would show",
                hint="plan from moments: --mean, --sd, --actions",
            )
        require_sound(reader)
        learnt = marked((source.policy, source.baseline), reader, source.metric, source.override_learnt)
        target, columns = parse_spec(source.policy, reader)
        baseline, more = parse_spec(source.baseline, reader)
        rounds = Selection(reader, source.metric, extra=sorted({*columns, *more}))
        spec = reader.meta.rewards[source.metric]
        range_ = (spec.low, spec.high)
        sums = PilotSums(target, baseline, metric=source.metric, reward_range=range_, explorations=request.explorations)
        effect, notes = _check(rounds, target, baseline, source.metric, range_, settings, clustered=reader.clustered)
        for batch in rounds:
            sums.add(batch)
    pilot = sums.result()
    terms = _varying(pilot)
    said = (*reader.meta.notes, *learnt.values(), *notes, *_assured(terms))
    return _Told("pilot", pilot.baseline, pilot.kurtosis, terms, effect, said, range_, pilot.uniform)


def _assured(terms: Sequence[Terms]) -> tuple[str, ...]:
    found = [term.variance_stderr / term.variance for term in terms if 0 < term.variance < math.inf]
    if not found:
        return ()
    known = f"the pilot knows the variance to about {max(found):.0%} or better"
    return (f"{known}; its upper limit is planned with, so that {ASSURANCE:.0%} of such pilots give enough decisions",)


def _varying(pilot: Pilot) -> tuple[Terms, ...]:
    if all(term.variance == 0 for term in pilot.terms):
        raise DataError(
            "on the pilot log the policy does what the baseline does: there is no difference to see",
            hint="give another --policy or --baseline",
        )
    return pilot.terms


def _check(
    rounds: Selection,
    target: Target,
    baseline: Target,
    metric: str,
    reward_range: tuple[float, float],
    settings: EvaluationSettings,
    *,
    clustered: bool,
) -> tuple[float, tuple[str, ...]]:
    """The design effect of the clusters, and what the pilot's own support says of the plan."""
    found = [
        evaluate(
            rounds,
            [target],
            Question(
                metric=metric, reward_range=reward_range, estimators=("snips",), baseline=baseline, clustered=by_cluster
            ),
            EvaluationSettings(alpha=settings.alpha),
        )
        for by_cluster in ((False, True) if clustered else (False,))
    ]
    notes = tuple(f"the pilot itself is too small to be sure of this: {reason}" for reason in found[-1].reasons[0])
    differences = [one.results[0].difference for one in found]
    errors = [None if difference is None else difference.stderr for difference in differences]
    if not clustered or not errors[0] or errors[1] is None:
        return 1.0, notes
    effect = (errors[1] / errors[0]) ** 2
    return effect, (
        *notes,
        f"rows of one contact depend on each other: the variance is {effect:.3g} times that of rows",
    )


def written(output: Planned, out: Path, page: Callable[[Planned], str]) -> Planned:
    """A plan with its files: its page, and what is printed.

    Raises:
        StorageError: the files cannot be written.
    """
    folder = make_folder(out)
    files = {"report": str(folder / "plan.html"), "json": str(folder / "plan.json")}
    output = msgspec.structs.replace(output, files=files)
    write_whole(folder / "plan.json", json_bytes(output))
    write_whole(folder / "plan.html", page(output))
    return output


def of_share(mean: float) -> tuple[float, float]:
    """Standard deviation and kurtosis of a reward that is 1 with probability `mean`, else 0."""
    return math.sqrt(mean * (1 - mean)), 1 / (mean * (1 - mean)) - 3
