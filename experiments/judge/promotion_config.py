"""Configuration of `tactful promote`."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from engine.audit.rule import AuditRule
from engine.errors import ParameterError
from engine.ope.metrics.gate import Rule
from engine.ope.settings import EvaluationSettings
from policies.vw.arguments import VwConfig

SENDS: Final = "sends"
# Metrics of which more is worse, judged wherever a log has them.
LOST: Final = ("unsubscribe", "unsubscribes", "unsubscribed")
# The same, but too rare for most logs: a log that cannot judge them says so and does not block.
RARE: Final = ("complaint", "complaints", "complained", "bounce", "bounces", "bounced")


class PromoteConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tactful promote`.

    Attributes:
        estimator: that the gate rests on, fixed before any result is seen.
        error: one-sided, of each demand, in (0, 0.5).
        rule: what is asked of the primary metric: better, not_worse or not_shown_worse.
        margin: of the primary metric.
        guardrail_rule / guardrail_margin: of the guardrail metrics.
        sends_margin: of the sends per decision.
        margins: other margins by metric.
        relative: whether margins are shares of the live version's value; else they are in the metric's unit.
        guarded: metrics of which more is worse, judged where the log has them.
        watched: the same, but they refuse only where the log shows them to be worse.
        required: guardrail metrics that the log must have.
        learnt_rows: drop rows that the new version learnt from, or keep them, which flatters it.
        audit: what the log must fulfil before anything is judged on it.
    """

    evaluation: EvaluationSettings
    model: VwConfig
    estimator: str = "dr"
    error: float = 0.05
    rule: Rule = "not_worse"
    margin: float = 0.05
    guardrail_rule: Rule = "not_worse"
    guardrail_margin: float = 0.2
    sends_margin: float = 0.05
    margins: dict[str, float] = {}
    relative: bool = True
    guarded: tuple[str, ...] = LOST
    watched: tuple[str, ...] = RARE
    required: tuple[str, ...] = ()
    learnt_rows: Literal["drop", "keep"] = "drop"
    audit: AuditRule = AuditRule()

    def __post_init__(self) -> None:
        if not 0 < self.error < 0.5:
            raise ParameterError("error", "promote", allowed="in (0, 0.5)", got=self.error)
        for name in ("margin", "guardrail_margin", "sends_margin"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ParameterError(name, "promote", allowed="at least 0", got=getattr(self, name))
