"""Ablation: learn again without each signal group, with each decision alone, judge all on the other side of a log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.content.eligibility import is_modular
from engine.errors import DataError, ParameterError
from engine.log.parquet import LogReader
from engine.log.selection import Selection, Side, contact_split, count, time_split
from engine.log.structure import require_sound
from engine.ope.estimate import Estimate
from engine.ope.evaluate import Evaluation, evaluate
from engine.ope.settings import EvaluationSettings
from engine.ope.target import PolicyTarget, Target
from engine.protocols import Policy
from engine.storage.given import Given, options
from experiments.judge.evaluate import each_step, model_factory, question_of, summary
from experiments.judge.shared_models import SharedModels
from experiments.judge.train import chosen
from experiments.outputs import LogSummary, Output, json_bytes
from experiments.report.ablation import ablation_page
from experiments.report.files import make_folder, write_whole
from policies.explain import group_of
from policies.exploring.action_values import ActionSums
from policies.exploring.config import ExplorationConfig
from policies.parts.learner import PartsLearner
from policies.peers.constant import BestAction, MergeTagBlast
from policies.peers.segments import SegmentConfig, tune_segments
from policies.vw.arguments import VwConfig
from policies.vw.learner import VwLearner
from policies.wrappers.ablated import (
    Learnt,
    NarrowedPolicy,
    NarrowedRounds,
    RestrictedPolicy,
    Scorer,
    schema_of,
    send_preference,
)

Advance = Callable[[float], None]
FULL: Final = "full context"
CONTEXT_FREE: Final = "context-free"
CONSTANT: Final = "best constant message"
AXES: Final[dict[str, Learnt]] = {"channel": "channel", "hour": "hour", "content": "content"}


class AblateConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tactful ablate`.

    Attributes:
        estimator: The estimator of every lift.
        seed: Seed of the split by contact.
        frequency_groups: signal groups that say how often a contact was written to; features of these names count too.
        exploration: The exploration of every policy that is judged.
    """

    evaluation: EvaluationSettings
    model: VwConfig
    learner: VwConfig
    exploration: ExplorationConfig
    segments: SegmentConfig
    estimator: str = "dr"
    seed: int = 0
    frequency_groups: tuple[str, ...] = ("fatigue", "frequency", "pressure", "contact_pressure")


class AblateOutput(Output, frozen=True, kw_only=True):
    """`tactful ablate --json`.

    Attributes:
        estimator / alpha: The estimator and the error rate of every lift; the intervals of one table hold together at
            1 - alpha.
        value: What the full policy is worth, per decision.
        context: the full context over a context-free bandit.
        signals: one row for each signal group, the largest lift first.
        decisions: one row for each decision that is learnt alone, over the best constant message.
        references: the best constant action, static segments and a merge-tag blast, over the best constant message.
        skipped: what could not be asked, and why.
        split: how the log was divided.
    """

    log: LogSummary
    estimator: str
    alpha: float
    value: float | None
    context: LiftRow
    signals: tuple[LiftRow, ...]
    decisions: tuple[LiftRow, ...]
    references: tuple[LiftRow, ...]
    skipped: dict[str, str]
    split: dict[str, Any]
    files: dict[str, str] = {}


@dataclass(frozen=True)
class AblateRequest:
    """What is asked.

    Attributes:
        log: a log in our schema, with propensities.
        metric: a metric of the log; more is better.
        out: folder for the report.
        train_fraction: share of the log that trains, in (0, 1).
        split: "contact" (clusters are kept whole) or "time" (the past trains).
    """

    log: Given
    metric: str
    out: Path
    train_fraction: float = 0.5
    split: str = "contact"


def ablate(request: AblateRequest, config: AblateConfig, advance: Advance | None = None) -> AblateOutput:
    """Learn, take away, judge, and write the report.

    Raises:
        DataError: an unreadable log, rows that contradict themselves or each other, an unknown metric, a split that
            leaves a side empty.
        MissingPropensityError: a log without propensities.
        LearnError: rounds that cannot train.
        ParameterError: a setting outside its range.
        StorageError: the folder cannot be written.
    """
    reader = LogReader(request.log)
    _refuse_others(reader, config.learner)
    require_sound(reader)
    if request.split == "time":
        sides: tuple[Side, Side] = time_split(reader, request.train_fraction)
    else:
        sides = contact_split(request.train_fraction, config.seed)
    work = _Ablation(reader, request.metric, config, sides[0], sides[1], advance)
    signals = work.judge_signals()
    decisions, references, skipped = work.judge_decisions()
    counts = count(reader, request.metric)
    context = next(row for row in signals if row.name == CONTEXT_FREE)
    output = AblateOutput(
        log=summary(reader, request.metric, counts.contacts, counts.dropped),
        estimator=config.estimator,
        alpha=config.evaluation.alpha,
        value=work.value,
        context=msgspec.structs.replace(context, name=f"{FULL} over {CONTEXT_FREE}"),
        signals=tuple(row for row in signals if row.name != CONTEXT_FREE),
        decisions=decisions,
        references=references,
        skipped=skipped,
        split={
            "by": request.split,
            "train_fraction": request.train_fraction,
            "seed": config.seed,
            "train_rows": work.full.rounds,
            "evaluation_rows": work.judged_rows,
        },
    )
    folder = make_folder(request.out)
    output = msgspec.structs.replace(
        output, files={"report": str(folder / "report.html"), "json": str(folder / "report.json")}
    )
    write_whole(folder / "report.json", json_bytes(output))
    write_whole(folder / "report.html", ablation_page(output, reproduce(request)))
    return output


