"""Trained folders of every kind: one way to begin, write, read, serve and learn on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from engine.catalog import Catalog
from engine.content.eligibility import is_modular
from engine.errors import ArtefactError
from engine.features import FeatureSchema
from engine.log.training_rows import TrainingRows
from engine.protocols import Learner, Policy
from engine.storage.artefact import MANIFEST
from policies.content import folder as blocks
from policies.content.learner import BlockLearner
from policies.exploring.config import ExplorationConfig
from policies.horizon.learner import HorizonLearner
from policies.linear import folder as linear_folder
from policies.linear.ridge import LinearLearner
from policies.vw import export, folder, live_learner
from policies.vw.arguments import VwConfig
from policies.vw.learner import VwLearner
from policies.vw.live_folder import LiveFolderPolicy
from policies.vw.live_learner import LiveLearner


class Head(Protocol):
    """What the manifests of all kinds say alike."""

    @property
    def catalog(self) -> Catalog: ...
    @property
    def features(self) -> FeatureSchema: ...
    @property
    def metric(self) -> str: ...
    @property
    def reward_range(self) -> tuple[float, float]: ...
    @property
    def name(self) -> str: ...
    @property
    def rounds(self) -> int: ...
    @property
    def source(self) -> dict[str, Any]: ...
    @property
    def version(self) -> str: ...


@dataclass(frozen=True)
class _Kind:
    read: Callable[[Path], Head]
    serve: Callable[[Path], Policy]
    resume: Callable[[Path], Learner]


KINDS: Final[dict[str, _Kind]] = {
    blocks.KIND: _Kind(blocks.read_blocks, blocks.load_blocks, blocks.resume_blocks),
    folder.KIND: _Kind(folder.read_manifest, folder.load_policy, export.resume),
    live_learner.KIND: _Kind(live_learner.read_live, LiveFolderPolicy, live_learner.load_live),
    linear_folder.KIND: _Kind(
        linear_folder.read_linear,
        lambda path: linear_folder.resume_linear(path).policy(),
        linear_folder.resume_linear,
    ),
}


def begin(
    catalog: Catalog,
    schema: FeatureSchema,
    metric: str,
    reward_range: tuple[float, float],
    config: VwConfig,
    exploration: ExplorationConfig,
) -> VwLearner | LiveLearner | BlockLearner:
    """A new learner on Vowpal Wabbit: compiled, or served live where the configuration says `live`.

    Of a modular catalog it learns and decides by blocks.

    Raises:
        ParameterError: see `VwLearner` and `LiveLearner`.
    """
    if is_modular(catalog):
        return BlockLearner(catalog, schema, metric, reward_range, config, exploration)
    if config.live is not None:
        return LiveLearner(catalog, schema, metric, reward_range, config.live, config)
    made = VwLearner if config.horizon is None else HorizonLearner
    return made(catalog, schema, metric, reward_range, config, exploration)


def export_learner(
    learner: Learner, path: Path, source: dict[str, Any] | None = None, rows: TrainingRows | None = None
) -> Head:
    """Write what a learner has learnt as a trained folder of its kind; it appears whole or not at all.

    Args:
        learner: that has learnt.
        path: final name of the folder.
        source: plain data about the training log, kept in the manifest.
        rows: decisions that were learnt from (`TrainingRows.of` the rounds that the learner was given).

    Raises:
        LearnError: nothing has been learnt.
        ArtefactError: the compiled scores do not agree with VW's, or a learner that has no folder.
        StorageError: the disk refused a write.
    """
    if isinstance(learner, VwLearner):
        return export.export_policy(learner, path, source=source, rows=rows)
    if isinstance(learner, BlockLearner):
        return blocks.export_blocks(learner, path, source=source, rows=rows)
    if isinstance(learner, LiveLearner):
        live_learner.export_live(learner, path, source=source, rows=rows)
    elif isinstance(learner, LinearLearner):
        linear_folder.export_linear(learner, path, source=source, rows=rows)
    else:
        raise ArtefactError(f"a {type(learner).__name__} has no trained folder", hint="one of vw, linucb, lin_ts")
    return head(path)


def head(path: Path) -> Head:
    """What the manifest of a trained folder says; every hash has been verified.

    Raises:
        ArtefactError: missing, damaged, foreign, or of another format.
    """
    return _kind(path).read(path)


def serve(path: Path) -> Policy:
    """The policy of a trained folder; it can be pickled, whatever its kind.

    Raises:
        ArtefactError: missing, damaged, foreign, or of another format.
    """
    return _kind(path).serve(path)


def resume(path: Path) -> Learner:
    """The learner of a trained folder, to learn on.

    Raises:
        ArtefactError: missing, damaged, foreign, or of another format.
    """
    return _kind(path).resume(path)


def require_compiled(path: Path) -> None:
    """Refuse the folders that are trained, but not compiled to score tables.

    Raises:
        ArtefactError: such a folder.
    """
    kind = kind_of(path)
    if kind in KINDS and kind not in (folder.KIND, blocks.KIND):
        raise ArtefactError(
            f"{path} is not compiled: it would decide for some hundred contacts per second",
            hint="decide serves compiled folders (learner=mtr, ips, dr, bag, cover); backtest, evaluate and simulate "
            "take the others too",
        )


def learns_as(path: Path) -> str:
    """The name in `policies.registry` of the learner whose folder this is.

    Raises:
        ArtefactError: missing, damaged, foreign, or of another format.
    """
    found = head(path)
    return found.policy if isinstance(found, linear_folder.LinearManifest) else "vw"


def kind_of(path: Path) -> str:
    """The kind that a folder's manifest names, not verified; "" where there is none to read."""
    try:
        found = json.loads((Path(path) / MANIFEST).read_text())
    except (OSError, ValueError, RecursionError):
        return ""
    return str(found.get("kind", "")) if isinstance(found, dict) else ""


def _kind(path: Path) -> _Kind:
    # What is missing or foreign gets the words of the kind that most folders are of.
    return KINDS.get(kind_of(path), KINDS[folder.KIND])
