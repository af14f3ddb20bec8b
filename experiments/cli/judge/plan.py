"""`tactful plan`: how many decisions are needed to see a difference."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.cli.console import Json, OverrideLearnt, Overrides, Replace, free_out, guarded, show
from experiments.cli.inputs import OptionalLog

if TYPE_CHECKING:
    from experiments.judge.planning.decisions import Moments, PilotLog
    from experiments.judge.planning.learning import LearnLog, LearnRates


def run(
    difference: Annotated[float | None, typer.Option(help="Difference to see, in the metric's unit.")] = None,
    lift: Annotated[
        float | None, typer.Option(help="The same as a share of the baseline's value: 0.03 is 3 %.")
    ] = None,
    power: Annotated[float, typer.Option(help="Probability to see it, in (0.5, 1).")] = 0.9,
    exploration: Annotated[
        str, typer.Option(help="Comma-separated shares of decisions that are drawn uniformly.")
    ] = "0.02,0.05,0.1,0.2,0.5,1",
    log: OptionalLog = None,
    metric: Annotated[str, typer.Option(help="Metric of the pilot.")] = "",
    policy: Annotated[str, typer.Option(help="The policy to judge, as for `evaluate`.")] = "",
    baseline: Annotated[str, typer.Option(help="The policy that will decide, but for the exploration.")] = "logged",
    mean: Annotated[float | None, typer.Option(help="Moments: mean reward of the baseline.")] = None,
    sd: Annotated[
        float | None, typer.Option(help="Moments: its standard deviation; not for rewards of 0 or 1.")
    ] = None,
    actions: Annotated[int, typer.Option(help="Moments: actions that are eligible at once.")] = 2,
    disagreement: Annotated[
        float, typer.Option(help="Moments: share of decisions on which the policies differ.")
    ] = 1.0,
    learn: Annotated[
        bool,
        typer.Option("--learn", help="Ask instead whether the best arms can be learnt, by when, at what cost."),
    ] = False,
    by: Annotated[str, typer.Option(help="Learn: categorical feature whose groups may get different arms.")] = "",
    stages: Annotated[
        str,
        typer.Option(help="Learn: other metrics to learn from: clicked,opened; with --mean clicked=0.03."),
    ] = "",
    per_week: Annotated[float | None, typer.Option(help="Learn: decisions a week; else those of the log.")] = None,
    weeks: Annotated[int, typer.Option(help="Learn: until when it must be learnt.")] = 26,
    spread: Annotated[
        float,
        typer.Option(help="Learn, moments: standard deviation of the arms' values, as a share of the mean."),
    ] = 0.1,
    out: Annotated[Path | None, typer.Option(help="Folder for plan.html and plan.json.")] = None,
    override_learnt: OverrideLearnt = None,
    replace: Replace = False,
    as_json: Json = False,
    overrides: Overrides = None,
) -> None:
    """How many decisions, at which exploration, are needed to see a difference of two policies.

    From a pilot log (--log, --metric, --policy) or from moments (--mean, --sd, --actions). With --learn (and --log,
    --metric, or --mean, --actions, --spread, --per-week): whether the best arms can be learnt. Overrides:
    evaluation.alpha=0.1, or evaluation.interval=asymptotic_sequence where the log will be looked at every day.
    """
    from engine.errors import ParameterError
    from experiments.cli.results import learning_table, plan_table
    from experiments.judge.planning.decisions import PilotLog, PlanRequest, plan_log
    from experiments.judge.planning.learning import LearnRequest, plan_learning
    from experiments.report.plan import answer, reasons
    from experiments.report.plan_learn import actions as learn_actions
    from experiments.report.plan_learn import answer as learn_answer
    from experiments.settings import PlanConfig, compose_settings

    with guarded(as_json=as_json):
        free_out(out, "plan.html", "plan.json", replace=replace, inputs=[log])
        config = compose_settings("plan", overrides or [], PlanConfig)
        if learn:
            if difference is not None or lift is not None or policy:
                raise ParameterError(
                    "learn", "plan", allowed="without --difference, --lift, --policy", got=(difference, lift, policy),
                    hint="--learn tells what lifts of 1 % and 3 % need",
                )  # fmt: skip
            wanted = LearnRequest(
                source=_learnt(log, metric, by, stages, mean, sd, actions, spread), per_week=per_week, weeks=weeks,
                explorations=_shares(exploration), power=power, out=out,
            )  # fmt: skip
            learnt = plan_learning(wanted, config)
            said = [learn_answer(learnt), *learn_actions(learnt), *learnt.notes]
            lines = [*said, *(f"{name}: {path}" for name, path in learnt.files.items())]
            show(learnt, [learning_table(learnt)], lines, as_json=as_json)
            return
        source = _source(log, metric, policy, baseline, mean, sd, actions, disagreement)
        if isinstance(source, PilotLog):
            source = dataclasses.replace(source, override_learnt=override_learnt)
        request = PlanRequest(
            source=source,
            difference=difference,
            lift=lift,
            power=power,
            explorations=_shares(exploration),
            out=out,
        )
        output = plan_log(request, config)
        lines = [
            answer(output),
            *reasons(output),
            *output.notes,
            *(f"{name}: {path}" for name, path in output.files.items()),
        ]
        show(output, [plan_table(output)], lines, as_json=as_json)


def _shares(text: str) -> tuple[float, ...]:
    from engine.errors import ParameterError

    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ParameterError("exploration", "plan", allowed="comma-separated shares in [0, 1]", got=text) from error


def _learnt(
    log: list[Path] | None,
    metric: str,
    by: str,
    stages: str,
    mean: float | None,
    sd: float | None,
    actions: int,
    spread: float,
) -> LearnLog | LearnRates:
    from engine.errors import ParameterError
    from experiments.judge.planning.learning import LearnLog, LearnRates

    names = [part.strip() for part in stages.split(",") if part.strip()]
    if (not log) == (mean is None):
        raise ParameterError("log", "plan", allowed="one of --log (a log) and --mean (rates)", got=(log, mean))
    if log:
        if not metric:
            raise ParameterError("metric", "plan", allowed="given with --log", got=metric)
        return LearnLog(log=log, metric=metric, by=by, stages=tuple(names))
    try:
        rates = {name: float(rate) for name, _, rate in (part.partition("=") for part in names)}
    except ValueError as error:
        raise ParameterError(
            "stages", "plan", allowed="NAME=RATE, separated by commas, with --mean", got=stages
        ) from error
    return LearnRates(mean=float(mean or 0.0), arms=actions, spread=spread, sd=sd, stages=rates)


def _source(
    log: list[Path] | None,
    metric: str,
    policy: str,
    baseline: str,
    mean: float | None,
    sd: float | None,
    actions: int,
    disagreement: float,
) -> PilotLog | Moments:
    from engine.errors import ParameterError
    from experiments.judge.planning.decisions import Moments, PilotLog

    log = log or None
    if (log is None) == (mean is None):
        raise ParameterError("log", "plan", allowed="one of --log (a pilot) and --mean (moments)", got=(log, mean))
    if log is None:
        return Moments(mean=float(mean or 0.0), actions=actions, sd=sd, disagreement=disagreement)
    if not metric or not policy:
        raise ParameterError("metric", "plan", allowed="given with --log, and --policy too", got=(metric, policy))
    return PilotLog(log=log, metric=metric, policy=policy, baseline=baseline)
