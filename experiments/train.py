"""Train a policy on a log: from rounds to the folder of a compiled policy."""

from __future__ import annotations

from pathlib import Path

from engine.errors import DataError, MissingPropensityError
from engine.log.parquet import LogReader
from engine.selection import Selection, Side
from experiments.outputs import TrainOutput
from experiments.settings import TrainConfig
from policies.exploration_config import ExplorationConfig
from policies.vw.arguments import VwConfig
from policies.vw.export import export_policy
from policies.vw.learner import VwLearner


def learn(
    reader: LogReader, metric: str, learner: VwConfig, exploration: ExplorationConfig, side: Side | None = None
) -> VwLearner:
    """Learn a policy from one side of a log.

    Raises:
        DataError: the log has no such metric.
        MissingPropensityError: the log has no propensities.
        LearnError: rounds that cannot train; see `VwLearner.learn`.
    """
    if metric not in reader.meta.rewards:
        raise DataError(f"{reader.path} has no metric {metric!r}", hint=f"the log knows: {sorted(reader.meta.rewards)}")
    if reader.meta.propensity != "logged":
        raise MissingPropensityError(
            f"{reader.path} has no propensities, so a bandit cannot learn from it",
            hint="log the probability of each choice, or give it in the mapping",
        )
    spec = reader.meta.rewards[metric]
    made = VwLearner(reader.meta.catalog, reader.meta.features, metric, (spec.low, spec.high), learner, exploration)
    made.learn(Selection(reader, metric, side=side))
    return made


def train_on_log(log: Path, metric: str, out: Path, config: TrainConfig) -> TrainOutput:
    """Train on a whole log and export the policy.

    Raises:
        DataError, MissingPropensityError, LearnError: see `learn`.
        ArtefactError: the compiled policy does not agree with VW's own predictions.
        StorageError: the folder cannot be written; what stood there before is untouched.
    """
    reader = LogReader(log)
    learner = learn(reader, metric, config.learner, config.exploration)
    manifest = export_policy(learner, out)
    return TrainOutput(
        policy=learner.policy().name,
        folder=str(out),
        metric=metric,
        rows=learner.state.rounds,
        actions=reader.meta.catalog.k,
        parity=manifest.parity,
        version=manifest.version,
    )
