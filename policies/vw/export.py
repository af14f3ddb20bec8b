"""A trained folder: `model.vw` to learn on, tables to score with, `manifest.json` with everything else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from engine.errors import ArtefactError
from engine.log.training_rows import TrainingRows
from engine.storage.artefact import publish
from policies.content.learner import BlockLearner
from policies.horizon.learner import HorizonLearner
from policies.vw import wall
from policies.vw.arguments import VwConfig, model_layout
from policies.vw.compiler import parity, vote_parity
from policies.vw.folder import FORMAT, KIND, MODEL, Manifest, read_manifest, table_files
from policies.vw.learner import VwLearner
from policies.vw.responses import ResponseModel, notes_of
from policies.vw.scratch import scratch
from policies.vw.tables import ScoreTables
from policies.vw.training import LearnerState

PARITY_LIMIT: Final = 1e-5


def export_policy(
    learner: VwLearner,
    folder: Path,
    *,
    seed: int = 0,
    source: dict[str, Any] | None = None,
    responses: Sequence[ResponseModel] = (),
    rows: TrainingRows | None = None,
) -> Manifest:
    """Write what a learner has learnt as a trained folder; it appears whole or not at all.

    Args:
        folder: final name; a trained folder under it is replaced on success.
        seed: of the random contexts of the parity check.
        source: plain data about the training log, kept in the manifest.
        responses: models of p_respond and p_unsub to keep beside the policy.
        rows: decisions that were learnt from, kept beside the policy.

    Raises:
        LearnError: nothing has been learnt.
        ArtefactError: the tables differ from VW's own predictions by more than 1e-5 x max(1, width of the reward
            range), or an ensemble's votes from VW's by more than 1e-5; then nothing is written. VW computes in
            float32, so its rounding grows with the rewards.
        StorageError: the disk refused a write.
    """
    state = learner.state
    members = learner.members()
    measured = _parity(learner, members, seed)
    low, high = learner.reward_range
    limit = PARITY_LIMIT * (max(1.0, high - low) if len(members) == 1 else 1.0)
    if not measured <= limit:
        raise ArtefactError(
            f"the compiled scores differ from Vowpal Wabbit's by {measured:.3g}, allowed is {limit:.3g}",
            hint="weights this large point to a diverged model: lower learning_rate",
        )
    manifest = Manifest(format=FORMAT, responses=notes_of(responses), **told_of(learner, measured, source))

    def write(part: Path) -> None:
        (part / MODEL).write_bytes(state.model)
        for name, tables in zip(table_files(learner.config), members, strict=True):
            tables.save(part / name)
        for response in responses:
            response.tables.save(part / response.note.file)

    publish(Path(folder), KIND, msgspec.to_builtins(manifest), write, rows)
    return read_manifest(Path(folder))


def told_of(learner: VwLearner | BlockLearner, parity_found: float, source: dict[str, Any] | None) -> dict[str, Any]:
    """What the manifest of a folder with tables says of its learner (`policies.vw.folder.CompiledManifest`)."""
    state = learner.state
    return {
        "catalog": learner.catalog,
        "features": learner.schema,
        "encoder": state.encoder,
        "metric": learner.metric,
        "reward_range": learner.reward_range,
        "config": learner.config,
        "exploration": learner.exploration,
        "rounds": state.rounds,
        "eligible_sum": state.eligible_sum,
        "skipped": state.skipped,
        "centre": state.centre,
        "unit": state.unit,
        "parity": parity_found,
        "name": learner.policy_name,
        "made_with": {"vowpalwabbit": wall.VERSION, "numpy": np.__version__},
        "source": source or {},
    }


def resume(folder: Path) -> VwLearner:
    """The learner of a trained folder, to learn on. Exact for mtr and ips; dr does not keep its estimates of reward.

    Raises:
        ArtefactError: the folder is missing, damaged or foreign.
    """
    manifest = read_manifest(folder)
    state = LearnerState.kept(manifest, (Path(folder) / MODEL).read_bytes())
    made = VwLearner if manifest.config.horizon is None else HorizonLearner
    return made(
        manifest.catalog,
        manifest.features,
        manifest.metric,
        manifest.reward_range,
        manifest.config,
        manifest.exploration,
        state,
    )


def _parity(learner: VwLearner, members: tuple[ScoreTables, ...], seed: int) -> float:
    config: VwConfig = learner.config
    state = learner.state
    with scratch() as temporary:
        path = temporary / MODEL
        path.write_bytes(state.model)
        with wall.load(path, bits=config.bit_precision, width=model_layout(config)[0]) as model:
            if config.ensemble is not None:
                share = config.ensemble.served_share
                return vote_parity(
                    model, members, state.encoder, learner.catalog, share=share, shift=state.centre, seed=seed
                )
            return parity(
                model, members[0], state.encoder, learner.catalog, scale=-state.unit, shift=state.centre, seed=seed
            )
