"""Train a policy on a log: from rounds to the folder of a compiled policy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.content.eligibility import is_modular
from engine.errors import DataError, MissingPropensityError, ParameterError
from engine.log.parquet import LogReader
from engine.log.selection import Selection, Side
from engine.log.training_rows import TrainingRows
from engine.ope.evaluate import evaluate
from engine.ope.settings import DEFAULTS
from engine.ope.setup import Question
from engine.ope.target import LoggedTarget, PolicyTarget, Remembered
from engine.protocols import Learner, Policy
from engine.records.rounds import RoundBatch
from engine.storage.given import Given
from engine.storage.versions import served_folder
from experiments.judge.audit import AuditGate, passed_gate
from experiments.judge.contenders import LEARNED, without_exploring
from experiments.judge.launch.exploring import ExploringOutput, ExploringSums
from experiments.judge.learnt_rows import LEARNT_FROM, span_of
from experiments.outputs import CommandOutput
from experiments.settings import TrainConfig
from policies.content.adopt import adopted
from policies.content.learner import BlockLearner
from policies.exploring.config import ExplorationConfig
from policies.exploring.unseen import Unseen, unseen_in, unseen_of
from policies.horizon.panel import WholeLogs
from policies.manifest import Manifest
from policies.parts.folder import PartsManifest
from policies.parts.learner import PartsLearner
from policies.parts.memory.columns import GROUP as MEMORY
from policies.prices.baseline import SOURCE as BASELINE
from policies.registry import Learned, begin
from policies.trained import (
    NEVER_HELD_WORDS,
    NEVER_TAKEN,
    TrainedFolder,
    export_learner,
    told,
    unknown_actions,
)
from policies.vw.arguments import VwConfig
from policies.vw.folder import PolicyManifest
from policies.vw.learner import VwLearner
from policies.vw.responses import Asked, ResponseModel
from policies.vw.reward_model import VwResponseModel
from policies.vw.scoring.compiled import CompiledPolicy
from policies.vw.search import Search, choose

# The share of decisions in which something else is chosen is counted on so many.
_SHOWN_ROWS: Final = 50_000


class TrainOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful train --json`.

    Attributes:
        rows: decisions learnt from, those of `--from` included.
        known_rows: usable rows of the log that the folder of `--from` had learnt from before; they were passed over.
        parity: null where VW serves the policy itself.
        responses: models of p_respond and p_unsub: role -> metric.
        audit: what the audit of the log said before anything was learnt; null where none ran.
        said: of a learner of parts, sentences on what was chosen and why.
        frequency: of a learner of parts, the rules of waiting that were tried on the log (docs/frequency.md).
        exploring: what exploring costs beside what it will teach, against what the log did (docs/exploration.md); null
            where the policy has no scores.
    """

    policy: str
    folder: str
    metric: str
    rows: int
    actions: int
    parity: float | None
    version: str
    known_rows: int = 0
    responses: dict[str, str] = {}
    audit: AuditGate | None = None
    said: tuple[str, ...] = ()
    frequency: dict[str, Any] = {}
    exploring: ExploringOutput | None = None


def learn(
    reader: LogReader, metric: str, learner: VwConfig, exploration: ExplorationConfig, side: Side | None = None
) -> Learned:
    """Learn a policy from one side of a log; where the learner has a search, its parameters are chosen there first.

    Raises:
        DataError: the log has no such metric.
        MissingPropensityError: the log has no propensities.
        LearnError: rounds that cannot train; see `VwLearner.learn`.
    """
    meta = reader.meta
    config = chosen(reader, metric, learner, side).config
    made = begin(meta.catalog, meta.features, metric, _range(reader, metric), config, exploration)
    made.learn(training_rounds(reader, metric, config, side))
    return made


def unseen_on(reader: LogReader, metric: str, side: Side | None = None) -> Unseen | None:
    """What one side of a log never showed; None for a modular catalog, whose actions are not listed."""
    if is_modular(reader.meta.catalog):
        return None
    often = reader.rows / reader.contacts if reader.clustered and reader.contacts else 1.0
    return unseen_in(Selection(reader, metric, side=side), reader.meta.features, reader.meta.catalog.k, often)


