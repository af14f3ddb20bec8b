"""Policy specifications of the command line: from `always:ACTION`, `uniform`, `column:NAME` ... to targets."""

from __future__ import annotations

from pathlib import Path

from engine.content.drawing import BlockChooser
from engine.content.eligibility import is_modular
from engine.content.target import AlwaysBlockTarget, BlockTarget, UniformBlockTarget
from engine.errors import DataError
from engine.log.parquet import LogReader
from engine.ope.target import ColumnActionTarget, ColumnTarget, LoggedTarget, PolicyTarget, Target
from engine.protocols import Policy
from engine.storage.versions import served_folder
from experiments.judge.tuned_specs import NAMES, Tuning, is_tuned, tuned_target
from policies.peers.constant import AlwaysPolicy, UniformPolicy
from policies.trained import TrainedFolder

FORMS = (
    "always:ACTION, uniform, logged, column:NAME, column:NAME@action, the folder of a trained policy, or, tuned on "
    f"another log, NAME@TRAINING_LOG with one of {', '.join(NAMES)}"
)
ACTION_SUFFIX = "@action"


def parse_spec(spec: str, reader: LogReader, tuning: Tuning | None = None) -> tuple[Target, tuple[str, ...]]:
    """The target that a specification means on a log, and the stored columns that it needs.

    Args:
        spec: one of the forms in `FORMS`; echoed as the target's name.
        reader: the log.
        tuning: how rules are tuned; without it they are refused.

    Raises:
        DataError: unknown form, action, column or folder, or a trained policy or training log that does not fit the
            log.
        ConfigError, MissingPropensityError, LearnError: see `experiments.judge.tuned_specs.tuned_target`.
    """
    if is_modular(reader.meta.catalog) and not spec.startswith("column:") and spec != "logged":
        return _over_blocks(spec, reader), ()
    if spec == "uniform":
        return PolicyTarget(UniformPolicy()), ()
    if spec == "logged":
        return LoggedTarget(), ()
    if spec.startswith("always:"):
        return PolicyTarget(AlwaysPolicy(reader.meta.catalog, spec.removeprefix("always:"))), ()
    if spec.startswith("column:"):
        return _column(spec, reader)
    if Path(spec).is_dir():
        return PolicyTarget(load_for(served_folder(Path(spec)), reader), spec), ()
    if tuning is not None and is_tuned(spec):
        return tuned_target(spec, reader, tuning), ()
    raise DataError(f"unknown policy {spec!r}", hint=f"a policy is {FORMS}")


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
    name = spec.removeprefix("column:")
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
