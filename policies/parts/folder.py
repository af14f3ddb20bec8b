"""The manifest of a folder of parts: a table and a model for every part, and what was chosen when they were learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn

import numpy as np

from engine.errors import ArtefactError
from policies.parts.frequency.waiting import Waiting
from policies.parts.tables import Loss, PartTables
from policies.peers.segmentation import Cut, Segmentation
from policies.peers.segments import StaticSegments
from policies.vw.folder import PolicyManifest
from policies.vw.scoring.compiled import CompiledPolicy
from policies.vw.scoring.tables import ScoreTables
from policies.wrappers.safe import SafePolicy

# The segments that a safe policy leaves only where the bags agree.
PRACTICE: Final = "practice.npz"


class PartsManifest(PolicyManifest, frozen=True, kw_only=True):
    """What `manifest.json` says of a folder of parts.

    Attributes:
        tables: names of the parts that have a table.
        losses: metric -> (C,) USD that the event costs.
        stage: the metric that stands in between; "" where the money itself was modelled.
        fees: name -> (C, K) USD a send that the money was lowered by: the cost of sending, the charge of discounts.
        parts: what was chosen, and why (`policies.parts.learner.PartsState.summary`).
        bags: bags whose tables lie beside those of all rows.
        practice: the cuts of the segments that are left only where the bags agree; null without safety.
        shown: whether leaving them was shown to pay; else they stay everywhere.
        waiting: what a send so soon after the last one is charged (`policies.parts.frequency.waiting`); null: nothing.
    """

    KIND: ClassVar[str] = "tactful-parts-policy"

    tables: tuple[str, ...]
    losses: dict[str, tuple[float, ...]]
    stage: str
    fees: dict[str, tuple[tuple[float, ...], ...]]
    parts: dict[str, Any]
    bags: int = 0
    practice: tuple[Cut, ...] | None = None
    shown: bool = True
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
        drawn = [_bag(found, bag) for bag in range(self.bags)]
        if "money" not in found or any(f"loss_{name}" not in found for name in self.losses):
            raise ArtefactError(f"{folder} lacks tables that its manifest names", hint="train again")
        losses = tuple(
            Loss(name, found[f"loss_{name}"], np.array(price)) for name, price in sorted(self.losses.items())
        )
        fees = {name: np.array(fee) for name, fee in self.fees.items()}
        parts = (found.get("chance"), found.get("worth"), found["money"])
        waiting = Waiting.read(self.waiting, self.encoder.d)
        tables = PartTables(*parts, losses, found.get("held"), self.stage, fees, waiting)
        plain = (self.catalog, self.encoder, tables, self.exploration, self.rounds, self.name, self.version)
        if self.practice is None or self.config.parts is None:
            return CompiledPolicy(*plain)
        practice = StaticSegments.load(folder / PRACTICE, Segmentation(self.practice), self.catalog.k)
        bags = tuple(replace(tables, losses=(), **own) for own in drawn)
        confidence = self.config.parts.confidence
        return SafePolicy(*plain, bags=bags, practice=practice, confidence=confidence, shown=self.shown)

    def read_learner(self, folder: Path) -> NoReturn:
        """Refuse to learn on: every part is a fit to all rows, and the folder does not keep the rows.

        Raises:
            ArtefactError: always.
        """
        raise ArtefactError(
            f"{folder} holds parts, which are fitted to all rows at once and cannot go on from a folder",
            hint="train anew on all the logs that it is to know: give --log once for each, without --from",
        )


def stored_bags(bags: Sequence[PartTables], tables: PartTables) -> dict[str, ScoreTables]:
    """The tables of the bags by the names of their files, without those that are the same as of all rows."""
    common = tables.stored()
    return {
        f"bag{bag}_{name}": own
        for bag, parts in enumerate(bags)
        for name, own in parts.stored().items()
        if not _same(own, common[name])
    }


def _same(one: ScoreTables, other: ScoreTables) -> bool:
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(ScoreTables))


def _bag(found: dict[str, ScoreTables], bag: int) -> dict[str, Any]:
    head = f"bag{bag}_"
    return {name.removeprefix(head): own for name, own in found.items() if name.startswith(head)}
