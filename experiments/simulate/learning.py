"""Learning in the loop: once a day, from decisions whose attribution window has closed, and from nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from engine.log.parquet import LogReader
from engine.log.training_rows import TrainingRows
from engine.protocols import Learner
from experiments.simulate.policies import Rounds, setting_of, trained
from experiments.simulate.run_spec import DayPolicy, SimulateConfig
from policies.horizon.config import HorizonConfig
from policies.horizon.panel import WholeLogs
from policies.parts.config import PartsConfig
from policies.peers.constant import UniformPolicy
from policies.registry import learner
from policies.trained import TrainedFolder, export_learner
from simulator.scenario import Scenario

VW: Final = "vw"
# Gives the whole joined log of one day as it is known at the start of another; None where nobody was decided for.
KnownLog = Callable[[int, int], Path | None]


@dataclass(frozen=True)
class Learning:
    """The learner of a run; what it has learnt lies in trained folders, one per day on which it learnt.

    Every day begins from the folder of an earlier one, so a run that was killed learns as one that was not.

    Attributes:
        config: how to learn.
        scenario: its calendar and window say what is known when.
        folder: folder of the parts.
        known: makes the log of a day.
    """

    config: SimulateConfig
    scenario: Scenario
    folder: Path
    known: KnownLog

    def policy(self, step: int) -> DayPolicy:
        """Who decides on a day, after learning from what has become known by its start.

        Raises:
            LearnError: learning failed.
            ArtefactError: what was learnt cannot be exported.
            StorageError: the disk refused.
        """
        if not self._at(step).exists():
            self._learn(step)
        last = self.last(step)
        if last is None and self.config.start is not None:
            last = Path(self.config.start)
        return DayPolicy(UniformPolicy(), "uniform") if last is None else trained(last, self.config)

    def last(self, step: int) -> Path | None:
        """The newest folder of this run up to a day."""
        return next((self._at(day) for day in range(step, -1, -1) if self._at(day).exists()), None)

    def forget(self, step: int) -> None:
        """Remove the folders before the newest one."""
        newest = self.last(step)
        for folder in self.folder.glob("policy-*"):
            if newest is not None and folder.name < newest.name:
                shutil.rmtree(folder)

    def _at(self, step: int) -> Path:
        return self.folder / f"policy-{step:05d}"

    def _learn(self, step: int) -> None:
        if self.config.policy == VW and self.config.learner.whole is not None:
            self._refit(step, self.config.learner.whole)
            return
        before = self.last(step)
        start = before or (Path(self.config.start) if self.config.start is not None else None)
        through = -1 if before is None else int(TrainedFolder(before).source["through"])
        until = self._known_through(step)
        if start is None and until + 1 < self.config.warm_up_days:
            return
        logs = [log for day in range(through + 1, until + 1) if (log := self.known(day, step)) is not None]
        rounds = Rounds(logs, self.config.metric)
        if not rounds.empty():
            one = self._fresh() if start is None else TrainedFolder(start).learner()
            one.learn(rounds)
            export_learner(
                one, self._at(step), source={"through": until}, rows=_learnt(logs, self.config.metric, start)
            )
        for log in logs:
            log.unlink()

    def _refit(self, step: int, whole: HorizonConfig | PartsConfig) -> None:
        """Policy iteration: every so often anew, from all decisions of the memory that are known by now."""
        before, until = self.last(step), self._known_through(step)
        days = self.scenario.step_days
        if until + 1 < self.config.warm_up_days:
            return
        if before is not None and (until - int(TrainedFolder(before).source["through"])) * days < whole.refit_days:
            return
        first = max(0, until + 1 - round(whole.memory_days / days))
        logs = [log for day in range(first, until + 1) if (log := self._kept(day, step)) is not None]
        for day in range(first):
            self._log(day).unlink(missing_ok=True)
        readers = [LogReader(log) for log in logs]
        known = readers[0].meta.rewards if readers else ()
        rounds = WholeLogs(readers, self.config.metric, whole.metrics(known))
        if readers and not rounds.empty():
            one = self._fresh() if self.config.start is None else TrainedFolder(Path(self.config.start)).learner()
            one.learn(rounds)
            start = None if self.config.start is None else Path(self.config.start)
            export_learner(
                one, self._at(step), source={"through": until}, rows=_learnt(logs, self.config.metric, start)
            )

    def _kept(self, day: int, step: int) -> Path | None:
        """The log of a day as it became known first: a run that was killed reads the same."""
        return self._log(day) if self._log(day).exists() else self.known(day, step)

    def _log(self, day: int) -> Path:
        return self.folder / f"known-{day:05d}.parquet"

    def _fresh(self) -> Learner:
        return learner(self.config.policy, setting_of(self.config, self.scenario))

    def _known_through(self, step: int) -> int:
        """The last day whose window has closed by the start of a day; -1 where there is none."""
        calendar, window = self.scenario.calendar, timedelta(days=self.scenario.spec.attribution_window_days)
        now = calendar.now(step)
        return next((day for day in range(step - 1, -1, -1) if calendar.now(day) + window <= now), -1)


def _learnt(logs: list[Path], metric: str, start: Path | None) -> TrainingRows | None:
    """The decisions behind a folder that began from another; None where that one keeps no record of its own."""
    rows = TrainingRows.of(Rounds(logs, metric))
    if start is None:
        return rows
    before = TrainedFolder(start).training_rows()
    return None if before is None else before | rows
