"""Policy specifications of the command line: from `always:ACTION`, `uniform`, `column:NAME` ... to targets."""

from __future__ import annotations

from pathlib import Path

from engine.errors import DataError
from engine.log.parquet import LogReader
from engine.ope.target import ColumnActionTarget, ColumnTarget, LoggedTarget, PolicyTarget, Target
from engine.versions import served_folder
from policies.always import AlwaysPolicy
from policies.uniform import UniformPolicy
from policies.vw.compiled import CompiledPolicy
from policies.vw.folder import load_policy, read_manifest

FORMS = "always:ACTION, uniform, logged, column:NAME, column:NAME@action, or the folder of a trained policy"
ACTION_SUFFIX = "@action"


def parse_spec(spec: str, reader: LogReader) -> tuple[Target, tuple[str, ...]]:
    """The target that a specification means on a log, and the stored columns that it needs.

    Args:
        spec: one of the forms in `FORMS`; echoed as the target's name.
        reader: the log.

    Raises:
        DataError: unknown form, action, column or folder, or a trained policy that does not fit the log.
    """
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
    raise DataError(f"unknown policy {spec!r}", hint=f"a policy is {FORMS}")


def _column(spec: str, reader: LogReader) -> tuple[Target, tuple[str, ...]]:
    name = spec.removeprefix("column:")
    if name.endswith(ACTION_SUFFIX):
        stored = reader.column(name.removesuffix(ACTION_SUFFIX))
        return ColumnActionTarget(spec, stored, reader.meta.catalog), (stored,)
    stored = reader.column(name)
    return ColumnTarget(spec, stored), (stored,)


def load_for(folder: Path, reader: LogReader) -> CompiledPolicy:
    """Load a trained policy and check that it fits the log.

    Raises:
        ArtefactError: the folder is damaged.
        DataError: its actions or features are not the log's.
    """
    policy = load_policy(folder)
    if policy.catalog.action_names != reader.meta.catalog.action_names:
        raise DataError(
            f"the policy in {folder} chooses among other actions than {reader.path} logged",
            hint="train it on a log of the same catalog",
        )
    missing = set(read_manifest(folder).features.names) - set(reader.meta.features.names)
    if missing:
        raise DataError(
            f"the policy in {folder} needs the features {sorted(missing)}, which {reader.path} lacks",
            hint="add them to the mapping, or train on this log's features",
        )
    return policy
