"""The manifest of a folder of parts: a table and a model for every part, and what was chosen when they were learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np

from engine.errors import ArtefactError
from policies.parts.tables import Loss, PartTables
from policies.parts.waiting import Waiting
from policies.vw.folder import PolicyManifest
from policies.vw.scoring.compiled import CompiledPolicy
from policies.vw.scoring.tables import ScoreTables


class PartsManifest(PolicyManifest, frozen=True, kw_only=True):
    """What `manifest.json` says of a folder of parts.

    Attributes:
        tables: names of the parts that have a table.
        losses: metric -> (C,) USD that the event costs.
        parts: what was chosen, and why (`policies.parts.learner.PartsState.summary`).
        waiting: what a send so soon after the last one is charged (`policies.parts.waiting.Waiting`); null: nothing.
    """

    KIND: ClassVar[str] = "tactful-parts-policy"

    tables: tuple[str, ...]
    losses: dict[str, tuple[float, ...]]
    parts: dict[str, Any]
    waiting: dict[str, Any] | None = None

    @property
    def table_files(self) -> tuple[str, ...]:
        """Names of the files of score tables, one per part."""
        return tuple(f"{name}.npz" for name in self.tables)

    def read_policy(self, folder: Path) -> CompiledPolicy:
        """The compiled policy.

        Raises:
            ArtefactError: tables that do not fit the catalog and the encoder, or that are missing.
        """
        found = {
            name: ScoreTables.load(folder / file, self.catalog, self.encoder.d)
            for name, file in zip(self.tables, self.table_files, strict=True)
        }
        if "money" not in found or any(f"loss_{name}" not in found for name in self.losses):
            raise ArtefactError(f"{folder} lacks tables that its manifest names", hint="train again")
        losses = tuple(
            Loss(name, found[f"loss_{name}"], np.array(price)) for name, price in sorted(self.losses.items())
        )
        tables = PartTables(
            found.get("chance"), found.get("worth"), found["money"], losses, Waiting.read(self.waiting, self.encoder.d)
        )
        return CompiledPolicy(
            self.catalog, self.encoder, tables, self.exploration, self.rounds, self.name, self.version
        )

    def read_learner(self, folder: Path) -> NoReturn:
        """Refuse to learn on: every part is a fit to all rows, and the folder does not keep the rows.

        Raises:
            ArtefactError: always.
        """
        raise ArtefactError(
            f"{folder} holds parts, which are fitted to all rows at once and cannot go on from a folder",
            hint="train anew on all the logs that it is to know: give --log once for each, without --from",
        )
