"""A target that is asked once per block, however many readers of one pass need its answer."""

from __future__ import annotations

from engine.ope.target import Target, TargetBlock
from engine.records.rounds import RoundBlock


class Remembered:
    """Keeps the answer to the last block, by identity: another block is another question.

    Args:
        target: whose answers are kept.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._block: RoundBlock | None = None
        self._answer: TargetBlock | None = None

    @property
    def name(self) -> str:
        return self._target.name

    @property
    def knows_all(self) -> bool:
        return self._target.knows_all

    def probabilities(self, rounds: RoundBlock) -> TargetBlock:
        """The target's answer."""
        if self._answer is None or self._block is not rounds:
            self._answer, self._block = self._target.probabilities(rounds), rounds
        return self._answer
