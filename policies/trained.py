"""Trained folders of every kind, each opened once: its manifest is read and every hash verified, then it hands out the
policy, the learner, the response models and the record of training rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from engine.catalog import Catalog
from engine.errors import ArtefactError
from engine.features import FeatureSchema
from engine.log.training_rows import FILE, TrainingRows
from engine.protocols import Learner, Policy
from engine.records.rounds import RoundBatch
from engine.storage.artefact import manifest_of
from engine.types import HOLD
from policies.content.policy import BlockManifest, BlockPolicy
from policies.exploring.unseen import unseen_of
from policies.linear.bandits import LinearManifest
from policies.manifest import FORMAT, Exporting, Manifest
from policies.parts.folder import PartsManifest
from policies.vw.folder import LiveManifest, PolicyManifest
from policies.vw.responses import ResponseModel, Role, load_responses
from policies.vw.scoring.compiled import CompiledPolicy

# What is foreign is refused in the words of the first kind, which most folders are of.
KINDS: Final[dict[str, type[Manifest]]] = {
    made.KIND: made for made in (PolicyManifest, PartsManifest, BlockManifest, LiveManifest, LinearManifest)
}


# Key of `Manifest.source` for pairs of contacts and actions that the log never showed (`policies.exploring.unseen`).
NEVER_TAKEN: Final = "never_taken"
# Key of `Manifest.source` where the log that was learnt from held nobody.
NEVER_HELD: Final = "never_held"
NEVER_HELD_WORDS: Final = (
    "The log held nobody, so it says nothing of silence: the policy holds only where nothing may be sent. Hold some at "
    "random (control_share, uniform_share) to learn when not to send."
)
_Policy = TypeVar("_Policy", bound=Policy)


def unknown_actions(rounds: Iterable[RoundBatch]) -> dict[str, bool]:
    """What `Manifest.source` says of a log that never held: a policy of it does not know what silence is worth."""
    return {} if any(_held(batch) for batch in rounds) else {NEVER_HELD: True}


def _held(batch: RoundBatch) -> bool:
    """Whether some decision was to hold; where nothing may be sent there is none."""
    held = batch.action == HOLD
    if batch.modular is not None or not held.any():
        return bool(held.any())
    return bool(batch.take(held).eligible_dense()[:, HOLD + 1 :].any())


def told(policy: _Policy, source: Mapping[str, Any]) -> _Policy:
    """A policy with what the log that it learnt from never showed, by what `Manifest.source` says of it.

    Raises:
        ArtefactError: it says something else.
    """
    if not isinstance(policy, CompiledPolicy):
        return policy
    unseen = unseen_of(source.get(NEVER_TAKEN), policy.catalog.k)
    return replace(policy, never_held=bool(source.get(NEVER_HELD)), unseen=unseen)


class TrainedFolder:
    """A trained folder; what it hands out is read from files whose hashes were verified when it was opened.

    Args:
        path: the folder itself; of a live folder the version that it serves (`engine.storage.versions.served_folder`).

    Raises:
        ArtefactError: missing, damaged, foreign, or of another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.manifest = manifest_of(self.path, FORMAT, KINDS)

    @property
    def kind(self) -> str:
        """What the folder is, a key of `KINDS`."""
        return self.manifest.KIND

    @property
    def catalog(self) -> Catalog:
        """The actions that the policy was trained with."""
        return self.manifest.catalog

    @property
    def features(self) -> FeatureSchema:
        """The features that the policy was trained with."""
        return self.manifest.features

    @property
    def source(self) -> dict[str, Any]:
        """What the manifest says of the training log."""
        return self.manifest.source

    @property
    def version(self) -> str:
        """16 hex digits that name exactly this folder."""
        return self.manifest.version

    def policy(self) -> Policy:
        """The policy; it can be pickled, whatever its kind.

        Raises:
            ArtefactError: files that do not fit the manifest.
        """
        return self._told(self.manifest.read_policy(self.path))

    def _told(self, policy: _Policy) -> _Policy:
        """The policy with what the log that it learnt from never showed."""
        return told(policy, self.source)

    def compiled(self) -> CompiledPolicy | BlockPolicy:
        """The policy of a folder that is compiled to tables.

        Raises:
            ArtefactError: a folder that is not, or files that do not fit the manifest.
        """
        if isinstance(self.manifest, PolicyManifest | BlockManifest):
            return self._told(self.manifest.read_policy(self.path))
        raise ArtefactError(
            f"{self.path} is not compiled: it would decide for some hundred contacts per second",
            hint="decide serves compiled folders (learner=mtr, ips, dr, bag, cover); backtest, evaluate and simulate "
            "take the others too",
        )

    def scored(self) -> CompiledPolicy:
        """The policy of a folder of score tables, whose decisions can be explained (`policies.explain`).

        Raises:
            ArtefactError: a folder of another kind, or files that do not fit the manifest.
        """
        if isinstance(self.manifest, PolicyManifest):
            return self._told(self.manifest.read_policy(self.path))
        raise ArtefactError(
            f"{self.path} is a {self.kind!r}, expected a {PolicyManifest.KIND!r}", hint="give another folder"
        )

    def learner(self) -> Learner:
        """The learner, to learn on.

        Raises:
            ArtefactError: files that do not fit the manifest.
        """
        return self.manifest.read_learner(self.path)

    def responses(self) -> dict[Role, ResponseModel]:
        """The response models beside the policy; empty where it was trained without any.

        Raises:
            ArtefactError: files that do not fit the manifest.
        """
        notes = self.manifest.responses if isinstance(self.manifest, PolicyManifest) else ()
        return load_responses(self.path, notes, self.catalog)

    def training_rows(self) -> TrainingRows | None:
        """The decisions that were learnt from; None where the folder keeps no record of them.

        Raises:
            ArtefactError: a record that is damaged.
        """
        return TrainingRows.read(self.path) if FILE in self.manifest.files else None

    def copied(self, path: Path) -> Manifest:
        """Write the folder once more, without what its manifest says of the training log.

        Raises:
            ArtefactError: a record of rows that is damaged.
            StorageError: the disk refused a write.
        """

        def write(part: Path) -> None:
            for name in self.manifest.files:
                if name != FILE:
                    shutil.copyfile(self.path / name, part / name)

        return msgspec.structs.replace(self.manifest, source={}).publish(path, write, self.training_rows())


def export_learner(
    learner: Learner, path: Path, source: dict[str, Any] | None = None, rows: TrainingRows | None = None
) -> Manifest:
    """Write what a learner has learnt as a trained folder of its kind (`policies.manifest.Exporting`).

    Raises:
        ArtefactError: a learner that has no folder, or as there.
        LearnError, StorageError: as there.
    """
    if not isinstance(learner, Exporting):
        raise ArtefactError(f"a {type(learner).__name__} has no trained folder", hint="one of vw, linucb, lin_ts")
    return learner.export(path, source=source, rows=rows)