def never_shown(reader: LogReader, metric: str, side: Side) -> dict[str, Any]:
    """What `Manifest.source` says of what one side of a log never showed."""
    unseen = unseen_on(reader, metric, side)
    found = {} if unseen is None else {NEVER_TAKEN: unseen.to_builtins()}
    return found | unknown_actions(Selection(reader, metric, side=side, context=False))


def unseen_words(policy: Policy, rounds: Iterable[RoundBatch]) -> tuple[str, ...]:
    """How often the best by the model is an action that the log never took for such contacts; nothing where never."""
    if not isinstance(policy, CompiledPolicy) or policy.unseen is None:
        return ()
    rows = changed = 0
    for batch in rounds:
        rows += batch.n
        instead = policy.unseen.chosen_instead(policy.scores(batch.context), batch.context, batch.eligible_dense())
        changed += int(instead.sum())
        if rows >= _SHOWN_ROWS:
            break
    share, pairs = 100 * changed / max(rows, 1), policy.unseen.pairs
    said = (
        f"The log never took {pairs:,} pairs of a group of contacts and an action, so only a model speaks of them. In "
        f"{share:.1f} % of the decisions such an action is the best by the model; the best of what the log showed is "
        "taken instead."
    )
    return (said,)


def training_rounds(reader: LogReader, metric: str, config: VwConfig, side: Side | None = None) -> Iterable[RoundBatch]:
    """What a learner reads: usable rounds, or whole trajectories."""
    if config.whole is None or is_modular(reader.meta.catalog):
        return Selection(reader, metric, side=side)
    return WholeLogs([reader], metric, config.whole.metrics(reader.meta.rewards), side)


def chosen(reader: LogReader, metric: str, learner: VwConfig, side: Side | None = None) -> Search:
    """The parameters to learn with: chosen on one side of a log where the learner has a search, else its own.

    Raises:
        DataError, MissingPropensityError, LearnError: see `learn`.
    """
    meta, reward_range = reader.meta, _range(reader, metric)
    if learner.search is not None and is_modular(meta.catalog):
        raise ParameterError("search", "train", allowed="null for a modular catalog", got="one", hint="learner=mtr")
    return choose(Selection(reader, metric, side=side), meta.catalog, meta.features, metric, reward_range, learner)


def _range(reader: LogReader, metric: str) -> tuple[float, float]:
    reader.require_metric(metric)
    if reader.meta.propensity != "logged":
        raise MissingPropensityError(
            f"{reader.path} has no propensities, so a bandit cannot learn from it",
            hint="log the probability of each choice, or give it in the mapping",
        )
    return reader.meta.rewards[metric].low, reader.meta.rewards[metric].high


def continued(reader: LogReader, metric: str, start: TrainedFolder, before: TrainingRows) -> Learner:
    """Learn the new rows of a log on top of a trained folder: a warm start, or the update of a day.

    Args:
        reader: the log, which may be cumulative.
        metric: the metric to learn.
        start: the trained folder.
        before: decisions that the folder learnt from; they are passed over, so that none counts twice.

    Encoder, scale, parameters and exploration stay the folder's. Where the log's catalog swaps blocks of a modular
    catalog, what was learnt of the others stays (`policies.content.adopt`). How exactly this equals learning everything
    in one go depends on the learner, see docs/policies.md.

    Raises:
        ArtefactError: the folder is damaged or foreign.
        DataError: it was trained for other actions, features or another metric.
        MissingPropensityError, LearnError: see `learn`.
    """
    said = start.manifest
    reward_range = _range(reader, metric)
    mine = (said.features.version, said.metric, said.reward_range)
    catalog = reader.meta.catalog
    swapped = is_modular(said.catalog) and is_modular(catalog)
    if mine != (reader.meta.features.version, metric, reward_range) or not (
        swapped or said.catalog.version == catalog.version
    ):
        raise DataError(
            f"the policy in {start.path} was trained for other actions, features, or another metric than "
            f"{reader.path} has",
            hint=f"it maximises {said.metric!r} in {said.reward_range}; train anew where the catalog has changed",
        )
    learner = start.learner()
    if isinstance(learner, BlockLearner):
        learner = adopted(learner, catalog)
    config = learner.config if isinstance(learner, VwLearner) else VwConfig()
    learner.learn(before.without(training_rounds(reader, metric, config)))
    return learner


