"""Plays the cells that are missing: world by world, one policy after the other, in one process or in several."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from engine.errors import ParameterError
from engine.guardrails.layer import Guardrails
from experiments.season.cells import Cell, CellGroup, CellNote, cell_key, is_done, write_cell
from experiments.season.config import ExperimentConfig
from experiments.season.episode import Played, play_season
from experiments.season.policies import SharedLearning, make
from experiments.season.variants import restriction, varied
from simulator.oracles.bound import upper_bound
from simulator.oracles.silence import value_of_silence
from simulator.processes import worker_processes
from simulator.scenario import Scenario
from simulator.truth import Planner
from simulator.world.world import World

NEVER: Final = "never"


@dataclass(frozen=True)
class GroupRun:
    """One group of an experiment.

    Attributes:
        config: configuration of the experiment.
        group: scenario, variant, seed.
        folder: folder of the cells.
    """

    config: ExperimentConfig
    group: CellGroup
    folder: Path

    def missing(self) -> list[str]:
        """The policies whose cells are not there yet, the baseline first.

        Raises:
            StorageError: a cell of another configuration is in the way.
        """
        return [
            name
            for name in self.config.all_policies
            if not is_done(self.group.file(self.folder, name), cell_key(self.config, self.group, name))
        ]

    def run(self) -> Iterator[str]:
        """Run what is missing; yields the policy of each cell when its file is there.

        Raises:
            ConfigError: a policy that the scenario cannot have.
            LearnError: the slice gave nothing to learn from.
            StorageError: the disk refused.
        """
        for name in self.missing():
            played = self.play(name)
            note = CellNote(
                key=cell_key(self.config, self.group, name),
                counts=played.counts,
                money=played.money,
                bound=self._bound(played) if name == self.config.baseline else None,
                silence=self._silence(played) if name == NEVER else None,
            )
            write_cell(self.group.file(self.folder, name), Cell(played, note))
            yield name

    def play(self, name: str) -> Played:
        """Learn and play one policy."""
        world = self._world(self.config.contacts_of(name))
        subject = make(name, self.shared)
        world.reset()
        actor = subject.for_batch(world) if isinstance(subject, Planner) else subject
        world.reset()
        return play_season(world, actor, self.shared.steps, self.config.prefixes, self.shared.restriction)

    @cached_property
    def shared(self) -> SharedLearning:
        """What the policies share."""
        scenario = self._scenario
        variant = self.config.variants[self.group.variant]
        return SharedLearning(
            self.config,
            scenario,
            self.group.seed,
            restriction(variant, scenario.catalog, scenario.features),
            Guardrails(scenario.pack, scenario.catalog, scenario.packages, scenario.features),
        )

    @cached_property
    def _scenario(self) -> Scenario:
        return varied(self.group.scenario, self.config.variants[self.group.variant])

    @cached_property
    def _everybody(self) -> World:
        return World(self._scenario, self.config.contacts, self.group.seed, guardrails=self.shared.guardrails)

    def _world(self, contacts: int) -> World:
        if contacts == self.config.contacts:
            return self._everybody
        return World(self._scenario, contacts, self.group.seed, guardrails=self.shared.guardrails)

    def _bound(self, baseline: Played) -> float | None:
        """What nobody can pass minus the baseline, over some of the contacts."""
        contacts = min(self.config.oracle.bound_contacts, self.config.contacts)
        if contacts < 2:
            return None
        try:
            found = upper_bound(self._scenario, contacts=contacts, steps=self.shared.steps, seed=self.group.seed)
        except ParameterError:
            return None
        return found.mean - float(baseline.total[:contacts].mean())

    def _silence(self, never: Played) -> tuple[float, float] | None:
        """Mean and standard error of the value of never sending minus its closed form."""
        world = self._world(len(never.total))
        world.reset()
        try:
            off = never.total - value_of_silence(world, self.shared.steps)
        except ParameterError:
            return None
        return float(off.mean()), float(off.std(ddof=1) / np.sqrt(len(off)))


# One thread of linear algebra per process: more would only get in each other's way.
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Between two looks at which cells are there, seconds.
_LOOK_S: Final = 1.0


def played(config: ExperimentConfig, groups: Sequence[CellGroup], folder: Path) -> Iterator[int]:
    """Run the groups; yields how many further cells have their files.

    Args:
        config: `workers` says in how many processes; one works in this one.
        groups: with missing cells.
        folder: folder of the cells.

    Raises:
        TactfulError: of the first group that failed.
        StorageError: a worker died.
    """
    runs = [GroupRun(config, group, folder) for group in groups]
    count = min(config.workers, len(runs))
    if count <= 1:
        for run in runs:
            for _ in run.run():
                yield 1
        return
    for name in _THREADS:
        os.environ.setdefault(name, "1")
    missing = {run.group.file(folder, policy) for run in runs for policy in run.missing()}
    with worker_processes(count, hint="run again, it goes on after the cells it has") as pool:
        waiting = {pool.submit(_whole, run) for run in runs}
        while waiting:
            over, waiting = wait(waiting, _LOOK_S, FIRST_COMPLETED)
            for future in over:
                future.result()
            # A cell's file appears whole: that it is there says that it is done.
            there = {path for path in missing if path.exists()}
            missing -= there
            yield len(there)


def _whole(run: GroupRun) -> None:
    for _ in run.run():
        pass
