"""The manifest of a trained folder, and loading a policy from it, without Vowpal Wabbit."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from engine.catalog import Catalog
from engine.encoder import Encoder
from engine.features import FeatureSchema
from engine.storage.artefact import manifest_of
from policies.exploring.config import ExplorationConfig
from policies.vw.arguments import VwConfig
from policies.vw.compiled import CompiledPolicy
from policies.vw.ensemble import assembled
from policies.vw.responses import ResponseModel, ResponseNote, Role, load_responses
from policies.vw.tables import load_tables

KIND: Final = "tactful-vw-policy"
FORMAT: Final = 1
MODEL: Final = "model.vw"
TABLES: Final = "tables.npz"


def table_files(config: VwConfig) -> tuple[str, ...]:
    """Names of the files of score tables, one per policy that the model holds."""
    if config.ensemble is None:
        return (TABLES,)
    return tuple(f"tables_{member}.npz" for member in range(config.ensemble.size))


class CompiledManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What `manifest.json` says of any trained folder that holds tables.

    Attributes:
        format: of this manifest.
        catalog / features / encoder: that the policy was trained with.
        metric / reward_range: what it maximises, and the declared (low, high).
        config / exploration: how it learnt, how it explores.
        rounds / eligible_sum / skipped / centre / unit: of training, see `LearnerState`.
        parity: largest |score - VW's prediction| measured at export, in reward units.
        name: of the policy.
        made_with: versions of the libraries.
        source: about the training log.
        files / version: of the folder, see `engine.storage.artefact`.
    """

    format: int
    catalog: Catalog
    features: FeatureSchema
    encoder: Encoder
    metric: str
    reward_range: tuple[float, float]
    config: VwConfig
    exploration: ExplorationConfig
    rounds: int
    eligible_sum: int
    skipped: int
    centre: float
    unit: float
    parity: float
    name: str
    made_with: dict[str, str]
    source: dict[str, Any] = {}
    files: dict[str, str] = {}
    version: str = ""


class Manifest(CompiledManifest, frozen=True, kw_only=True):
    """What `manifest.json` says of a folder of score tables.

    Attributes:
        responses: models of p_respond and p_unsub that lie beside the policy.
        kind: of the folder, see `engine.storage.artefact`.
    """

    responses: tuple[ResponseNote, ...] = ()
    kind: str = KIND


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a trained folder; every hash has been verified.

    Raises:
        ArtefactError: missing, damaged, foreign, or written by a newer version.
    """
    return manifest_of(Path(folder), KIND, FORMAT, Manifest)


def responses_of(folder: Path) -> dict[Role, ResponseModel]:
    """The response models that lie in a trained folder; empty where it was trained without any.

    Raises:
        ArtefactError: missing, damaged or foreign.
    """
    manifest = read_manifest(folder)
    return load_responses(Path(folder), manifest.responses, manifest.catalog)


def load_policy(folder: Path) -> CompiledPolicy:
    """The compiled policy of a trained folder.

    Raises:
        ArtefactError: missing, damaged, foreign, or its tables do not fit its catalog and encoder.
    """
    manifest = read_manifest(folder)
    members = tuple(
        load_tables(Path(folder) / name, manifest.catalog, manifest.encoder.d) for name in table_files(manifest.config)
    )
    return assembled(
        members,
        manifest.catalog,
        manifest.encoder,
        manifest.exploration,
        manifest.rounds,
        manifest.name,
        manifest.version,
    )
