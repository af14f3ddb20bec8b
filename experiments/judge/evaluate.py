"""Evaluate policies on a log: from a request to the object that `tactful evaluate` prints, and its files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engine.errors import DataError, MissingPropensityError, ParameterError
from engine.log.parquet import LogReader
from engine.log.selection import Selection, count
from engine.log.structure import require_sound
from engine.ope.estimate import Estimate, Skipped
from engine.ope.estimators.marginalised import Embedding, action_groups
from engine.ope.estimators.several_loggers import Loggers, count_loggers
from engine.ope.evaluate import Progress, evaluate
from engine.ope.metrics.state import StackState
from engine.ope.models.regressor import RegressorModel
from engine.ope.quantiles import PolicyQuantiles, Quantile, edges_of
from engine.ope.settings import EvaluationSettings
from engine.ope.setup import Question
from engine.ope.target import Target
from engine.ope.uplift.policies import Uplift, UpliftState
from engine.records.rounds import RoundBatch
from engine.storage.given import Given, options
from experiments.judge.extra_columns import with_columns
from experiments.judge.launch.metrics import bound_stack, metric_rows
from experiments.judge.launch.sums import remembered
from experiments.judge.learnt_rows import marked
from experiments.judge.shared_models import Factory, regressor_named
from experiments.judge.specs import Tuning, parse_spec
from experiments.judge.volume_curve import (
    CurvePass,
    VolumeCurve,
    asked_curve,
    harms_of,
    no_scores,
    recency_feature,
    scored_policy,
)
from experiments.outputs import CommandOutput, LogSummary, MetricRow, json_bytes
from experiments.report.evaluation import evaluation_page
from experiments.report.files import make_folder, tidy, write_table, write_whole
from experiments.settings import EvaluateConfig
from policies.vw.arguments import VwConfig
from policies.vw.reward_model import VwRewardModel

Advance = Callable[[float], None]


class EvaluateOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful evaluate --json`.

    Attributes:
        metrics: the stack of metrics of every policy, the baseline's first.
        quantiles: policy -> quantiles of the reward, the baseline's first; left out where none were asked for.
        uplift: how well each policy's chance to send says whom a message helps; left out where it was not asked for.
        volume_curve: value and harm against the share of sends kept; left out where it was not asked for.
    """

    log: LogSummary
    results: tuple[Estimate, ...]
    metrics: tuple[MetricRow, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    files: dict[str, str] = {}
    quantiles: dict[str, tuple[Quantile, ...]] | msgspec.UnsetType = msgspec.UNSET
    uplift: tuple[Uplift, ...] | msgspec.UnsetType = msgspec.UNSET
    volume_curve: VolumeCurve | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True)
class EvaluateRequest:
    """What is asked.

    Attributes:
        log: a log in our schema.
        policies: specifications, see `experiments.judge.specs`.
        baseline: specification that the differences are taken to.
        metric: a metric of the log.
        estimators: names, in the order of the results.
        out: folder for files, or None.
        columns: file with further columns keyed by decision_id, or None.
        allow_inexact: whether a log without propensities may be judged by a model, marked as not exact.
        quantiles: levels in (0, 1) of the reward's quantiles under each policy; none are made where empty.
        uplift: whether to say how well each policy's chance to send orders contacts by what a message does to them.
        volume: whether to draw the volume curve of the first policy that has scores.
        recency: feature of its recency ranking; "" takes one that is known.
        override_learnt: the reason to judge trained policies on rows that they learnt from; every output says so.
    """

    log: Given
    policies: tuple[str, ...]
    metric: str
    baseline: str = "logged"
    estimators: tuple[str, ...] = ("ips", "snips")
    out: Path | None = None
    columns: Path | None = None
    allow_inexact: bool = False
    quantiles: tuple[float, ...] = ()
    uplift: bool = False
    volume: bool = False
    recency: str = ""
    override_learnt: str | None = None


def levels_of(text: str) -> tuple[float, ...]:
    """The levels of `--quantiles`.

    Raises:
        ParameterError: a level that is no number in (0, 1).
    """
    try:
        levels = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        levels = (math.nan,)
    if not all(0 < level < 1 for level in levels):
        raise ParameterError("quantiles", "evaluate", allowed="levels in (0, 1), as in 0.5,0.9", got=text)
    return levels


