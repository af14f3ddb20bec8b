"""Configuration of `tactful ablate`."""

from __future__ import annotations

import msgspec

from engine.ope.settings import EvaluationSettings
from policies.exploring.config import ExplorationConfig
from policies.peers.segments import SegmentConfig
from policies.vw.arguments import VwConfig


class AblateConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tactful ablate`.

    Attributes:
        estimator: The estimator of every lift.
        seed: Seed of the split by contact.
        frequency_groups: signal groups that say how often a contact was written to; features of these names count too.
        exploration: The exploration of every policy that is judged.
    """

    evaluation: EvaluationSettings
    model: VwConfig
    learner: VwConfig
    exploration: ExplorationConfig
    segments: SegmentConfig
    estimator: str = "dr"
    seed: int = 0
    frequency_groups: tuple[str, ...] = ("fatigue", "frequency", "pressure", "contact_pressure")
