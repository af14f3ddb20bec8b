"""The baseline of a policy: segments as a folder of plain files, and finding the one that a trained folder names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from engine.artefact import publish, verified
from engine.catalog import Catalog
from engine.errors import ArtefactError
from engine.features import FeatureSchema
from engine.protocols import Policy
from policies.segmentation import Cut, Segmentation
from policies.segments import StaticSegments
from policies.trained import head, kind_of, serve

KIND: Final = "tactful-segments"
PREFERENCE: Final = "preference.npz"
# Key of `Manifest.source` under which a trained folder names its baseline.
SOURCE: Final = "baseline"


class SegmentsManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What `manifest.json` says of a folder of segments.

    Attributes:
        catalog_version / schema_version: that the segments were tuned for.
        cuts: of the segmentation.
        version: of the folder.
    """

    catalog_version: str
    schema_version: str
    cuts: tuple[Cut, ...]
    version: str = ""


def export_segments(segments: StaticSegments, catalog: Catalog, schema: FeatureSchema, folder: Path) -> str:
    """Write tuned segments as a folder; it appears whole or not at all. Returns its version.

    Raises:
        StorageError: the disk refused.
    """
    manifest = SegmentsManifest(
        catalog_version=catalog.version, schema_version=schema.version, cuts=segments.segmentation.cuts
    )

    def write(part: Path) -> None:
        np.savez(part / PREFERENCE, preference=segments.preference)

    plain = msgspec.to_builtins(manifest)
    plain.pop("version")
    return publish(folder, KIND, plain, write)


def load_baseline(folder: Path, catalog: Catalog, schema: FeatureSchema) -> Policy:
    """The policy of a folder of segments, or of a trained folder.

    Raises:
        ArtefactError: missing, damaged, or made for another catalog or other features.
    """
    if kind_of(folder) != KIND:
        own = head(folder)
        _require_same(folder, (own.catalog.version, own.features.version), catalog, schema)
        return serve(folder)
    try:
        made = msgspec.convert(verified(folder, KIND), SegmentsManifest)
        with np.load(folder / PREFERENCE, allow_pickle=False) as stored:
            preference = stored["preference"]
    except (msgspec.ValidationError, OSError, ValueError, KeyError) as error:
        raise ArtefactError(f"{folder} holds no segments: {error}", hint="run the backtest again") from error
    _require_same(folder, (made.catalog_version, made.schema_version), catalog, schema)
    segmentation = Segmentation(made.cuts)
    if preference.shape != (segmentation.segments, catalog.k) or preference.dtype != np.float64:
        raise ArtefactError(f"{folder} does not fit its catalog", hint="run the backtest again")
    return StaticSegments(segmentation, preference)


def naming(policy_folder: Path, baseline_folder: Path, version: str) -> dict[str, Any]:
    """What a trained folder keeps of its baseline, for `Manifest.source`; by a relative path, so that both can move."""
    return {SOURCE: {"folder": os.path.relpath(baseline_folder, policy_folder), "version": version}}


def named_baseline(policy_folder: Path) -> Path | None:
    """The baseline that a trained folder names, or None.

    Raises:
        ArtefactError: it is not there any more, or is another one.
    """
    named = head(policy_folder).source.get(SOURCE)
    if not isinstance(named, dict):
        return None
    folder = (policy_folder / str(named.get("folder"))).resolve()
    hint = "give the baseline with prices.baseline=FOLDER, or say prices.allow_more_volume=true"
    if not folder.is_dir():
        raise ArtefactError(f"{policy_folder} names the baseline {folder}, which is not there", hint=hint)
    if verified(folder, kind_of(folder)).get("version") != named.get("version"):
        raise ArtefactError(f"{folder} is not the baseline that {policy_folder} was made with", hint=hint)
    return folder


def _require_same(folder: Path, made: tuple[str, str], catalog: Catalog, schema: FeatureSchema) -> None:
    if made != (catalog.version, schema.version):
        raise ArtefactError(
            f"{folder} was made for another catalog or other features than the policy's",
            hint="a baseline decides about the same actions from the same features",
        )