def evaluate_log(request: EvaluateRequest, config: EvaluateConfig, advance: Advance | None = None) -> EvaluateOutput:
    """Judge policies on a log and write the report.

    Raises:
        DataError: an unreadable log, an unknown metric, policy or column, rows that contradict themselves or each
            other, or that a policy learnt from.
        MissingPropensityError: a log without propensities, unless `allow_inexact`.
        ParameterError: a setting outside its range.
        StorageError: the report cannot be written.
    """
    with with_columns(request.log, request.columns) as reader:
        estimators = _allowed_estimators(request, reader)
        counts = count(reader, request.metric)
        require_sound(reader)
        specs = (*request.policies, request.baseline)
        learnt = marked(specs, reader, request.metric, request.override_learnt)
        tuning = Tuning(request.metric, config.peer, config.segments, config.model)
        parsed = [parse_spec(spec, reader, tuning) for spec in dict.fromkeys(request.policies)]
        baseline, baseline_columns = parse_spec(request.baseline, reader, tuning)
        asked = columns_needed(config.evaluation, reader)
        extra = sorted({name for _, names in parsed for name in names} | set(baseline_columns) | set(asked))
        judged = remembered({target.name: target for target in (baseline, *(target for target, _ in parsed))})
        beside = _beside(request, config, reader, list(judged.values()))
        rounds = Selection(reader, request.metric, extra=extra, rewards=beside.rewards)
        make_model = model_factory(reader, request.metric, config.model, config.evaluation)
        question = question_of(
            reader,
            request.metric,
            config.evaluation,
            rounds,
            estimators=estimators,
            baseline=judged[baseline.name],
            allow_inexact=request.allow_inexact,
        )
        found = evaluate(
            rounds,
            [judged[target.name] for target, _ in parsed],
            question,
            config.evaluation,
            reward_model_factory=make_model,
            weighted_model_factory=make_model,
            progress=each_step(advance),
            also=beside.add,
        )
        output = EvaluateOutput(
            log=summary(reader, request.metric, counts.contacts, counts.dropped, tuple(learnt.values())),
            results=tuple(_marked_row(estimate, learnt) for estimate in found.results),
            metrics=() if beside.stack is None else metric_rows(beside.stack, config.evaluation.alpha),
            skipped=found.skipped,
            quantiles=beside.quantiles_at(request.quantiles, config.evaluation.shared_alpha),
            uplift=beside.uplift_of(config.evaluation.shared_alpha, clustered=reader.clustered),
            volume_curve=beside.curve_of(config.evaluation, reader.meta.rewards[request.metric].unit),
        )
    if request.out is None:
        return output
    return _write(output, request, config)


def _stack(config: EvaluateConfig, reader: LogReader, targets: Sequence[Target]) -> StackState | None:
    """Sums of the metrics, the baseline first; without propensities there is nothing to weigh by."""
    if config.metric_stack is None or reader.meta.propensity != "logged":
        return None
    return StackState(bound_stack(config.metric_stack, reader), targets)


@dataclass(frozen=True)
class _Beside:
    """What the pass that evaluates sums beside the estimates, where it was asked for."""

    stack: StackState | None
    quantiles: PolicyQuantiles | None
    uplift: UpliftState | None
    curve: CurvePass | None

    def add(self, batch: RoundBatch) -> None:
        """Sum a batch."""
        for part in (self.stack, self.quantiles, self.uplift, self.curve):
            if part is not None:
                part.add(batch)

    def quantiles_at(
        self, levels: Sequence[float], alpha: float
    ) -> dict[str, tuple[Quantile, ...]] | msgspec.UnsetType:
        return msgspec.UNSET if self.quantiles is None else self.quantiles.results(levels, alpha)

    def uplift_of(self, alpha: float, *, clustered: bool) -> tuple[Uplift, ...] | msgspec.UnsetType:
        return msgspec.UNSET if self.uplift is None else self.uplift.results(alpha, clustered=clustered)

    @property
    def rewards(self) -> tuple[str, ...]:
        """Further metrics that must be read."""
        needed = () if self.stack is None else self.stack.bound.needed
        return tuple(dict.fromkeys((*needed, *(() if self.curve is None else self.curve.metrics))))

    def curve_of(self, settings: EvaluationSettings, unit: str) -> VolumeCurve | msgspec.UnsetType:
        if self.curve is None:
            return msgspec.UNSET
        return self.curve.result(unit, settings.shared_alpha, settings.replicates)


