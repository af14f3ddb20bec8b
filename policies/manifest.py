"""What the manifest of every trained folder says, and how a learner is kept in one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, Self, runtime_checkable

import msgspec

from engine.catalog import Catalog
from engine.encoder import Encoder
from engine.features import FeatureSchema
from engine.log.training_rows import TrainingRows
from engine.protocols import Learner, Policy
from engine.storage.artefact import manifest_of, publish

FORMAT: Final = 1


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What `manifest.json` of a trained folder says; each kind of folder has a subclass, which reads its files.

    Attributes:
        format: the format of the manifest.
        catalog / features / encoder: those that the policy was trained with.
        metric / reward_range: what it maximises, and the declared (low, high).
        rounds: the rounds that were learnt from.
        centre / unit: mean and standard deviation of the rewards of the first rounds.
        source: about the training log.
        files / version: those of the folder, see `engine.storage.artefact`.
    """

    KIND: ClassVar[str]

    format: int = FORMAT
    catalog: Catalog
    features: FeatureSchema
    encoder: Encoder
    metric: str
    reward_range: tuple[float, float]
    rounds: int
    centre: float
    unit: float
    source: dict[str, Any] = {}
    files: dict[str, str] = {}
    version: str = ""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the policy."""

    @property
    def learns_as(self) -> str:
        """The name in `policies.registry` of the learner whose folder this is."""
        return "vw"

    @abstractmethod
    def read_policy(self, folder: Path) -> Policy:
        """The policy of the folder; it can be pickled.

        Raises:
            ArtefactError: files that do not fit the manifest.
        """

    @abstractmethod
    def read_learner(self, folder: Path) -> Learner:
        """The learner of the folder, to learn on.

        Raises:
            ArtefactError: files that do not fit the manifest.
        """

    def publish(self, folder: Path, write: Callable[[Path], None], rows: TrainingRows | None) -> Self:
        """Write the folder of this manifest, whole or not at all, and read the manifest back.

        Args:
            folder: final name; a trained folder under it is replaced on success.
            write: writes the other files into the folder that it is given.
            rows: decisions that were learnt from, kept beside them.

        Raises:
            StorageError: the disk refused a write.
        """
        publish(Path(folder), self.KIND, msgspec.to_builtins(self), write, rows)
        return manifest_of(Path(folder), FORMAT, {self.KIND: type(self)})


@runtime_checkable
class Exporting(Protocol):
    """A learner that can be kept in a trained folder."""

    def export(
        self, folder: Path, *, source: dict[str, Any] | None = None, rows: TrainingRows | None = None
    ) -> Manifest:
        """Write what has been learnt as a trained folder, whole or not at all, and return its manifest.

        Args:
            folder: final name; a trained folder under it is replaced on success.
            source: plain data about the training log, kept in the manifest.
            rows: decisions that were learnt from (`TrainingRows.of` the rounds that the learner was given).

        Raises:
            LearnError: nothing has been learnt.
            ArtefactError: the compiled scores do not agree with Vowpal Wabbit's.
            StorageError: the disk refused a write.
        """
