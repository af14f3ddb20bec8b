"""Policies over assemblies: compiled (encoder, tables of blocks, exploration in stages), and uniform.

Neither ever lists the assemblies.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from engine.catalog import Catalog
from engine.content.drawing import cells_of, placed, uniform_actions
from engine.content.eligibility import BlockEligibility, catalog_groups, modular_of
from engine.content.groups import SlotGroup
from engine.encoder import Encoder
from engine.errors import ParameterError
from engine.features import ContextBatch
from engine.types import BoolArray, CodeArray, FloatArray, IntArray
from policies.content import kernels
from policies.content.names import slot_links
from policies.content.stages import Stages, stages
from policies.content.tables import BlockTables
from policies.exploring.bounds import TOLERANCE
from policies.exploring.config import ExplorationConfig
from policies.exploring.exploration import uniform
from policies.vw.folder import TABLES, CompiledManifest

BATCH_ROWS = 2048


@dataclass(frozen=True)
class BlockPolicy:
    """A policy of arrays alone over a modular catalog (`engine.content.drawing.BlockChooser`).

    Attributes:
        catalog: modular.
        encoder: the encoder of the context.
        tables: scores.
        exploration: without floor and votes, see `policies.content.stages`.
        rounds: rounds that were learnt from.
        links: pairs of slots whose products the tables hold.
        name / version: see `policies.vw.scoring.compiled.CompiledPolicy`.
        fast: use the numba kernel where numba is installed; actions are the same but for rounding at the edge of a
            draw, propensities to 1e-12.
    """

    catalog: Catalog
    encoder: Encoder
    tables: BlockTables
    exploration: ExplorationConfig
    rounds: int
    links: tuple[tuple[int, int], ...] = ()
    name: str = "vw_blocks"
    version: str = ""
    fast: bool = True

    def __post_init__(self) -> None:
        require_staged(self.exploration)

    @cached_property
    def groups(self) -> tuple[SlotGroup, ...]:
        """Groups of slots that the scores and the eligible sets factorise over."""
        return catalog_groups(self.catalog, self.links)

    @property
    def fused(self) -> bool:
        """Whether `choose_blocks` runs in one kernel."""
        return self.fast and kernels.AVAILABLE

    def scores(self, context: ContextBatch) -> FloatArray:
        """(n, k) predicted rewards of every action; of a large catalog for few rows only.

        Raises:
            DataError: the context has another schema.
        """
        hold, cells, blocks = self.tables.parts(self.encoder.encode(context))
        cell, members = cells_of(self.catalog, self.groups, np.arange(self.catalog.k, dtype=np.int32))
        channel = np.maximum(cell - 1, 0) // self.catalog.shape[1]
        total = cells.reshape(context.n, -1)[:, np.maximum(cell - 1, 0)]
        reach = np.zeros_like(total)
        for group, member in zip(self.groups, members, strict=True):
            reach += self.tables.members(blocks, group)[:, channel, member]
        out: FloatArray = total + reach
        out[:, 0] = hold
        return out

    def choose_blocks(
        self, context: ContextBatch, eligibility: BlockEligibility, uniform: FloatArray
    ) -> tuple[CodeArray, FloatArray]:
        """Draw an action per row.

        Args:
            uniform: (n,) in [0, 1), one per decision.

        Returns:
            action (n,) int32 and its joint propensity (n,) in (0, 1].

        Raises:
            ParameterError: row counts differ, the eligibility is not of this catalog, or a row breaks the ceiling.
            DataError: the context has another schema.
        """
        self._require(context, eligibility)
        if len(uniform) != context.n:
            raise ParameterError("uniform", self.name, allowed=f"of {context.n} rows", got=len(uniform))
        if self.fused:
            x = self.encoder.encode(context)
            cell, members, propensity = kernels.choose(
                x, self.tables, self.groups, eligibility, self.exploration, self.rounds, uniform
            )
            return placed(self.catalog, self.groups, cell, members), propensity
        action, propensity = np.zeros(context.n, dtype=np.int32), np.ones(context.n)
        for start in range(0, context.n, BATCH_ROWS):
            rows = slice(start, start + BATCH_ROWS)
            found = self.stages(context.take(rows), eligibility.take(rows))
            cell, members = found.draw(uniform[rows])
            propensity[rows] = found.probability(cell, members)
            action[rows] = placed(self.catalog, self.groups, cell, members)
        return action, propensity

    def block_probability(self, context: ContextBatch, eligibility: BlockEligibility, action: CodeArray) -> FloatArray:
        """(n,) joint probability of a given action in each row; 0 where it is not eligible.

        Raises:
            ParameterError: row counts differ, or the eligibility is not of this catalog.
            DataError: the context has another schema.
        """
        self._require(context, eligibility)
        out = np.zeros(context.n)
        for start in range(0, context.n, BATCH_ROWS):
            rows = slice(start, start + BATCH_ROWS)
            found = self.stages(context.take(rows), eligibility.take(rows))
            out[rows] = found.probability(*cells_of(self.catalog, self.groups, action[rows]))
        return np.where(eligibility.contains(action), out, 0.0)

    def stages(self, context: ContextBatch, eligibility: BlockEligibility) -> Stages:
        """The joint distributions of a batch of rows, in stages."""
        x = self.encoder.encode(context)
        found = stages(self.tables, self.groups, x, eligibility, self.exploration, self.rounds)
        ceiling = self.exploration.ceiling
        if ceiling is not None:
            exploring = found.spread * (1.0 - found.staged(found.best_cell, found.best()))
            if (exploring > ceiling + TOLERANCE).any():
                raise ParameterError(
                    "exploring share", "exploration", allowed=f"at most {ceiling:g}", got=exploring.max()
                )
        return found

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """(n, k) probabilities, for eligible sets that are made of blocks; of a large catalog for few rows only.

        Raises:
            ParameterError: another shape, or a set that is no product of blocks.
        """
        factors = factored(self.catalog, eligible)
        found = self.stages(context, factors)
        cell, members = cells_of(self.catalog, self.groups, np.arange(self.catalog.k, dtype=np.int32))
        out = np.zeros(eligible.shape)
        for row in range(context.n):
            one = _RowDistribution(found, row)
            out[row] = np.where(eligible[row], one.probability(cell, members), 0.0)
        return out

    def _require(self, context: ContextBatch, eligibility: BlockEligibility) -> None:
        if eligibility.n != context.n or eligibility.catalog.version != self.catalog.version:
            raise ParameterError(
                "eligibility",
                self.name,
                allowed=f"of {context.n} rows and the catalog {self.catalog.version}",
                got=(eligibility.n, eligibility.catalog.version),
            )


class BlockManifest(CompiledManifest, frozen=True, kw_only=True):
    """What `manifest.json` says of a folder of modular content."""

    KIND: ClassVar[str] = "tactful-vw-blocks"

    def read_policy(self, folder: Path) -> BlockPolicy:
        """The policy, read without Vowpal Wabbit.

        Raises:
            ArtefactError: tables that do not fit the catalog and the encoder.
        """
        return BlockPolicy(
            self.catalog,
            self.encoder,
            BlockTables.load(folder / TABLES, self.catalog, self.encoder.d),
            self.exploration,
            self.rounds,
            slot_links(self.config, self.catalog),
            self.name,
            self.version,
        )


def require_staged(exploration: ExplorationConfig) -> None:
    """Refuse what has no form in stages.

    Raises:
        ParameterError: a floor on the joint propensity, or votes of an ensemble.
    """
    if exploration.floor > 0.0:
        raise ParameterError(
            "floor",
            "exploration of modular content",
            allowed="0: among 41,000 assemblies a floor leaves a handful",
            got=exploration.floor,
            hint="take exploration=modular; `ceiling` holds as always",
        )
    if exploration.votes:
        raise ParameterError(
            "kind",
            "exploration of modular content",
            allowed="greedy, epsilon_greedy, softmax or squarecb",
            got=exploration.kind,
        )


def factored(catalog: Catalog, eligible: BoolArray) -> BlockEligibility:
    """The factors of eligible sets that are written out.

    Raises:
        ParameterError: another shape, hold missing, or a set that is no product of blocks.
    """
    modular, (channels, hours, arms) = modular_of(catalog), catalog.shape
    if eligible.ndim != 2 or eligible.shape[1] != catalog.k or not eligible[:, 0].all():
        raise ParameterError("eligible", "modular content", allowed=f"(n, {catalog.k}) with hold", got=eligible.shape)
    cells = eligible[:, 1:].reshape(len(eligible), channels, hours, arms)
    by_arm: BoolArray = np.asarray(cells.any(axis=2))
    positions = modular.positions(np.arange(arms))
    columns: list[IntArray] = [
        np.flatnonzero(positions[:, slot] == at) for slot, size in enumerate(modular.sizes) for at in range(size)
    ]
    by_block = np.stack([by_arm[:, :, own].any(axis=2) for own in columns], axis=2)
    found = BlockEligibility(catalog, by_block, np.asarray(cells.any(axis=3)))
    if not np.array_equal(found.dense(), eligible):
        raise ParameterError(
            "eligible",
            "modular content",
            allowed="a product of blocks, channels and hours, less what the catalog forbids",
            got="another set",
        )
    return found


class _RowDistribution:
    """One row's distribution, asked for many actions."""

    def __init__(self, found: Stages, row: int) -> None:
        self._found, self._row = found, row

    def probability(self, cell: IntArray, members: list[IntArray]) -> FloatArray:
        """(m,) probabilities of m actions."""
        found, row = self._found, self._row
        channel, send = found.channel(cell), cell != 0
        staged: FloatArray = (found.cells[row] / np.cumsum(found.cells[row])[-1])[cell]
        same = cell == found.best_cell[row]
        at = int(found.channel(found.best_cell[row : row + 1])[0])
        for weight, best, member in zip(found.members, found.best_members, members, strict=True):
            total = np.cumsum(weight[row], axis=1)[:, -1:]
            share = weight[row] / np.where(total > 0.0, total, 1.0)
            staged = staged * np.where(send, share[channel, member], 1.0)
            same &= (member == best[row, at]) | ~send
        sure = 1.0 - found.spread[row]
        return np.asarray(np.where(same, sure, 0.0) + found.spread[row] * staged)


@dataclass(frozen=True)
class UniformBlocks:
    """Every eligible action with the same probability, and none of them listed."""

    name: str = "uniform"

    def choose_blocks(
        self,
        context: ContextBatch,  # noqa: ARG002 - as of every policy
        eligibility: BlockEligibility,
        uniform: FloatArray,
    ) -> tuple[CodeArray, FloatArray]:
        """Action (n,) and its propensity (n,)."""
        return uniform_actions(eligibility, uniform), 1.0 / eligibility.counts()

    def block_probability(
        self,
        context: ContextBatch,  # noqa: ARG002 - as of every policy
        eligibility: BlockEligibility,
        action: CodeArray,
    ) -> FloatArray:
        """(n,) 1 / the number of eligible actions; 0 where the action is not eligible."""
        return np.where(eligibility.contains(action), 1.0 / eligibility.counts(), 0.0)

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:  # noqa: ARG002 - protocol
        """Give the probabilities of the actions, (n, k)."""
        return uniform(eligible)