def _curve(request: EvaluateRequest, config: EvaluateConfig, reader: LogReader, targets: Sequence[Target]) -> CurvePass:
    """The volume curve of the first policy that has scores.

    Raises:
        DataError: no policy has scores.
        ParameterError: no such feature to rank by recency.
    """
    scored = next((found for target in targets if (found := scored_policy(target)) is not None), None)
    if scored is None:
        raise no_scores(
            f"what {', '.join(target.name for target in targets)} would send",
            "give --policy FOLDER with a folder of tactful train or backtest, without learner.parts.safety",
        )
    recency = recency_feature(reader.meta.features, request.recency)
    metrics = (request.metric, *harms_of(reader.meta.rewards, request.metric))
    contexts = Selection(reader, request.metric)
    return CurvePass(scored, metrics, recency, contexts, config.evaluation.seed)


def _beside(request: EvaluateRequest, config: EvaluateConfig, reader: LogReader, targets: Sequence[Target]) -> _Beside:
    """The sums that a request asks for.

    Raises:
        ParameterError: no policy that gives its whole distribution.
        DataError: no policy has scores for a volume curve.
        MissingPropensityError: asked of a log without propensities.
    """
    recency_feature(reader.meta.features, request.recency, volume=request.volume)
    stack = _stack(config, reader, targets)
    if not request.quantiles and not request.uplift and not request.volume:
        return _Beside(stack, None, None, None)
    if reader.meta.propensity != "logged":
        raise MissingPropensityError(
            f"{reader.path} has no propensities: quantiles, uplift and the volume curve weigh rows by them",
            hint="leave them out",
        )
    metric = request.metric
    quantiles = None
    if request.quantiles:
        quantiles = PolicyQuantiles(targets, metric, edges_of(Selection(reader, metric, context=False), metric))
    uplift = None
    if request.uplift:
        logging = config.evaluation.logging
        log_policy = parse_spec(logging, reader)[0] if logging else None
        uplift = UpliftState([target for target in targets if target.knows_all], metric, log_policy)
    return _Beside(stack, quantiles, uplift, _curve(request, config, reader, targets) if request.volume else None)


def question_of(
    reader: LogReader,
    metric: str,
    settings: EvaluationSettings,
    rounds: Iterable[RoundBatch],
    *,
    estimators: Sequence[str],
    baseline: Target,
    allow_inexact: bool = False,
    primary: str = "",
    secondary_share: float = 1.0,
) -> Question:
    """What is asked of a log, with the log's own range, clusters, attributes and loggers.

    Args:
        primary: the policy that the question is about, if any; see `Question`.
        secondary_share: of the error, that the differences of the others have together.

    Raises:
        DataError: an unknown policy or column; see `experiments.judge.evaluate`.
    """
    spec = reader.meta.rewards[metric]
    return Question(
        metric=metric,
        reward_range=(spec.low, spec.high),
        estimators=tuple(estimators),
        baseline=baseline,
        clustered=reader.clustered,
        allow_inexact=allow_inexact,
        embedding=embedding_of(settings, reader),
        loggers=loggers_of(settings, rounds, reader),
        primary=primary,
        secondary_share=secondary_share,
        assigned=reader.assigned,
    )


def each_step(advance: Advance | None) -> Progress | None:
    """The progress of an evaluation as steps of a bar."""
    return None if advance is None else (lambda _stage, _done: advance(1.0))


def model_factory(reader: LogReader, metric: str, config: VwConfig, settings: EvaluationSettings) -> Factory:
    """Makes regressions of a metric: Vowpal Wabbit's, or those of the scikit-learn class that the settings name.

    Raises:
        ConfigError: no such class.
    """
    spec = reader.meta.rewards[metric]
    catalog, features = reader.meta.catalog, reader.meta.features
    if settings.regressor:
        regressor = regressor_named(settings.regressor, settings.regressor_options)
        return lambda: RegressorModel(regressor, catalog, features, metric, (spec.low, spec.high))
    return lambda: VwRewardModel(catalog, features, metric, (spec.low, spec.high), config)


def _allowed_estimators(request: EvaluateRequest, reader: LogReader) -> tuple[str, ...]:
    if reader.meta.propensity == "logged":
        return request.estimators
    if not request.allow_inexact:
        raise MissingPropensityError(
            f"{reader.path} has no propensities: how likely each choice was is not known, so no estimate is exact",
            hint="log the probability of each choice, give it in the mapping, or ask a model's opinion with "
            "--not-exact, which marks every figure as not exact",
        )
    if "dm" not in request.estimators:
        raise DataError("without propensities only the estimator dm is defined", hint="ask for --estimator dm")
    return ("dm",)


