"""The backtest: train on one part of a log, judge on the other, recommend what to launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from engine.errors import DataError, ParameterError
from engine.log.parquet import LogReader
from engine.ope.evaluate import Evaluation
from engine.ope.target import LoggedTarget, PolicyTarget, Target
from engine.selection import Selection, Side, contact_split, count, time_split
from experiments.evaluate import result_row, run_evaluation, skipped, summary
from experiments.launch import Contest, recommend
from experiments.outputs import BacktestOutput, Launch, LogSummary, ResultRow, json_bytes
from experiments.report.backtest import backtest_report
from experiments.report.files import make_folder, tidy, write_table, write_whole
from experiments.report.page import render
from experiments.settings import BacktestConfig
from experiments.train import learn
from policies.action_values import ActionSums
from policies.always import AlwaysPolicy
from policies.exploration_config import ExplorationConfig
from policies.merge_tag import MergeTagBlast
from policies.segments import StaticSegments, tune_segments
from policies.uniform import UniformPolicy
from policies.vw.export import export_policy
from policies.vw.learner import VwLearner

LEARNED = "vw"
GREEDY = "vw_greedy"
SEGMENTS = "static_segments"
ESTIMATORS = ("ips", "clipped", "snips", "dm", "dr")
# More constant actions than this are not judged one by one: nobody would launch the winner of such a contest.
MAX_CONSTANTS = 120
Advance = Callable[[float], None]


@dataclass(frozen=True)
class BacktestRequest:
    """What is asked.

    Attributes:
        log: a log in our schema, with propensities.
        metric: a metric of the log.
        out: folder for the report, the results and the trained policy.
        train_fraction: share of the log that trains, in (0, 1).
        split: "contact" (clusters are kept whole) or "time" (the past trains).
        baseline: today's practice, among the policies of the backtest.
    """

    log: Path
    metric: str
    out: Path
    train_fraction: float = 0.5
    split: str = "contact"
    baseline: str = SEGMENTS


def backtest(request: BacktestRequest, config: BacktestConfig, advance: Advance | None = None) -> BacktestOutput:
    """Run a backtest and write its folder.

    Raises:
        DataError: an unreadable log, an unknown metric or baseline, a split that leaves a side empty.
        MissingPropensityError: a log without propensities.
        LearnError: rounds that cannot train.
        ParameterError: a setting outside its range.
        StorageError: the folder cannot be written.
    """
    if config.deciding_estimator not in ESTIMATORS:
        raise ParameterError(
            "deciding_estimator", "backtest", allowed=f"one of {ESTIMATORS}", got=config.deciding_estimator
        )
    reader = LogReader(request.log)
    train, judge = _sides(request, reader, config.seed)
    learner = learn(reader, request.metric, config.learner, config.exploration, train)
    segments = tune_segments(
        Selection(reader, request.metric, side=train),
        request.metric,
        reader.meta.catalog,
        reader.meta.features,
        config.segments,
    )
    targets = _targets(reader, request.metric, learner, segments, train)
    if request.baseline not in targets:
        raise DataError(f"unknown baseline {request.baseline!r}", hint=f"one of {', '.join(targets)}")
    folder = make_folder(request.out)
    export_policy(learner, folder / "policy")
    run = _Run(reader, request, config, judge, targets, advance)
    found = run.against(request.baseline, ESTIMATORS)
    rows = tuple(result_row(estimate) for estimate in found.results)
    comparisons = run.comparisons()
    output = BacktestOutput(
        log=_summary(reader, request.metric),
        results=rows,
        launch=_launch(rows, comparisons, request, run.nothing, config.deciding_estimator),
        comparisons=comparisons,
        skipped=skipped(found),
        split={
            "by": request.split,
            "train_fraction": request.train_fraction,
            "seed": config.seed,
            "train_rows": learner.state.rounds,
            "evaluation_rows": found.n,
            "segments": [cut.feature for cut in segments.segmentation.cuts],
        },
    )
    return _write(output, request, config, folder)


@dataclass(frozen=True)
class _Run:
    """The evaluation part of a log, and everything to be judged on it."""

    reader: LogReader
    request: BacktestRequest
    config: BacktestConfig
    side: Side
    targets: dict[str, Target]
    advance: Advance | None

    @property
    def nothing(self) -> str:
        """Doing nothing: hold where the log held, else what the log did."""
        name = f"always:{self.reader.meta.catalog.hold_name}"
        return name if name in self.targets else "logged"

    def against(self, baseline: str, estimators: Sequence[str], only: Sequence[str] | None = None) -> Evaluation:
        names = list(self.targets) if only is None else list(only)
        rounds = Selection(self.reader, self.request.metric, side=self.side)
        return run_evaluation(
            rounds,
            self.reader,
            [self.targets[name] for name in names],
            self.targets[baseline],
            self.request.metric,
            estimators,
            self.config.evaluation,
            self.config.model,
            advance=self.advance,
        )

    def comparisons(self) -> tuple[ResultRow, ...]:
        """The learned policy and the segments against doing nothing, the log, a blast and today's practice."""
        pairs = [
            (name, other)
            for other in (self.nothing, "logged", "merge_tag_blast", self.request.baseline)
            for name in (LEARNED, SEGMENTS)
            if name != other
        ]
        rows: list[ResultRow] = []
        for other in dict.fromkeys(other for _, other in pairs):
            only = [name for name, against in dict.fromkeys(pairs) if against == other]
            found = self.against(other, [self.config.deciding_estimator], only)
            rows += [result_row(estimate) for estimate in found.results]
        return tuple(rows)