def reproduce(request: AblateRequest) -> str:
    """The command that asks the same again."""
    return (
        f"tactful ablate {options('--log', request.log)} --metric {request.metric} --out {request.out} "
        f"--train-fraction {request.train_fraction:g} --split {request.split}"
    )


def _refuse_others(reader: LogReader, learner: VwConfig) -> None:
    if is_modular(reader.meta.catalog):
        raise DataError("a modular catalog has too many actions to take apart", hint="ablate a log of listed arms")
    if learner.live is not None or learner.horizon is not None:
        raise ParameterError(
            "learner", "ablate", allowed="compiled, of single decisions", got="live or horizon", hint="learner=mtr"
        )


class _Ablation:
    """The two sides of a log and what was learnt on the first."""

    def __init__(
        self, reader: LogReader, metric: str, config: AblateConfig, train: Side, judge: Side, advance: Advance | None
    ) -> None:
        self.reader, self.metric, self.config = reader, metric, config
        # A learner of parts reads stages and losses beside the metric.
        also = () if config.learner.parts is None else config.learner.parts.metrics(reader.meta.rewards)
        self.train = Selection(reader, metric, side=train, rewards=also)
        self.judge = Selection(reader, metric, side=judge)
        self.advance = advance
        self.learner: VwConfig = chosen(reader, metric, config.learner, train).config
        self.groups = _by_group(group_of(reader.meta.features))
        self.models = SharedModels(model_factory(reader, metric, config.model, config.evaluation))
        self.full = self._learn(FULL, reader.meta.features.names)
        self.value: float | None = None
        self.judged_rows = 0

    def judge_signals(self) -> list[LiftRow]:
        """Lift of every signal group, and of all of them together."""
        names = self.reader.meta.features.names
        targets = {
            group: self._learn(group, [name for name in names if name not in features]).policy
            for group, features in self.groups.items()
        }
        targets[CONTEXT_FREE] = self._learn(CONTEXT_FREE, ()).policy
        found = self._against(PolicyTarget(self.full.policy, FULL), targets)
        self.value, self.judged_rows = full_value(found), found.n
        taken = {**self.groups, CONTEXT_FREE: names}
        rows = [negated(row) for row in lifts_of(found, taken)]
        rows.sort(key=lambda row: (row.lift is None, -(row.lift or 0.0), row.name))
        return rows

    def judge_decisions(self) -> tuple[tuple[LiftRow, ...], tuple[LiftRow, ...], dict[str, str]]:
        """Lift of each decision that is learnt alone, over the best constant message to everybody who may get one."""
        catalog, features = self.reader.meta.catalog, self.reader.meta.features
        sums = ActionSums(self.metric, catalog.k)
        for batch in self.train:
            sums.add(batch)
        values = sums.result()
        preference = send_preference(values)
        skipped: dict[str, str] = {}
        learnt_from: dict[str, tuple[str, ...]] = {}
        targets: dict[str, Policy] = {}

        def add(name: str, learnt: Learnt, made: _Learnt, seen: Sequence[str]) -> None:
            targets[name] = RestrictedPolicy(
                made.scorer, preference, catalog, self.config.exploration, made.rounds, learnt, name
            )
            learnt_from[name] = tuple(seen)

        pressure = [name for name, group in group_of(features).items() if group in self.config.frequency_groups]
        others = [name for name in features.names if name not in pressure]
        if not self.reader.can_hold():
            skipped |= dict.fromkeys(("audience", "frequency"), "the log never held")
        elif not pressure:
            add("audience", "hold", self.full, features.names)
            skipped["frequency"] = (
                f"no feature in the signal groups {list(self.config.frequency_groups)} (frequency_groups=[...])"
            )
        else:
            add("audience", "hold", self._learn("audience", others), others)
            add("frequency", "hold", self._learn("frequency", pressure), pressure)
            add("audience and frequency", "hold", self.full, features.names)
        for (name, learnt), size in zip(AXES.items(), catalog.shape, strict=True):
            if size > 1:
                add(name, learnt, self.full, features.names)
            else:
                skipped[name] = f"the catalog has one {'arm' if name == 'content' else name}"
        add("all", "all", self.full, features.names)
        references: dict[str, Policy] = {
            "best constant action": BestAction(values),
            "static_segments": tune_segments(self.train, self.metric, catalog, features, self.config.segments),
            "merge_tag_blast": MergeTagBlast(values),
        }
        constant = RestrictedPolicy(
            self.full.scorer, preference, catalog, self.config.exploration, self.full.rounds, "none", CONSTANT
        )
        base = PolicyTarget(constant, CONSTANT)
        rows = lifts_of(self._against(base, targets), learnt_from)
        return tuple(rows), tuple(lifts_of(self._against(base, references), {})), skipped

    def _against(self, base: Target, policies: Mapping[str, Policy]) -> Evaluation:
        """Every policy beside one baseline, the intervals of their differences holding together."""
        config = self.config
        settings = config.evaluation
        estimators = (config.estimator,)
        found = evaluate(
            self.judge,
            [PolicyTarget(policy, name) for name, policy in policies.items()],
            question_of(self.reader, self.metric, settings, self.judge, estimators=estimators, baseline=base),
            settings,
            reward_model_factory=self.models.factory(),
            progress=each_step(self.advance),
        )
        if len(found.results) != len(policies):
            raise DataError(
                f"the estimator {config.estimator!r} is not defined here: {found.skipped[0].reason}",
                hint="take dr or ips",
            )
        return found

    def _learn(self, name: str, features: Sequence[str]) -> _Learnt:
        meta = self.reader.meta
        schema = schema_of(meta.features, features)
        spec = meta.rewards[self.metric]
        made = VwLearner if self.learner.parts is None else PartsLearner
        learner = made(meta.catalog, schema, self.metric, (spec.low, spec.high), self.learner, self.config.exploration)
        learner.learn(NarrowedRounds(self.train, schema))
        if self.advance is not None:
            self.advance(1.0)
        # One file is judged whole, in one process: numpy and numba must not differ within it.
        compiled = replace(learner.policy(), fast=False)
        return _Learnt(NarrowedPolicy(compiled, schema, name), learner.state.rounds)