def _marked_row(row: Estimate, learnt: Mapping[str, str]) -> Estimate:
    """A row that says of its policy, or of what it is compared to, that it is judged on rows it learnt from."""
    names = (row.policy, "" if row.difference is None else row.difference.baseline)
    said = tuple(learnt[name] for name in dict.fromkeys(names) if name in learnt)
    return msgspec.structs.replace(row, notes=(*row.notes, *said)) if said else row


def summary(
    reader: LogReader, metric: str, contacts: int, dropped: dict[str, int], said: tuple[str, ...] = ()
) -> LogSummary:
    """What the log is, and what else is to be said of it."""
    meta = reader.meta
    repeated = (repeated_contacts(reader),) if reader.clustered and reader.contacts < reader.rows else ()
    return LogSummary(
        path=str(reader.path),
        rows=reader.rows,
        contacts=contacts,
        actions=meta.catalog.k - (not reader.can_hold()),
        metric=metric,
        dropped=dropped,
        propensity=meta.propensity,
        clusters="contact" if reader.clustered else "row",
        notes=(*meta.notes, *repeated, *said),
        unit=meta.rewards[metric].unit,
        description=meta.rewards[metric].description,
        hold=meta.catalog.hold_name,
        days=reader.days,
        assigned=reader.assigned,
    )


def repeated_contacts(reader: LogReader) -> str:
    """What it means that contacts come up more than once, in a sentence."""
    often = reader.rows / reader.contacts
    unit = "cluster that the log declares" if reader.meta.clustered else "contact"
    return (
        f"{reader.rows:,} decisions are about {reader.contacts:,} contacts, {often:.1f} each: errors and intervals are "
        f"by {unit}, as decisions about one depend on each other."
    )


def _write(output: EvaluateOutput, request: EvaluateRequest, config: EvaluateConfig) -> EvaluateOutput:
    folder = make_folder(Path(str(request.out)))
    names = {"report": "report.html", "json": "report.json", "results": "results.parquet"}
    files = {name: str(folder / file) for name, file in names.items()}
    output = msgspec.structs.replace(output, files=files)
    settings = msgspec.to_builtins(config)
    write_table(folder / names["results"], tidy(output.results, settings))
    write_whole(folder / names["json"], json_bytes(output))
    write_whole(folder / names["report"], evaluation_page(output, request.baseline, reproduce(request)))
    return output


def reproduce(request: EvaluateRequest) -> str:
    """The command that asks the same again."""
    parts = ["tactful evaluate", options("--log", request.log), f"--metric {request.metric}"]
    parts += [f'--policy "{spec}"' for spec in request.policies]
    parts += [f'--baseline "{request.baseline}"', f"--estimator {','.join(request.estimators)}", f"--out {request.out}"]
    if request.quantiles:
        parts.append(f"--quantiles {','.join(f'{level:g}' for level in request.quantiles)}")
    if request.uplift:
        parts.append("--uplift")
    if request.override_learnt is not None:
        parts.append(f'--override-learnt "{request.override_learnt}"')
    return " ".join(parts) + asked_curve(request.volume, request.recency)


def columns_needed(settings: EvaluationSettings, reader: LogReader) -> tuple[str, ...]:
    """Stored columns that must be read for them.

    Raises:
        DataError: an unknown column or policy.
    """
    specs = [spec for spec in (settings.logging, *settings.loggers.values()) if spec]
    names = {name for spec in specs for name in parse_spec(spec, reader)[1]}
    if settings.logger_column:
        names.add(reader.column(settings.logger_column))
    return tuple(sorted(names))


def embedding_of(settings: EvaluationSettings, reader: LogReader) -> Embedding | None:
    """Attributes and logging policy, where both were given.

    Raises:
        DataError: an unknown logging policy.
        ParameterError: an unknown attribute, or a logging policy that does not give its whole distribution.
    """
    if not settings.attributes or not settings.logging:
        return None
    return Embedding(action_groups(reader.meta.catalog, settings.attributes), parse_spec(settings.logging, reader)[0])


def loggers_of(settings: EvaluationSettings, rounds: Iterable[RoundBatch], reader: LogReader) -> Loggers | None:
    """Who decided which row, counted in a pass of its own, where a column says so.

    Raises:
        DataError: an unknown column or policy, or a logger without a policy while others have one.
    """
    if not settings.logger_column:
        return None
    policies = [(name, parse_spec(spec, reader)[0]) for name, spec in settings.loggers.items()]
    return count_loggers(rounds, reader.column(settings.logger_column), policies)
