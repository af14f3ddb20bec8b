"""A trained folder of modular content: `model.vw` to learn on, tables to decide with, `manifest.json` for the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from engine.errors import ArtefactError
from engine.log.training_rows import TrainingRows
from engine.storage.artefact import manifest_of, publish
from policies.content.compiler import block_parity
from policies.content.learner import BlockLearner
from policies.content.names import slot_links
from policies.content.policy import BlockPolicy
from policies.content.tables import load_block_tables
from policies.vw import wall
from policies.vw.export import PARITY_LIMIT, told_of
from policies.vw.folder import MODEL, TABLES, CompiledManifest
from policies.vw.scratch import scratch
from policies.vw.training import LearnerState

KIND: Final = "tactful-vw-blocks"
FORMAT: Final = 1


class BlockManifest(CompiledManifest, frozen=True, kw_only=True):
    """What `manifest.json` says of a folder of modular content."""

    kind: str = KIND


def export_blocks(
    learner: BlockLearner,
    folder: Path,
    *,
    seed: int = 0,
    source: dict[str, Any] | None = None,
    rows: TrainingRows | None = None,
) -> BlockManifest:
    """Write what a learner has learnt as a trained folder; it appears whole or not at all.

    Raises:
        LearnError: nothing has been learnt.
        ArtefactError: the tables differ from VW's own predictions by more than 1e-5 x max(1, width of the reward
            range); then nothing is written.
        StorageError: the disk refused a write.
    """
    state, tables = learner.state, learner.tables()
    measured = parity_of(learner, seed)
    low, high = learner.reward_range
    limit = PARITY_LIMIT * max(1.0, high - low)
    if not measured <= limit:
        raise ArtefactError(f"the tables of blocks differ from Vowpal Wabbit by {measured:g}, allowed is {limit:g}")
    manifest = BlockManifest(format=FORMAT, **told_of(learner, measured, source))

    def write(part: Path) -> None:
        (part / MODEL).write_bytes(state.model)
        tables.save(part / TABLES)

    publish(Path(folder), KIND, msgspec.to_builtins(manifest), write, rows)
    return read_blocks(Path(folder))


def parity_of(learner: BlockLearner, seed: int = 0) -> float:
    """Largest difference between the tables and VW's own predictions, in reward units."""
    state = learner.state
    with scratch() as temporary:
        path = temporary / MODEL
        path.write_bytes(state.model)
        with wall.load(path, bits=learner.config.bit_precision) as model:
            return block_parity(
                model,
                learner.tables(),
                state.encoder,
                learner.catalog,
                scale=-state.unit,
                shift=state.centre,
                seed=seed,
            )


def read_blocks(folder: Path) -> BlockManifest:
    """The manifest of a trained folder; every hash has been verified.

    Raises:
        ArtefactError: missing, damaged, foreign, or written by a newer version.
    """
    return manifest_of(Path(folder), KIND, FORMAT, BlockManifest)


def load_blocks(folder: Path) -> BlockPolicy:
    """The policy of a trained folder, without Vowpal Wabbit.

    Raises:
        ArtefactError: missing, damaged, foreign, or its tables do not fit its catalog and encoder.
    """
    manifest = read_blocks(folder)
    return BlockPolicy(
        manifest.catalog,
        manifest.encoder,
        load_block_tables(Path(folder) / TABLES, manifest.catalog, manifest.encoder.d),
        manifest.exploration,
        manifest.rounds,
        slot_links(manifest.config, manifest.catalog),
        manifest.name,
        manifest.version,
    )


def resume_blocks(folder: Path) -> BlockLearner:
    """The learner of a trained folder, to learn on; exactly as in one go.

    Raises:
        ArtefactError: the folder is missing, damaged or foreign.
    """
    manifest = read_blocks(folder)
    return BlockLearner(
        manifest.catalog,
        manifest.features,
        manifest.metric,
        manifest.reward_range,
        manifest.config,
        manifest.exploration,
        LearnerState.kept(manifest, (Path(folder) / MODEL).read_bytes()),
    )