@dataclass(frozen=True)
class _Learnt:
    policy: NarrowedPolicy
    rounds: int

    @property
    def scorer(self) -> Scorer:
        return self.policy


def _by_group(groups: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Signal group -> its features."""
    found: dict[str, tuple[str, ...]] = {}
    for feature, group in groups.items():
        found[group] = (*found.get(group, ()), feature)
    return found


CARRIES: Final = "carries value"
NONE: Final = "no detectable lift"
COSTS: Final = "costs value"
INSUFFICIENT: Final = "insufficient"
_TURNED: Final = {CARRIES: COSTS, COSTS: CARRIES}


class LiftRow(Output, frozen=True, kw_only=True):
    """What a signal group, or a learnt decision, is worth; null where it is not defined.

    Attributes:
        name: The name of the group or of the decision.
        features: The features that were taken away, or that the decision is learnt from.
        value: What the policy without the group, or with that decision learnt alone, is worth per decision.
        lift: value with less value without, per decision, on the same rows.
        stderr / low / high: The error of the lift; intervals of one table hold together.
        verdict: "carries value", "no detectable lift", "costs value" or "insufficient".
        notes: reservations.
    """

    name: str
    features: tuple[str, ...]
    value: float | None
    lift: float | None
    stderr: float | None
    low: float | None
    high: float | None
    verdict: str
    notes: tuple[str, ...] = ()


def lifts_of(found: Evaluation, features: Mapping[str, Sequence[str]]) -> list[LiftRow]:
    """One row a policy: its value less the baseline's."""
    return [_row(estimate, tuple(features.get(estimate.policy, ()))) for estimate in found.results]


def negated(row: LiftRow) -> LiftRow:
    """The same difference seen from the baseline: what the policy lacks."""
    return msgspec.structs.replace(
        row,
        lift=_minus(row.lift),
        low=_minus(row.high),
        high=_minus(row.low),
        verdict=_TURNED.get(row.verdict, row.verdict),
    )


def full_value(found: Evaluation) -> float | None:
    """The baseline's own value."""
    return found.baseline[0].value


def _row(estimate: Estimate, features: tuple[str, ...]) -> LiftRow:
    gap, notes = estimate.difference, estimate.notes
    if gap is None or gap.value is None:
        return LiftRow(
            name=estimate.policy, features=features, value=None, lift=None, stderr=None, low=None, high=None,
            verdict=INSUFFICIENT, notes=notes,
        )  # fmt: skip
    return LiftRow(
        name=estimate.policy,
        features=features,
        value=estimate.value,
        lift=gap.value,
        stderr=gap.stderr,
        low=gap.low,
        high=gap.high,
        verdict=_verdict(estimate),
        notes=notes,
    )


def _verdict(estimate: Estimate) -> str:
    if not estimate.trustworthy:
        return INSUFFICIENT
    return {"better": CARRIES, "worse": COSTS}.get(estimate.verdict, NONE)


def _minus(value: float | None) -> float | None:
    return None if value is None else -value
