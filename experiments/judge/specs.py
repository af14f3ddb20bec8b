"""Policy specifications of the command line: from `always:ACTION`, `uniform`, `column:NAME` ... to targets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from engine.content.drawing import BlockChooser
from engine.content.eligibility import is_modular
from engine.content.target import AlwaysBlockTarget, BlockTarget, UniformBlockTarget
from engine.errors import DataError
from engine.log.parquet import LogReader
from engine.log.selection import Selection
from engine.names import did_you_mean
from engine.ope.target import ColumnActionTarget, ColumnTarget, LoggedTarget, PolicyTarget, Target
from engine.protocols import Policy
from engine.storage.versions import served_folder
from engine.types import KeyArray
from policies.peers.config import LEARNING, TUNED, PeerConfig, is_rule
from policies.peers.constant import AlwaysPolicy, AnySendPolicy, UniformPolicy
from policies.peers.rule import read_rule
from policies.peers.segments import SegmentConfig
from policies.registry import Setting, make
from policies.trained import TrainedFolder
from policies.vw.arguments import VwConfig

NAMES: Final = tuple(name for name in (*TUNED, *LEARNING) if name != "vw")
FORMS = (
    "always:ACTION, uniform, any_send, logged, column:NAME, column:NAME@action, RULE.yaml, the folder of a trained "
    f"policy, or, tuned on another log, NAME@TRAINING_LOG with one of {', '.join(NAMES)}"
)
COLUMN: Final = "column:"
ACTION_SUFFIX: Final = "@action"


def parse_spec(spec: str, reader: LogReader, tuning: Tuning | None = None) -> tuple[Target, tuple[str, ...]]:
    """The target that a specification means on a log, and the stored columns that it needs.

    Args:
        spec: one of the forms in `FORMS`; echoed as the target's name.
        reader: the log.
        tuning: how rules are tuned; without it they are refused.

    Raises:
        DataError: unknown form, action, column or folder, or a trained policy or training log that does not fit the
            log.
        ConfigError, MissingPropensityError, LearnError: see `experiments.judge.specs.tuned_target`.
    """
    if is_modular(reader.meta.catalog) and not spec.startswith(COLUMN) and spec != "logged":
        return _over_blocks(spec, reader), ()
    if spec == "uniform":
        return PolicyTarget(UniformPolicy()), ()
    if spec == AnySendPolicy.name:
        return PolicyTarget(AnySendPolicy()), ()
    if spec == "logged":
        return LoggedTarget(), ()
    if spec.startswith("always:"):
        return PolicyTarget(AlwaysPolicy(reader.meta.catalog, spec.removeprefix("always:"))), ()
    if spec.startswith(COLUMN):
        return _column(spec, reader)
    if is_rule(spec):
        return PolicyTarget(read_rule(Path(spec), reader.meta.catalog, reader.meta.features), spec), ()
    if Path(spec).is_dir():
        return PolicyTarget(load_for(served_folder(Path(spec)), reader), spec), ()
    if tuning is not None and is_tuned(spec):
        return tuned_target(spec, reader, tuning), ()
    near = did_you_mean(spec.partition(MARK)[0], ("uniform", AnySendPolicy.name, "logged", *NAMES))
    raise DataError(f"unknown policy {spec!r}", hint=f"{near}a policy is {FORMS}")


def _over_blocks(spec: str, reader: LogReader) -> Target:
    """A policy over assemblies, asked for the logged actions alone."""
    if spec == "uniform":
        return UniformBlockTarget()
    if spec.startswith("always:"):
        return AlwaysBlockTarget(reader.meta.catalog.resolve(spec.removeprefix("always:")), spec)
    if not Path(spec).is_dir():
        raise DataError(
            f"{spec!r} is no policy over a modular catalog",
            hint="always:ACTION, uniform, logged, column:NAME, or the folder of a policy that was trained on one",
        )
    policy = load_for(served_folder(Path(spec)), reader)
    if not isinstance(policy, BlockChooser):
        raise DataError(f"the policy in {spec} lists all actions", hint="train it on a log of the modular catalog")
    return BlockTarget(policy, spec)


def _column(spec: str, reader: LogReader) -> tuple[Target, tuple[str, ...]]:
    name = spec.removeprefix(COLUMN)
    if name.endswith(ACTION_SUFFIX):
        if is_modular(reader.meta.catalog):
            raise DataError(f"{spec!r} is not defined on a modular catalog", hint="give a column of probabilities")
        stored = reader.column(name.removesuffix(ACTION_SUFFIX))
        return ColumnActionTarget(spec, stored, reader.meta.catalog), (stored,)
    stored = reader.column(name)
    return ColumnTarget(spec, stored), (stored,)


def load_for(folder: Path, reader: LogReader) -> Policy:
    """Load a trained policy and check that it fits the log.

    Raises:
        ArtefactError: the folder is damaged.
        DataError: its actions or features are not the log's.
    """
    said = TrainedFolder(folder)
    if said.catalog.action_names != reader.meta.catalog.action_names:
        raise DataError(
            f"the policy in {folder} chooses among other actions than {reader.path} logged",
            hint="train it on a log of the same catalog",
        )
    missing = set(said.features.names) - set(reader.meta.features.names)
    if missing:
        raise DataError(
            f"the policy in {folder} needs the features {sorted(missing)}, which {reader.path} lacks",
            hint="add them to the mapping, or train on this log's features",
        )
    return said.policy()


MARK: Final = "@"
# What learns with Vowpal Wabbit has a trained folder of its own, which names its configuration.


@dataclass(frozen=True)
class Tuning:
    """How rules are tuned for an evaluation.

    Attributes:
        metric: the reward to maximise, the one that is judged by.
        peer / segments / model: see `policies.registry.Setting`.
    """

    metric: str
    peer: PeerConfig
    segments: SegmentConfig
    model: VwConfig


def is_tuned(spec: str) -> bool:
    """Whether a specification asks for a policy that is tuned on another log."""
    name, mark, _ = spec.partition(MARK)
    return bool(mark) and name in NAMES


def tuned_target(spec: str, reader: LogReader, tuning: Tuning) -> Target:
    """The policy that a specification means, tuned on its training log.

    Raises:
        ConfigError: a rule that needs features which the log lacks.
        DataError: a training log that cannot be read, of other actions or features, without the metric, or one that
            shares contacts with the log that is to judge.
        MissingPropensityError, LearnError: a training log from which it cannot be tuned.
    """
    name, _, path = spec.partition(MARK)
    training = LogReader(path)
    meta, own = training.meta, reader.meta
    if (meta.catalog.version, meta.features.version) != (own.catalog.version, own.features.version):
        raise DataError(
            f"{path} has other actions or features than {reader.path}", hint="tune and judge on parts of one log"
        )
    training.require_metric(tuning.metric)
    rounds = Selection(training, tuning.metric)
    shared = np.intersect1d(_clusters(rounds), _clusters(Selection(reader, tuning.metric, context=False)))
    if len(shared):
        raise DataError(
            f"{path} and {reader.path} share {len(shared)} contacts",
            hint="no policy is judged on what it was tuned on: split by contact first, as `tactful backtest` does",
        )
    spec_of = meta.rewards[tuning.metric]
    setting = Setting(
        meta.catalog,
        meta.features,
        tuning.metric,
        (spec_of.low, spec_of.high),
        peer=tuning.peer,
        segments=tuning.segments,
        model=tuning.model,
    )
    return PolicyTarget(make(name, rounds, setting), spec)


def _clusters(rounds: Selection) -> KeyArray:
    found = [np.unique(batch.cluster) for batch in rounds]
    return np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.uint64)