def learnt_before(reader: LogReader, metric: str, start: TrainedFolder) -> TrainingRows:
    """The decisions that a folder learnt from, where the log has others beside them.

    Raises:
        DataError: the folder learnt from every usable row already, or it keeps no record of its rows and the log may
            hold some of them.
        ArtefactError: the record is damaged.
    """
    rows = start.training_rows()
    if rows is None:
        now, last = span_of(reader, metric), start.source.get(LEARNT_FROM, {}).get("last_at")
        if now and last is not None and last < now["first_at"]:
            return TrainingRows.of(())
        raise DataError(
            f"{start.path} keeps no record of the rows that it learnt from, so rows of {reader.path} might count twice",
            hint="train anew on the whole log, without --from; from then on the folder keeps the record",
        )
    used = Selection(reader, metric, context=False)
    if rows.shared(used) == sum(batch.n for batch in used) > 0:
        raise DataError(
            f"{start.path} has learnt from every usable row of {reader.path} already",
            hint="give a log with later decisions, or with outcomes that have matured since",
        )
    return rows


def train_on_log(
    log: Given,
    metric: str,
    out: Path,
    config: TrainConfig,
    start: Path | None = None,
    also: Sequence[Asked] = (),
    override_audit: str | None = None,
) -> TrainOutput:
    """Train on a whole log and export the policy.

    Args:
        start: a trained folder to go on from; then `config` plays no part for the policy. Its response models are kept
            where `also` asks for none.
        also: metrics of p_respond and p_unsub, modelled beside the policy on this log.
        override_audit: the reason to learn from a log whose audit fails; kept in the manifest.

    Raises:
        DataError: the audit of the log fails.
        DataError, MissingPropensityError, LearnError: see `learn` and `continued`.
        ArtefactError: the compiled policy does not agree with VW's own predictions.
        StorageError: the folder cannot be written; what stood there before is untouched.
    """
    reader = LogReader(log)
    source: dict[str, Any] = {}
    kept: tuple[ResponseModel, ...] = ()
    if start is not None:
        # A folder that cannot be learnt on says so before any work is done.
        TrainedFolder(served_folder(start)).learner()
    audit = passed_gate(reader, metric, config.audit, override_audit)
    spans = span_of(reader, metric)
    rows = TrainingRows.of(Selection(reader, metric, context=False))
    known, unknown = 0, unknown_actions(Selection(reader, metric, context=False))
    unseen = unseen_on(reader, metric)
    if start is None:
        found = chosen(reader, metric, config.learner)
        learner: Learner = learn(reader, metric, found.config, config.exploration)
        source = {"search": found.to_builtins()} if found.trials else {}
    else:
        trained = TrainedFolder(served_folder(start))
        before = learnt_before(reader, metric, trained)
        learner = continued(reader, metric, trained, before)
        known = before.shared(Selection(reader, metric, context=False))
        kept = tuple(trained.responses().values())
        said = trained.source
        rows |= before
        spans = _joint_span(said.get(LEARNT_FROM, {}), spans)
        unknown = {name: True for name in unknown if said.get(name)}
        earlier = unseen_of(said.get(NEVER_TAKEN), reader.meta.catalog.k)
        unseen = None if earlier is None else earlier.without(Selection(reader, metric))
        # An update of a day is held to the same volume.
        source |= {BASELINE: said[BASELINE]} if BASELINE in said else {}
    source |= unknown
    if unseen is not None and unseen.pairs:
        source[NEVER_TAKEN] = unseen.to_builtins()
    if spans:
        source[LEARNT_FROM] = spans
    if reader.meta.memory:
        source[MEMORY] = msgspec.to_builtins(reader.meta.memory)
    if audit is not None:
        source["audit"] = msgspec.to_builtins(audit)
    responses = fit_responses(reader, also, config.learner) if also else kept
    manifest = _exported(learner, out, source, responses, rows)
    compiled = manifest if isinstance(manifest, PolicyManifest) else None
    parts = manifest.parts if isinstance(manifest, PartsManifest) else {}
    return TrainOutput(
        policy=manifest.name,
        folder=str(out),
        metric=metric,
        rows=manifest.rounds,
        known_rows=known,
        actions=reader.meta.catalog.k,
        parity=getattr(manifest, "parity", None),
        version=manifest.version,
        audit=audit,
        responses={} if compiled is None else {note.role: note.metric for note in compiled.responses},
        said=(
            *parts.get("said", ()),
            *(NEVER_HELD_WORDS for _ in unknown),
            *unseen_words(told(learner.policy(), source), Selection(reader, metric)),
        ),
        frequency=parts.get("frequency", {}),
        exploring=_exploring(reader, metric, told(learner.policy(), source)),
    )