def _sides(request: BacktestRequest, reader: LogReader, seed: int) -> tuple[Side, Side]:
    if request.split == "time":
        return time_split(reader, request.train_fraction)
    return contact_split(request.train_fraction, seed)


def _targets(
    reader: LogReader, metric: str, learner: VwLearner, segments: StaticSegments, train: Side
) -> dict[str, Target]:
    """Everything to be judged, by name; learnt and tuned on the training side alone."""
    catalog = reader.meta.catalog
    sums = ActionSums(metric, catalog.k)
    for block in Selection(reader, metric, side=train):
        sums.add(block)
    values = sums.result()
    learned = learner.policy()
    targets: dict[str, Target] = {
        LEARNED: PolicyTarget(learned, LEARNED),
        GREEDY: PolicyTarget(replace(learned, exploration=ExplorationConfig(kind="greedy")), GREEDY),
        SEGMENTS: PolicyTarget(segments, SEGMENTS),
        "merge_tag_blast": PolicyTarget(MergeTagBlast(values)),
        "uniform": PolicyTarget(UniformPolicy()),
        "logged": LoggedTarget(),
    }
    logged = [action for action in range(catalog.k) if values.rows[0, action]]
    if len(logged) <= MAX_CONSTANTS:
        for action in logged:
            name = f"always:{catalog.action_names[action]}"
            targets[name] = PolicyTarget(AlwaysPolicy(catalog, catalog.action_names[action]), name)
    return targets


def _summary(reader: LogReader, metric: str) -> LogSummary:
    counts = count(reader, metric)
    return summary(reader, metric, counts.contacts, counts.dropped)


def _launch(
    rows: Sequence[ResultRow], comparisons: Sequence[ResultRow], request: BacktestRequest, nothing: str, estimator: str
) -> Launch:
    learned = next(row for row in rows if row.policy == LEARNED and row.estimator == estimator)
    today = None
    if request.baseline == SEGMENTS:
        today = next(
            row
            for row in comparisons
            if row.policy == SEGMENTS and row.difference and row.difference.baseline == nothing
        )
    return recommend(Contest(learned, today))


def _write(output: BacktestOutput, request: BacktestRequest, config: BacktestConfig, folder: Path) -> BacktestOutput:
    names = {"report": "report.html", "json": "report.json", "results": "results.parquet", "policy": "policy"}
    output = msgspec.structs.replace(output, files={name: str(folder / file) for name, file in names.items()})
    write_table(folder / names["results"], tidy(output.results, msgspec.to_builtins(config)))
    write_whole(folder / names["json"], json_bytes(output))
    page = backtest_report(output, request.baseline, config.deciding_estimator, reproduce(request))
    write_whole(folder / names["report"], render(page))
    return output


def reproduce(request: BacktestRequest) -> str:
    """The command that asks the same again."""
    return (
        f"tactful backtest --log {request.log} --metric {request.metric} --out {request.out} "
        f'--train-fraction {request.train_fraction:g} --split {request.split} --baseline "{request.baseline}"'
    )
