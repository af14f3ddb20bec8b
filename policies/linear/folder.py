"""The trained folder of a linear learner: its sums, and a manifest with everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.encoder import Encoder
from engine.errors import ArtefactError
from engine.features import FeatureSchema
from engine.log.training_rows import TrainingRows
from engine.storage.artefact import manifest_of, publish
from policies.linear.ridge import LinearLearner, LinearState
from policies.peers.linear_thompson import LinearThompson, LinearThompsonLearner
from policies.peers.linucb import LinUcb, LinUcbLearner

KIND: Final = "tactful-linear-policy"
FORMAT: Final = 1
SUMS: Final = ("gram", "moment")


class LinearManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What `manifest.json` says of the folder.

    Attributes:
        format: of this manifest.
        policy: the name in the registry.
        catalog / features / encoder / metric / reward_range: that it was trained with.
        width / relative / ridge: see `policies.linear.ridge.LinearLearner`.
        centre / unit / rounds: see `policies.linear.ridge.LinearState`.
        source: about the training log.
        version: of the folder.
    """

    format: int
    policy: Literal["linucb", "lin_ts"]
    catalog: Catalog
    features: FeatureSchema
    encoder: Encoder
    metric: str
    reward_range: tuple[float, float]
    width: float
    relative: bool
    ridge: float
    centre: float
    unit: float
    rounds: int
    source: dict[str, Any] = {}
    version: str = ""

    @property
    def name(self) -> str:
        """Of the policy."""
        return LinUcb.name if self.policy == "linucb" else LinearThompson.name


def export_linear(
    learner: LinearLearner, folder: Path, *, source: dict[str, Any] | None = None, rows: TrainingRows | None = None
) -> str:
    """Write what a linear learner has learnt; the folder appears whole or not at all.

    Returns:
        The version of the folder.

    Raises:
        LearnError: nothing has been learnt.
        StorageError: the disk refused a write.
    """
    state, sums = learner.state, learner.sums
    manifest = LinearManifest(
        format=FORMAT,
        policy="linucb" if isinstance(learner, LinUcbLearner) else "lin_ts",
        catalog=sums.catalog,
        features=sums.schema,
        encoder=state.encoder,
        metric=sums.metric,
        reward_range=sums.reward_range,
        width=learner.width,
        relative=learner.relative,
        ridge=sums.ridge,
        centre=state.centre,
        unit=state.unit,
        rounds=state.rounds,
        source=source or {},
    )

    def write(part: Path) -> None:
        for name in SUMS:
            np.save(part / f"{name}.npy", getattr(state, name), allow_pickle=False)

    return publish(Path(folder), KIND, msgspec.to_builtins(manifest), write, rows)


def read_linear(folder: Path) -> LinearManifest:
    """The manifest of a linear folder; every hash has been verified.

    Raises:
        ArtefactError: the folder is missing, damaged, foreign, or of another format.
    """
    return manifest_of(Path(folder), KIND, FORMAT, LinearManifest)


def resume_linear(folder: Path) -> LinearLearner:
    """The learner of a linear folder, to learn on; it equals one that learnt everything in one go.

    Raises:
        ArtefactError: the folder is missing, damaged, foreign, or its sums do not fit its encoder and catalog.
    """
    manifest = read_linear(folder)
    k, size = manifest.catalog.k, manifest.encoder.d + 1
    gram, moment = (np.load(Path(folder) / f"{name}.npy", allow_pickle=False) for name in SUMS)
    if gram.shape != (k, size, size) or moment.shape != (k, size):
        raise ArtefactError(f"{folder} has sums of another size than its catalog and encoder", hint="train again")
    state = LinearState(manifest.encoder, gram, moment, manifest.centre, manifest.unit, manifest.rounds)
    of = (manifest.catalog, manifest.features, manifest.metric, manifest.reward_range)
    width, ridge, relative = manifest.width, manifest.ridge, manifest.relative
    if manifest.policy == "linucb":
        return LinUcbLearner(*of, alpha=width, ridge=ridge, relative=relative, state=state)
    return LinearThompsonLearner(*of, v=width, ridge=ridge, relative=relative, state=state)