def _exploring(reader: LogReader, metric: str, policy: Policy) -> ExploringOutput | None:
    """What exploring costs on the log that was learnt from, and what it will say against what the log did."""
    if not isinstance(policy, CompiledPolicy):
        return None
    explored, greedy = Remembered(PolicyTarget(policy, LEARNED)), Remembered(without_exploring(policy))
    range_, logged = _range(reader, metric), LoggedTarget()
    sums = ExploringSums(explored, greedy, logged, policy.scores, metric, range_)
    question = Question(
        metric=metric, reward_range=range_, estimators=("snips",), baseline=logged, clustered=reader.clustered
    )
    found = evaluate(Selection(reader, metric), [greedy], question, DEFAULTS, also=sums.add).results[0].difference
    return sums.result(1.0, None if found is None else found.stderr, DEFAULTS.shared_alpha)


def _exported(
    learner: Learner, out: Path, source: dict[str, Any], responses: Sequence[ResponseModel], rows: TrainingRows
) -> Manifest:
    if isinstance(learner, VwLearner | PartsLearner):
        return learner.export(out, source=source, responses=responses, rows=rows)
    if responses:
        raise ParameterError(
            "also", "train", allowed="beside a compiled policy", got="a policy that VW serves live", hint="learner=mtr"
        )
    return export_learner(learner, out, source, rows)


def _joint_span(before: dict[str, int], rows: dict[str, int]) -> dict[str, int]:
    """What two trainings learnt from, where both say it."""
    if not before or not rows:
        return {}
    return {"first_at": min(before["first_at"], rows["first_at"]), "last_at": max(before["last_at"], rows["last_at"])}


def fit_responses(reader: LogReader, asked: Sequence[Asked], config: VwConfig) -> tuple[ResponseModel, ...]:
    """One model per metric, on all usable rows whose metric is known.

    Raises:
        DataError: the log has no such metric.
        ParameterError: the metric is no share: a probability lies in [0, 1].
        LearnError: no row to learn from, or a value that is neither 0 nor 1.
    """
    return tuple(_fit_response(reader, one, config) for one in asked)


def _fit_response(reader: LogReader, asked: Asked, config: VwConfig) -> ResponseModel:
    reader.require_metric(asked.metric)
    spec = reader.meta.rewards[asked.metric]
    if spec.low < 0 or spec.high > 1:
        raise ParameterError(
            "also", "train", allowed="metrics in [0, 1]", got=f"{asked.metric} in [{spec.low:g}, {spec.high:g}]"
        )
    model = VwResponseModel(reader.meta.catalog, reader.meta.features, asked.metric, (spec.low, spec.high), config)
    model.fit(Selection(reader, asked.metric))
    return model.response(asked.role)
