"""The baseline of a policy: segments as a folder of plain files, or kept in the manifest of a trained folder."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.errors import ArtefactError, reason_of
from engine.features import FeatureSchema
from engine.log.training_rows import TrainingRows
from engine.protocols import Policy
from engine.storage.artefact import publish, verified
from policies.peers.segmentation import Cut, Segmentation
from policies.peers.segments import StaticSegments
from policies.trained import KINDS, TrainedFolder

KIND: Final = "tactful-segments"
PREFERENCE: Final = "preference.npz"
# Key of `Manifest.source` under which a trained folder keeps its baseline.
SOURCE: Final = "baseline"
# Segments of more bytes than this are not kept in a manifest.
_MOST_BYTES: Final = 8 << 20


class SegmentsManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What `manifest.json` says of a folder of segments.

    Attributes:
        catalog_version / schema_version: those that the segments were tuned for.
        cuts: the cuts of the segmentation.
        version: the version of the folder.
    """

    catalog_version: str
    schema_version: str
    cuts: tuple[Cut, ...]
    version: str = ""


def export_segments(
    segments: StaticSegments, catalog: Catalog, schema: FeatureSchema, folder: Path, rows: TrainingRows | None = None
) -> str:
    """Write tuned segments as a folder; it appears whole or not at all. Returns its version.

    Raises:
        StorageError: the disk refused.
    """
    manifest = SegmentsManifest(
        catalog_version=catalog.version, schema_version=schema.version, cuts=segments.segmentation.cuts
    )

    def write(part: Path) -> None:
        segments.save(part / PREFERENCE)

    plain = msgspec.to_builtins(manifest)
    plain.pop("version")
    return publish(folder, KIND, plain, write, rows)


def load_baseline(folder: Path, catalog: Catalog, schema: FeatureSchema) -> Policy:
    """The policy of a folder of segments, or of a trained folder.

    Raises:
        ArtefactError: missing, damaged, or made for another catalog or other features.
    """
    plain = verified(folder, *KINDS, KIND)
    if plain["kind"] != KIND:
        trained = TrainedFolder(folder)
        _require_same(folder, (trained.catalog.version, trained.features.version), catalog, schema)
        return trained.policy()
    try:
        made = msgspec.convert(plain, SegmentsManifest)
    except msgspec.ValidationError as error:
        raise ArtefactError(f"{folder} holds no segments: {reason_of(error)}", hint="run the backtest again") from error
    _require_same(folder, (made.catalog_version, made.schema_version), catalog, schema)
    return StaticSegments.load(folder / PREFERENCE, Segmentation(made.cuts), catalog.k)


def kept_segments(segments: StaticSegments) -> dict[str, Any]:
    """What a trained folder keeps of its baseline, for `Manifest.source`; empty where that would be too much.

    The folder alone then says what the baseline sends, wherever it is copied to.
    """
    packed = base64.b85encode(zlib.compress(segments.preference.tobytes(), 6)).decode("ascii")
    if len(packed) > _MOST_BYTES:
        return {}
    cuts = msgspec.to_builtins(segments.segmentation.cuts)
    return {SOURCE: {"cuts": cuts, "actions": segments.preference.shape[1], "preference": packed}}


def named_baseline(trained: TrainedFolder) -> Policy | None:
    """The segments that a trained folder keeps as its baseline, or None.

    Raises:
        ArtefactError: what it keeps cannot be read.
    """
    kept = trained.source.get(SOURCE)
    if not isinstance(kept, dict):
        return None
    try:
        segmentation = Segmentation(msgspec.convert(kept["cuts"], tuple[Cut, ...]))
        flat = np.frombuffer(zlib.decompress(base64.b85decode(kept["preference"])), dtype=np.float64)
        preference = flat.reshape(segmentation.segments, int(kept["actions"]))
    except (KeyError, ValueError, zlib.error, msgspec.ValidationError) as error:
        raise ArtefactError(
            f"{trained.path} keeps a baseline that cannot be read: {reason_of(error)}",
            hint="give one with prices.baseline=FOLDER, or say prices.allow_more_volume=true",
        ) from error
    return StaticSegments(segmentation, preference)


def _require_same(folder: Path, made: tuple[str, str], catalog: Catalog, schema: FeatureSchema) -> None:
    if made != (catalog.version, schema.version):
        raise ArtefactError(
            f"{folder} was made for another catalog or other features than the policy's",
            hint="a baseline decides about the same actions from the same features",
        )
