"""Every decision of a log, also those that had no choice: what trajectories are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from engine.log.parquet import LogReader
from engine.log.selection import Side
from engine.log.structure import require_sound
from engine.records.rounds import RoundBlock
from policies.horizon.config import HorizonConfig


class WholeLogs:
    """The decisions of some logs, one log after the other, as often as they are asked for.

    Args:
        readers: of logs of the same catalog and features.
        metric: the money; rows of which it is not known yet stay, as steps of a trajectory.
        config: names further metrics; those that every log knows are read.
        side: one side of a split, or None for all rows.
    """

    def __init__(
        self, readers: Sequence[LogReader], metric: str, config: HorizonConfig, side: Side | None = None
    ) -> None:
        self._readers, self._side, self._sound = tuple(readers), side, False
        asked = (metric, config.clicked, config.money, *config.lost)
        known = [name for name in asked if all(name in reader.meta.rewards for reader in self._readers)]
        self._rewards = tuple(dict.fromkeys((metric, *known)))

    def __iter__(self) -> Iterator[RoundBlock]:
        """The decisions.

        Raises:
            DataError: repeated decision ids, over all logs, or rows that contradict themselves.
        """
        if not self._sound:
            require_sound(*self._readers)
            self._sound = True
        for reader in self._readers:
            for block in reader.blocks(rewards=self._rewards):
                if self._side is None:
                    yield block
                    continue
                kept = self._side.keep(block)
                yield block if kept.all() else block.take(np.flatnonzero(kept))

    def empty(self) -> bool:
        """Whether there is nothing to learn from."""
        return not any(block.usable.any() for block in self)
