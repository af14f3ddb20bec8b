"""What a monitor watches and when it steps in: the numbers of conf/monitor/."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from engine.errors import ParameterError

Effect = Literal["alert", "pause_arm", "pause_channel", "kill"]
Watch = Literal["rate", "reach", "stale", "audit", "loss", "blind"]
Scope = Literal["all", "channel", "arm"]
EFFECTS: Final = ("alert", "pause_arm", "pause_channel", "kill")
WATCHED: Final = ("rate", "reach", "stale", "audit", "loss", "blind")


class Escalation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule: a quantity, a limit, and what is done.

    Attributes:
        name: unique.
        watch: rate (of an event per dispatched send), reach (share of decisions in which some send was eligible), stale
            (share of a feature's values that are stale), audit (a check of `engine.audit`), loss (the effect of
            treatment against control on the monitored metric), blind (effective actions per context, and whether the
            effective rows of next month's log are enough for a judgement).
        effect: alert, pause_arm, pause_channel or kill.
        event: event whose rate is watched.
        scope: all, or each channel or arm apart, of a rate.
        above / below: the limit; exactly one for rate and reach. Of a rate it must be proven. Of stale: highest share;
            of loss: the effect's upper end lies below minus this. Of blind: fewest effective actions per context.
        drop: of reach: largest fall relative to the days before, as a share; in place of `below`.
        check: name of a check of the audit.
        settle_hours: younger sends are not counted, because their reports may still come.
    """

    name: str
    watch: Watch
    effect: Effect
    event: str = ""
    scope: Scope = "channel"
    above: float | None = None
    below: float | None = None
    drop: float | None = None
    check: str = ""
    settle_hours: float = 0.0

    def __post_init__(self) -> None:
        owner = f"escalation {self.name!r}"
        if self.watch == "rate":
            if not self.event:
                raise ParameterError("event", owner, allowed="the name of an event", got=self.event)
            limits = [limit for limit in (self.above, self.below) if limit is not None]
            if len(limits) != 1 or not 0 < limits[0] < 1:
                raise ParameterError("above", owner, allowed="above or below, one of them, in (0, 1)", got=limits)
        if self.watch == "reach" and (self.drop is None or not 0 < self.drop < 1):
            raise ParameterError("drop", owner, allowed="in (0, 1)", got=self.drop)
        if self.watch == "stale" and (self.above is None or not 0 <= self.above < 1):
            raise ParameterError("above", owner, allowed="in [0, 1)", got=self.above)
        if self.watch == "loss" and (self.above is None or not self.above >= 0):
            raise ParameterError("above", owner, allowed="at least 0", got=self.above)
        if self.watch == "blind" and (self.below is None or not self.below >= 1):
            raise ParameterError("below", owner, allowed="at least 1: actions per context", got=self.below)
        if self.watch == "audit" and not self.check:
            raise ParameterError("check", owner, allowed="a check of the audit", got=self.check)
        scopes = {"pause_arm": "arm", "pause_channel": "channel"}
        if self.effect in scopes and (self.watch != "rate" or self.scope != scopes[self.effect]):
            raise ParameterError(
                "effect", owner, allowed=f"{self.effect} only of a rate by {scopes[self.effect]}", got=self.effect
            )
        if not 0 <= self.settle_hours <= 24 * 14:
            raise ParameterError("settle_hours", owner, allowed="in [0, 336]", got=self.settle_hours)


class MonitorRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a live policy is watched.

    Attributes:
        alpha: error of each effect's sequence over all days, in (0, 1).
        tuned_for: decisions at which a sequence is narrowest; fixed before the first look.
        buckets: contacts are summed in so many buckets by a keyed hash, the independent units; 64 or more.
        covariates: numeric features whose first value of a contact takes variance off; ["auto"] is all, up to ten.
        false_alarms: a rate's alarm is false at most once in 1 / this many days, for each rule and scope.
        window_days: how far back a spike of a rate may have begun.
        escalations: the rules.
    """

    alpha: float = 0.05
    tuned_for: float = 50_000.0
    buckets: int = 512
    covariates: tuple[str, ...] = ("auto",)
    false_alarms: float = 0.001
    window_days: int = 7
    escalations: tuple[Escalation, ...] = ()

    def __post_init__(self) -> None:
        for name in ("alpha", "false_alarms"):
            if not 0 < getattr(self, name) < 1:
                raise ParameterError(name, "monitor", allowed="in (0, 1)", got=getattr(self, name))
        if not self.tuned_for > 0:
            raise ParameterError("tuned_for", "monitor", allowed="positive", got=self.tuned_for)
        if not 64 <= self.buckets <= 65_536:
            raise ParameterError("buckets", "monitor", allowed="in 64..65536", got=self.buckets)
        if not 1 <= self.window_days <= 366:
            raise ParameterError("window_days", "monitor", allowed="in 1..366", got=self.window_days)
        names = [rule.name for rule in self.escalations]
        if len(set(names)) < len(names):
            raise ParameterError("escalations", "monitor", allowed="unique names", got=names)
