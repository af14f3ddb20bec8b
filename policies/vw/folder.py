"""The manifests of the folders that Vowpal Wabbit learns on: `model.vw`, beside it tables where they are compiled.

Policies are read without Vowpal Wabbit, except the one that it serves itself.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec

from engine.features import ContextBatch
from engine.protocols import Learner, Policy
from engine.storage.artefact import manifest_of
from engine.types import BoolArray, FloatArray
from policies.exploring.config import ExplorationConfig
from policies.manifest import FORMAT, Manifest
from policies.vw.arguments import LiveConfig, VwConfig
from policies.vw.responses import ResponseNote
from policies.vw.scoring.compiled import CompiledPolicy, assembled
from policies.vw.scoring.tables import ScoreTables

MODEL: Final = "model.vw"
TABLES: Final = "tables.npz"


class VwManifest(Manifest, frozen=True, kw_only=True):
    """What `manifest.json` says of a folder with a model of Vowpal Wabbit.

    Attributes:
        config: how it learnt.
        eligible_sum / skipped: those of training, see `policies.vw.training.LearnerState`.
    """

    config: VwConfig
    eligible_sum: int
    skipped: int

    def read_learner(self, folder: Path) -> Learner:
        """The learner, to learn on. Exact but for dr, which does not keep its estimates of reward, and rnd.

        Raises:
            ArtefactError: see `Manifest.read_learner`.
        """
        # Serving needs no Vowpal Wabbit.
        from policies.registry import begin  # noqa: PLC0415
        from policies.vw.training import LearnerState  # noqa: PLC0415

        state = LearnerState.kept(self, (folder / MODEL).read_bytes())
        of = (self.catalog, self.features, self.metric, self.reward_range)
        return begin(*of, self.learnt_by, self.explored_by, state)

    @property
    def learnt_by(self) -> VwConfig:
        """The configuration that makes this kind of learner."""
        return self.config

    @property
    def explored_by(self) -> ExplorationConfig | None:
        """The exploration of the policies that the learner hands out, where it is ours."""
        return None


class CompiledManifest(VwManifest, frozen=True, kw_only=True):
    """What `manifest.json` says of a folder whose model is compiled to tables.

    Attributes:
        exploration: the exploration of the policy.
        parity: largest |score - VW's prediction| measured at export, in reward units.
        name: the name of the policy.
        made_with: versions of the libraries.
    """

    exploration: ExplorationConfig
    parity: float
    name: str
    made_with: dict[str, str]

    @property
    def explored_by(self) -> ExplorationConfig | None:
        """The exploration of the policy."""
        return self.exploration


class PolicyManifest(CompiledManifest, frozen=True, kw_only=True):
    """What `manifest.json` says of a folder of score tables.

    Attributes:
        responses: models of p_respond and p_unsub that lie beside the policy.
    """

    KIND: ClassVar[str] = "tactful-vw-policy"

    responses: tuple[ResponseNote, ...] = ()

    @property
    def table_files(self) -> tuple[str, ...]:
        """Names of the files of score tables, one per policy that the model holds."""
        if self.config.ensemble is None:
            return (TABLES,)
        return tuple(f"tables_{member}.npz" for member in range(self.config.ensemble.size))

    def read_policy(self, folder: Path) -> CompiledPolicy:
        """The compiled policy.

        Raises:
            ArtefactError: tables that do not fit the catalog and the encoder.
        """
        d, catalog = self.encoder.d, self.catalog
        members = tuple(ScoreTables.load(folder / name, catalog, d) for name in self.table_files)
        return assembled(members, catalog, self.encoder, self.exploration, self.rounds, self.name, self.version)


class LiveManifest(VwManifest, frozen=True, kw_only=True):
    """What `manifest.json` says of a folder whose policy Vowpal Wabbit serves.

    Attributes:
        live: the exploration.
    """

    KIND: ClassVar[str] = "tactful-vw-live"

    live: LiveConfig

    @property
    def name(self) -> str:
        """Name of the policy."""
        return self.live.policy_name

    @property
    def learnt_by(self) -> VwConfig:
        """The configuration, with the exploration that the folder keeps beside it."""
        return msgspec.structs.replace(self.config, live=self.live)

    def read_policy(self, folder: Path) -> LiveFolderPolicy:
        """The policy, loaded when it is first asked."""
        return LiveFolderPolicy(self, folder)


class LiveFolderPolicy:
    """Serves a live folder (`engine.protocols.Policy`); each process loads its own workspace when first asked.

    Args:
        manifest: the manifest of the folder.
        folder: it must stay there until every process has been asked once.
    """

    def __init__(self, manifest: LiveManifest, folder: Path) -> None:
        self.name, self.version = manifest.name, manifest.version
        self.catalog = manifest.catalog
        self._folder = Path(folder)
        self._served: tuple[int, Policy] | None = None

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """(n, k) probabilities, VW's own.

        Raises:
            ArtefactError: the folder is no longer as it was.
            EligibilityError, ParameterError, DataError: see `policies.vw.live.LivePolicy`.
        """
        here = os.getpid()
        if self._served is None or self._served[0] != here:
            manifest = manifest_of(self._folder, FORMAT, {LiveManifest.KIND: LiveManifest})
            self._served = here, manifest.read_learner(self._folder).policy()
        return self._served[1].distribution(context, eligible)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_served": None}
