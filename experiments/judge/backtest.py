"""The backtest: train on one part of a log, judge on the other, recommend what to launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.content.eligibility import refuse_modular
from engine.errors import DataError, ParameterError
from engine.log.parquet import LogReader
from engine.log.selection import Selection, Side, contact_split, count, time_split
from engine.log.training_rows import TrainingRows
from engine.ope.estimate import Estimate, Skipped
from engine.ope.estimators.named import estimators_named
from engine.ope.evaluate import Evaluation, evaluate
from engine.ope.metrics.gate import Gate
from engine.ope.target import PolicyTarget
from engine.storage.given import Given, options
from experiments.judge.audit import AuditGate, passed_gate
from experiments.judge.contenders import ANY_SEND, BLAST, GREEDY, LEARNED, LOGGED, SEGMENTS, contenders
from experiments.judge.evaluate import columns_needed, each_step, model_factory, question_of, summary
from experiments.judge.extra_columns import with_columns
from experiments.judge.launch.exploring import ExploringOutput, ExploringSums, cause_of
from experiments.judge.launch.learned_rule import LEARNED_RULE, LearnedRule, grown, learned_rule
from experiments.judge.launch.metrics import gate_of, metric_rows
from experiments.judge.launch.practice import SegmentRow, own_practice, segment_rows, unmatched
from experiments.judge.launch.prepared import Prepared
from experiments.judge.launch.recommend import WORSE, Contest, Launch, recommend
from experiments.judge.launch.rule_costs import RuleCost
from experiments.judge.launch.sums import LaunchPass, launch_pass, remembered
from experiments.judge.launch.support import SupportRow
from experiments.judge.launch.taken_apart import ApartOutput, ApartSums
from experiments.judge.launch.treatment import TreatmentOutput
from experiments.judge.launch.views import METRIC, View, checked, views, with_figures
from experiments.judge.launch.volume import MATCHED, VolumeRow, matched_target, volumes
from experiments.judge.shared_models import SharedModels
from experiments.judge.train import learn, never_shown, unseen_words
from experiments.judge.volume_curve import (
    CurvePass,
    VolumeCurve,
    asked_curve,
    harms_of,
    no_scores,
    recency_feature,
    scored,
)
from experiments.outputs import CommandOutput, LogSummary, MetricRow, json_bytes
from experiments.provenance import provenance
from experiments.report.files import make_folder, tidy, write_table, write_whole
from experiments.report.first_screen import too_good
from experiments.report.launch import launch_page, render_launch
from experiments.settings import BacktestConfig
from policies.parts.learner import PartsLearner
from policies.parts.surrogate import SurrogateLog
from policies.peers.rule import rule_yaml, segments_rule
from policies.peers.segmentation import fit_cuts
from policies.peers.segments import tune_segments
from policies.prices.baseline import export_segments, kept_segments
from policies.registry import Setting
from policies.trained import NEVER_HELD, NEVER_HELD_WORDS, export_learner, told
from policies.vw.scoring.compiled import CompiledPolicy

# Contacts are grouped by each feature in about so many bins to say who is treated differently.
GROUP_BINS = 4
# The tuned segments as rules that people read and `evaluate` and `backtest` take.
SEGMENTS_RULE = "segments.yaml"
# The learned policy as a rule, in the same form.
RULE: Final = "learned_rule.yaml"
# The learned policy against the baseline is what a backtest asks. All further differences, of which there may be
# hundreds, share this part of the error, so that they seldom add a false finding to the page.
SECONDARY_SHARE: Final = 0.2
Advance = Callable[[float], None]


class BacktestOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful backtest --json`.

    Attributes:
        comparisons: further differences of the learned policy and the segments, by the deciding estimator.
        views: the question by the metric itself and by figures that see more; empty where the log has no stage.
        volume: what each policy sends, expected over its exact distributions on the log's contexts.
        metrics: the stack of metrics of the policies with a name, the baseline's first.
        gate: whether the learned policy may take the place of the baseline; null without a stack of metrics.
        support: how much of the log speaks for the baseline and for the learned policy.
        treatment: who is treated differently by the learned policy; null where the baseline's choices are not known.
        rules: what each guardrail rule takes away, where the log keeps what the rules read.
        provenance: versions, hashes and seeds.
        audit: what the audit of the log said before anything was learnt; null where none ran.
        volume_curve: value and harm against the share of sends kept; null where it was not asked for.
        exploring: what exploring costs beside what it will teach; null where the learned policy has no scores.
        apart: the difference to the baseline as what was sent, answered and worth more; null where the log has
            no stage on the way to the metric.
        learned_rule: the learned policy as a rule of a few groups; null of a policy without scores.
        segments: the rule of the segments that were tuned on the training side: who gets what, the largest first.
    """

    log: LogSummary
    results: tuple[Estimate, ...]
    launch: Launch
    comparisons: tuple[Estimate, ...] = ()
    views: tuple[View, ...] = ()
    volume: tuple[VolumeRow, ...] = ()
    metrics: tuple[MetricRow, ...] = ()
    gate: Gate | None = None
    support: tuple[SupportRow, ...] = ()
    treatment: TreatmentOutput | None = None
    rules: tuple[RuleCost, ...] = ()
    provenance: dict[str, str] = {}
    audit: AuditGate | None = None
    volume_curve: VolumeCurve | None = None
    exploring: ExploringOutput | None = None
    apart: ApartOutput | None = None
    learned_rule: LearnedRule | None = None
    segments: tuple[SegmentRow, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    split: dict[str, Any] = {}
    files: dict[str, str] = {}


@dataclass(frozen=True)
class BacktestRequest:
    """One backtest: what it learns from, how it splits, and against what it judges.

    Attributes:
        log: a log in our schema, with propensities.
        metric: a metric of the log.
        out: folder for the report, the results and the trained policy.
        train_fraction: share of the log that trains, in (0, 1).
        split: "contact" (clusters are kept whole) or "time" (the past trains).
        baseline: today's practice: one of the policies of the backtest, a file of rules (`policies.peers.rule`), or a
            column of actions, `column:NAME@action`.
        columns: file with further columns keyed by decision_id, or None.
        override_audit: the reason to go on with a log whose audit fails; kept in the report and the manifest.
        volume: whether to draw the volume curve of the learned policy.
        recency: feature of its recency ranking; "" takes one that is known.
    """

    log: Given
    metric: str
    out: Path
    train_fraction: float = 0.5
    split: str = "contact"
    baseline: str = LOGGED
    columns: Path | None = None
    override_audit: str | None = None
    volume: bool = False
    recency: str = ""


def prepare(request: BacktestRequest, config: BacktestConfig, reader: LogReader | None = None) -> Prepared:
    """Split the log, learn and tune on the training side.

    Args:
        reader: the reader of the log, where the audit has opened it already.

    Raises:
        DataError: an unreadable log, an unknown metric or baseline, a split that leaves a side empty.
        MissingPropensityError: a log without propensities.
        LearnError: rounds that cannot train.
        ParameterError: a setting outside its range.
    """
    estimators_named(config.estimators, config.evaluation.clip)
    if config.deciding_estimator not in config.estimators:
        raise ParameterError(
            "deciding_estimator", "backtest", allowed=f"one of {config.estimators}", got=config.deciding_estimator
        )
    reader = LogReader(request.log) if reader is None else reader
    refuse_modular(reader.meta.catalog, "a backtest")
    practice, columns = own_practice(request.baseline, reader, config.peers)
    recency_feature(reader.meta.features, request.recency, volume=request.volume)
    train, judge = _sides(request, reader, config.seed)
    learner = learn(reader, request.metric, config.learner, config.exploration, train)
    source = never_shown(reader, request.metric, train)
    learned = told(learner.policy(), source)
    if request.volume and scored(learned) is None:
        raise no_scores(
            f"what {LEARNED} sends",
            "leave --volume out, or choose learner=mtr or learner=parts without learner.parts.safety",
        )
    metric = request.metric
    reader = with_figures(reader, learner, request.metric, config)
    if config.judged_by != METRIC:
        metric = config.judged_by
    rounds = Selection(reader, metric, side=train, extra=columns)
    segments = tune_segments(rounds, metric, reader.meta.catalog, reader.meta.features, config.segments)
    setting = _setting(reader, metric, config)
    everybody = contenders(rounds, learned, segments, config.peers, setting)
    targets = dict(everybody.targets)
    if practice is not None:
        targets[request.baseline] = practice
    if request.baseline not in targets:
        reasons = [one.reason for one in everybody.missing if one.policy == request.baseline]
        why = reasons[0] if reasons else "it was never logged there"
        raise DataError(
            f"the baseline {request.baseline!r} cannot be made of the training part: {why}",
            hint=f"one of {', '.join(targets)}",
        )
    matched = matched_target(learned, targets[request.baseline], rounds, config.prices)
    if matched is not None:
        targets[MATCHED] = matched
    groups = fit_cuts(reader.meta.features, reader.meta.features.names, (batch.context for batch in rounds), GROUP_BINS)
    tree = grown(learned, rounds, groups.cuts, reader.meta.catalog, reader.meta.features)
    if tree is not None:
        targets[LEARNED_RULE] = PolicyTarget(tree.policy, LEARNED_RULE)
    return Prepared(
        reader,
        metric,
        learner,
        segments,
        remembered(targets),
        train,
        judge,
        groups,
        source,
        everybody.missing,
        practice,
        columns,
        tree,
    )


def backtest(request: BacktestRequest, config: BacktestConfig, advance: Advance | None = None) -> BacktestOutput:
    """Run a backtest and write its folder.

    Raises:
        DataError: the audit of the log fails.
        DataError, MissingPropensityError, LearnError, ParameterError: see `prepare`.
        StorageError: the folder cannot be written.
    """
    with with_columns(request.log, request.columns) as reader:
        audit = passed_gate(reader, request.metric, config.audit, request.override_audit)
        return judge_prepared(prepare(request, config, reader), request, config, advance, audit)


def judge_prepared(
    prepared: Prepared,
    request: BacktestRequest,
    config: BacktestConfig,
    advance: Advance | None = None,
    audit: AuditGate | None = None,
) -> BacktestOutput:
    """Judge what was prepared on the other side of the log, recommend, and write the folder.

    Args:
        audit: what the audit of the log said, where it ran.

    Raises:
        DataError: rows that cannot be used.
        StorageError: the folder cannot be written.
    """
    folder = make_folder(request.out)
    source: dict[str, Any] = {} if audit is None else {"audit": msgspec.to_builtins(audit)}
    source |= prepared.source
    learnt = TrainingRows.of(Selection(prepared.reader, prepared.metric, side=prepared.train, context=False))
    meta = prepared.reader.meta
    rule = segments_rule(prepared.segments, meta.catalog, meta.features, "segments tuned on this log")
    write_whole(folder / SEGMENTS_RULE, rule_yaml(rule).encode())
    if prepared.tree is not None:
        write_whole(folder / RULE, rule_yaml(prepared.tree.rule).encode())
    if request.baseline == SEGMENTS:
        source |= _kept_segments(prepared, folder, learnt)
    manifest = export_learner(prepared.learner, folder / "policy", source=source or None, rows=learnt)
    models = SharedModels(model_factory(prepared.reader, prepared.metric, config.model, config.evaluation))
    run = _Run(prepared, request, config, models, advance)
    also = _launch_pass(prepared, request, config)
    found = run.against(request.baseline, config.estimators, also=also)
    seen = run.views(found.results)
    rows = checked(found.results, seen, config.deciding_estimator)
    comparisons = run.comparisons()
    gate = _gate(rows, also, config)
    log = _summary(prepared.reader, prepared.metric)
    rounds = Selection(prepared.reader, prepared.metric, side=prepared.judge, extra=prepared.columns)
    said = (
        *((NEVER_HELD_WORDS,) if NEVER_HELD in source else ()),
        *unseen_words(prepared.policy, rounds),
        *unmatched(prepared.practice, Selection(prepared.reader, prepared.metric)),
    )
    log = msgspec.structs.replace(log, notes=(*log.notes, *said))
    output = BacktestOutput(
        log=log,
        audit=audit,
        results=rows,
        launch=_launch(rows, comparisons, request, run.nothing, config.deciding_estimator, gate),
        comparisons=comparisons,
        views=seen,
        metrics=() if also.stack is None else metric_rows(also.stack, config.evaluation.alpha),
        gate=gate,
        support=tuple(histogram.result() for histogram in also.weights),
        treatment=None if also.treatment is None else also.treatment.result(LEARNED, request.baseline),
        rules=() if also.rules is None else also.rules.result(),
        volume_curve=None
        if also.curve is None
        else also.curve.result(
            prepared.reader.meta.rewards[prepared.metric].unit,
            config.evaluation.shared_alpha,
            config.evaluation.replicates,
        ),
        learned_rule=learned_rule(
            prepared.tree, prepared.policy, rounds, prepared.targets[request.baseline], prepared.groups.cuts
        ),
        segments=segment_rows(prepared.segments, meta.catalog, rounds),
        apart=None if also.apart is None else also.apart.result(config.evaluation.shared_alpha),
        exploring=_exploring(also, rows, run, prepared.learner.state.rounds),
        provenance=provenance(
            prepared.reader,
            config,
            manifest.version,
            {"the split": config.seed, "folds and bootstrap": config.evaluation.seed},
        ),
        skipped=(*prepared.missing, *found.skipped),
        split={
            "by": request.split,
            "train_fraction": request.train_fraction,
            "seed": config.seed,
            "train_rows": prepared.learner.state.rounds,
            "evaluation_rows": found.n,
            "segments": [cut.feature for cut in prepared.segments.segmentation.cuts],
        },
    )
    learned = next(row for row in rows if row.policy == LEARNED and row.estimator == config.deciding_estimator)
    doubt = too_good(learned, log.unit)
    output = msgspec.structs.replace(output, warnings=(doubt,) if doubt else ())
    volume = volumes(prepared.targets, rounds, prepared.reader.meta.catalog, request.baseline)
    return _write(msgspec.structs.replace(output, volume=volume), request, config, folder)


def _kept_segments(prepared: Prepared, folder: Path, learnt: TrainingRows) -> dict[str, Any]:
    """The segments as a folder, and what the policy's own folder keeps of them: `decide` holds it to their volume."""
    meta = prepared.reader.meta
    export_segments(prepared.segments, meta.catalog, meta.features, folder / "segments", learnt)
    return kept_segments(prepared.segments)


@dataclass(frozen=True)
class _Run:
    """The evaluation part of a log, and everything to be judged on it."""

    prepared: Prepared
    request: BacktestRequest
    config: BacktestConfig
    models: SharedModels
    advance: Advance | None

    @property
    def nothing(self) -> str:
        """Doing nothing: hold where the log held, else what the log did."""
        name = f"always:{self.prepared.reader.meta.catalog.hold_name}"
        return name if name in self.prepared.targets else LOGGED

    def against(
        self,
        baseline: str,
        estimators: Sequence[str],
        only: Sequence[str] | None = None,
        also: LaunchPass | None = None,
        primary: str = LEARNED,
    ) -> Evaluation:
        """The policies against a baseline; all but the primary one hold together, by a share of the error."""
        reader, metric, targets = self.prepared.reader, self.prepared.metric, self.prepared.targets
        evaluation = self.config.evaluation
        needed = (*columns_needed(evaluation, reader), *self.prepared.columns, *(() if also is None else also.extra))
        rewards = () if also is None else also.rewards
        asked = list(dict.fromkeys(needed))
        rounds = Selection(reader, metric, side=self.prepared.judge, extra=asked, rewards=rewards)
        question = question_of(
            reader,
            metric,
            evaluation,
            rounds,
            estimators=estimators,
            baseline=targets[baseline],
            primary=targets[primary].name if primary in targets else "",
            secondary_share=SECONDARY_SHARE,
        )
        return evaluate(
            rounds,
            [targets[name] for name in (targets if only is None else only)],
            question,
            evaluation,
            reward_model_factory=self.models.factory(),
            weighted_model_factory=model_factory(reader, metric, self.config.model, evaluation),
            progress=each_step(self.advance),
            also=None if also is None else also.add,
        )

    def views(self, rows: Sequence[Estimate]) -> tuple[View, ...]:
        """The question by every figure that a verdict may rest on; nothing where the log knows the metric alone."""
        prepared, targets = self.prepared, self.prepared.targets
        if not isinstance(prepared.reader, SurrogateLog) or self.request.baseline == LEARNED:
            return ()
        pair = (targets[self.request.baseline], targets[LEARNED])
        deciding = self.config.deciding_estimator
        decided = next(row for row in rows if row.policy == LEARNED and row.estimator == deciding)
        metric, columns = self.request.metric, prepared.columns
        return views(prepared.reader, metric, pair, prepared.judge, self.config, decided, columns)

    def comparisons(self) -> tuple[Estimate, ...]:
        """The learned policy and the segments against the usual practices; the baseline against doing nothing.

        Where doing nothing is known, any message is held against it too: whether messages help at all.
        """
        today = self.request.baseline
        quiet = (today, ANY_SEND) if self.nothing != LOGGED else (today,)
        pairs = [
            (name, other)
            for other in (self.nothing, LOGGED, BLAST, today)
            for name in (LEARNED, SEGMENTS, *(quiet if other == self.nothing else ()))
            if name != other
        ]
        rows: list[Estimate] = []
        for other in dict.fromkeys(other for _, other in pairs):
            only = [name for name, against in dict.fromkeys(pairs) if against == other]
            primary = LEARNED if other == today else today if other == self.nothing else ""
            found = self.against(other, [self.config.deciding_estimator], only, primary=primary)
            rows += found.results
        return tuple(rows)


def _sides(request: BacktestRequest, reader: LogReader, seed: int) -> tuple[Side, Side]:
    if request.split == "time":
        return time_split(reader, request.train_fraction)
    return contact_split(request.train_fraction, seed)


def _setting(reader: LogReader, metric: str, config: BacktestConfig) -> Setting:
    spec = reader.meta.rewards[metric]
    return Setting(
        reader.meta.catalog,
        reader.meta.features,
        metric,
        (spec.low, spec.high),
        peer=config.peer,
        segments=config.segments,
        model=config.model,
    )


def _summary(reader: LogReader, metric: str) -> LogSummary:
    counts = count(reader, metric)
    return summary(reader, metric, counts.contacts, counts.dropped)


def _launch_pass(prepared: Prepared, request: BacktestRequest, config: BacktestConfig) -> LaunchPass:
    """The sums of the policies with a name; constants are judged by the metric alone."""
    names = dict.fromkeys([request.baseline, *(name for name in prepared.targets if not name.startswith("always:"))])
    targets = [prepared.targets[name] for name in names]
    learned = prepared.policy
    scores = learned.scores if isinstance(learned, CompiledPolicy) else None
    return launch_pass(
        prepared.reader,
        targets,
        prepared.targets[LEARNED],
        config.metric_stack,
        prepared.groups,
        scores,
        _curve(prepared, request, config) if request.volume else None,
        _exploring_sums(prepared, request),
        _apart_sums(prepared, request, config),
    )


def _curve(prepared: Prepared, request: BacktestRequest, config: BacktestConfig) -> CurvePass | None:
    """The volume curve, its rankings cut on the training side."""
    meta, learned = prepared.reader.meta, scored(prepared.policy)
    if learned is None:
        return None
    recency = recency_feature(meta.features, request.recency)
    metrics = (prepared.metric, *harms_of(meta.rewards, prepared.metric))
    contexts = Selection(prepared.reader, prepared.metric, side=prepared.train)
    return CurvePass(learned, metrics, recency, contexts, config.evaluation.seed)


def _exploring_sums(prepared: Prepared, request: BacktestRequest) -> ExploringSums | None:
    """Sums of what exploring costs; None for a policy without scores, or one that is the baseline itself."""
    learned, spec = prepared.policy, prepared.reader.meta.rewards[prepared.metric]
    if not isinstance(learned, CompiledPolicy) or request.baseline in (LEARNED, GREEDY):
        return None
    targets = prepared.targets
    return ExploringSums(
        targets[LEARNED],
        targets[GREEDY],
        targets[request.baseline],
        learned.scores,
        prepared.metric,
        (spec.low, spec.high),
    )


def _apart_sums(prepared: Prepared, request: BacktestRequest, config: BacktestConfig) -> ApartSums | None:
    """Sums that take the difference apart; None where the learner knows no stage on the way to the metric."""
    stage = prepared.learner.state.stage if isinstance(prepared.learner, PartsLearner) else ""
    if stage in ("", prepared.metric) or request.baseline == LEARNED:
        return None
    pair = (prepared.targets[request.baseline], prepared.targets[LEARNED])
    return ApartSums(pair, stage, prepared.metric, config.evaluation.seed)


def _exploring(also: LaunchPass, rows: Sequence[Estimate], run: _Run, learnt: int) -> ExploringOutput | None:
    """What exploring costs, by the model and by the log, beside what it buys."""
    if also.exploring is None:
        return None
    deciding = run.config.deciding_estimator
    learned = next(row for row in rows if row.policy == LEARNED and row.estimator == deciding)
    greedy = next((row for row in rows if row.policy == GREEDY and row.estimator == deciding), None)
    if greedy is not None and learned.verdict == WORSE:
        # Where exploring may be why a policy loses, the policy without it is what is asked about.
        alone = run.against(run.request.baseline, [deciding], [GREEDY], primary=GREEDY).results
        greedy = next(iter(alone), greedy)
    shown = run.against(GREEDY, [deciding], [LEARNED]).results
    measured = shown[0].difference if shown else None
    gap, n = learned.difference, also.exploring.rows
    found = also.exploring.result(
        n / max(n + learnt, 1),
        None if gap is None else gap.stderr,
        run.config.evaluation.shared_alpha,
        measured,
    )
    if found is None or greedy is None:
        return found
    cause = cause_of(learned, greedy, measured)
    return msgspec.structs.replace(found, without=greedy.difference, cause=cause)


def _gate(rows: Sequence[Estimate], also: LaunchPass, config: BacktestConfig) -> Gate | None:
    """What the promotion gate says to the learned policy."""
    if also.stack is None or config.metric_stack is None or also.baseline.name == LEARNED:
        return None
    learned = next(row for row in rows if row.policy == LEARNED and row.estimator == config.deciding_estimator)
    return gate_of(also.stack, LEARNED, learned, config.metric_stack, config.gate_error)


def _launch(
    rows: Sequence[Estimate],
    comparisons: Sequence[Estimate],
    request: BacktestRequest,
    nothing: str,
    estimator: str,
    gate: Gate | None,
) -> Launch:
    learned = next(row for row in rows if row.policy == LEARNED and row.estimator == estimator)
    quiet = {row.policy: row for row in comparisons if row.difference and row.difference.baseline == nothing}
    return recommend(Contest(learned, quiet.get(request.baseline), gate, quiet.get(ANY_SEND)))


def _write(output: BacktestOutput, request: BacktestRequest, config: BacktestConfig, folder: Path) -> BacktestOutput:
    names = {"report": "report.html", "json": "report.json", "results": "results.parquet", "policy": "policy"}
    names |= {"segments": SEGMENTS_RULE} | ({} if output.learned_rule is None else {"learned_rule": RULE})
    output = msgspec.structs.replace(output, files={name: str(folder / file) for name, file in names.items()})
    write_table(folder / names["results"], tidy(output.results, msgspec.to_builtins(config)))
    write_whole(folder / names["json"], json_bytes(output))
    page = launch_page(output, request.baseline, config.deciding_estimator, reproduce(request))
    write_whole(folder / names["report"], render_launch(page))
    return output


def reproduce(request: BacktestRequest) -> str:
    """The command that asks the same again."""
    overridden = "" if request.override_audit is None else f' --override-audit "{request.override_audit}"'
    columns = "" if request.columns is None else f" --columns {request.columns}"
    return (
        f"tactful backtest {options('--log', request.log)}{columns} --metric {request.metric} --out {request.out} "
        f'--train-fraction {request.train_fraction:g} --split {request.split} --baseline "{request.baseline}"'
        f"{overridden}" + asked_curve(request.volume, request.recency)
    )
