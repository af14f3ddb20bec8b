"""What a backtest judges, made before anything is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.log.parquet import LogReader
from engine.log.selection import Side
from engine.ope.estimate import Skipped
from engine.ope.target import Target
from engine.protocols import Policy
from experiments.judge.launch.learned_rule import Grown
from policies.peers.segmentation import Segmentation
from policies.peers.segments import StaticSegments
from policies.registry import Learned
from policies.trained import told


@dataclass(frozen=True)
class Prepared:
    """What a backtest judges, learnt and tuned on the training side alone.

    Attributes:
        reader: the log.
        metric: what the verdict is about.
        learner: the trained bandit.
        segments: the tuned segments.
        targets: everything to be judged, by name.
        train: the side of the log that was learnt from.
        judge: the side of the log that nothing was learnt from.
        groups: cuts by single features, to say who is treated differently.
        missing: peers that this log cannot make, with the reason.
        source: what the training side never showed, for the manifest.
        practice: the user's own practice; None where the baseline has a name.
        columns: stored columns that it reads.
        tree: the learned policy as a rule; None of a policy without scores.
    """

    reader: LogReader
    metric: str
    learner: Learned
    segments: StaticSegments
    targets: dict[str, Target]
    train: Side
    judge: Side
    groups: Segmentation
    source: dict[str, Any]
    missing: tuple[Skipped, ...] = ()
    practice: Target | None = None
    columns: tuple[str, ...] = ()
    tree: Grown | None = None

    @property
    def policy(self) -> Policy:
        """The learned policy, as its folder will serve it."""
        return told(self.learner.policy(), self.source)
