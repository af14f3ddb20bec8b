"""How the learner of parts learns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from engine.errors import ParameterError
from policies.peers.segments import SegmentConfig

AUTO: Final = "auto"
# Bags of a safe policy where nobody says how many; with fewer than the least a standard deviation says nothing.
SAFE_BAGS: Final = 16
LEAST_BAGS: Final = 4


class PartsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The value of a message as chance x worth - costs - losses (docs/parts.md).

    Attributes:
        stage: metric (0 or 1) that stands between a message and its money; "auto" takes the first of `stages` that the
            log has, "" none: the money itself is then modelled, pooled and shrunk.
        stages: words that "auto" looks for in the names of metrics, in this order, whatever their endings.
        lost: words of metrics (0 or 1) that end a permission.
        closes: what a lost permission closes: "channel", that of its message, "all", or "auto": what the log shows.
        seen: words of the metric (0 or 1) that says whether a message was seen.
        cost: metric of the log that says which part of the money is the cost of the send; "" where there is none.
        match: context feature that an arm's attribute is held against, by the name of the attribute; an attribute needs
            no entry where a feature has its name.
        smooth: whether numbers enter as smooth curves; null chooses by held-out rows.
        pieces: of each curve.
        ridges: penalties, in rows, among which held-out rows choose for the chance.
        worth_ridges: the same for the worth of a stage.
        past: whether to look for what acts past the stage.
        recency: numeric feature that says how many days ago the last message went, or how many went lately; "auto"
            looks for one that agrees with the log, "" lets no message wait.
        memory: whether the chance of the stage remembers what the contact reached before, where the context has the
            counts (docs/memory.md); null lets held-out contacts choose.
        horizon_days: over which a lost permission is missed; half of it on average.
        discount_days: for how long a discount that was seen is used on orders that come anyway; 0 charges nothing.
        discount_factor: multiplies the charge of a discount, for what no short log shows.
        spend: metrics that say what a contact spends; a discount is charged on the first that the log has, else on the
            metric that is maximised.
        money_days: most days of a contact's spending that one decision covers; fewer where decisions follow sooner.
        bags: fits to contacts drawn anew, which say how far each part could be another; null is 16 where `safety` needs
            them, else none.
        safety: practice that is left only where the bags agree that another action is better (docs/safety.md):
            "segments" tunes segments on the same rows with the same charges; "" is none.
        confidence: with which an action has to be better than the practice, one-sided.
        segments: how the segments of `safety` are made.
        choice_rows: most rows on which penalties and terms are chosen.
        passes: most passes of one regression.
        refit_days: in a simulation, days between two fits.
        memory_days: in a simulation, days of the log that are learnt from.
        seed: of the split into rows that fit and rows that choose.
    """

    stage: str = AUTO
    stages: tuple[str, ...] = ("click", "visit", "reply", "response", "view")
    lost: tuple[str, ...] = ("unsubscribe", "unsub", "opt out", "complain", "complaint", "spam")
    closes: Literal["auto", "channel", "all"] = AUTO
    seen: tuple[str, ...] = ("open", "read", "seen")
    cost: str = "send_cost"
    match: dict[str, str] = msgspec.field(default_factory=lambda: {"category": "product_affinity"})
    smooth: bool | None = None
    pieces: int = 6
    ridges: tuple[float, ...] = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
    worth_ridges: tuple[float, ...] = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)
    past: bool = True
    recency: str = AUTO
    memory: bool | None = None
    horizon_days: float = 90.0
    discount_days: float = 3.0
    discount_factor: float = 2.0
    spend: tuple[str, ...] = ("revenue", "spend", "margin")
    money_days: float = 3.0
    bags: int | None = None
    safety: Literal["", "segments"] = ""
    confidence: float = 0.9
    segments: SegmentConfig = SegmentConfig()
    choice_rows: int = 150_000
    passes: int = 40
    refit_days: int = 7
    memory_days: int = 60
    seed: int = 0

    def metrics(self, known: Iterable[str]) -> tuple[str, ...]:
        """The metrics of a log that are read beside the money: all of them, since names are found by their words."""
        return tuple(known)

    @property
    def drawn(self) -> int:
        """Bags to be fitted."""
        return self.bags if self.bags is not None else SAFE_BAGS if self.safety else 0

    def __post_init__(self) -> None:
        for name in ("ridges", "worth_ridges"):
            values = getattr(self, name)
            if not values or list(values) != sorted(set(values)) or not all(0.0 < v < math.inf for v in values):
                raise ParameterError(name, "PartsConfig", allowed="positive and ascending, at least one", got=values)
        for name in ("horizon_days", "discount_days", "discount_factor"):
            _require(0.0 <= getattr(self, name) < math.inf, name, "finite and at least 0", getattr(self, name))
        _require(0.0 < self.money_days < math.inf, "money_days", "finite and above 0", self.money_days)
        require_confidence(self.confidence, "PartsConfig")
        if self.drawn < (LEAST_BAGS if self.safety else 0):
            raise ParameterError(
                "bags",
                "PartsConfig",
                allowed=f"at least {LEAST_BAGS} with safety={self.safety}" if self.safety else "at least 0",
                got=self.drawn,
                hint=f"leave it null for {SAFE_BAGS} bags" if self.safety else "0 fits none",
            )
        least_of = {"pieces": 2, "choice_rows": 1000, "passes": 2, "refit_days": 1, "memory_days": 1, "seed": 0}
        for name, least in least_of.items():
            _require(getattr(self, name) >= least, name, f"at least {least}", getattr(self, name))


def require_confidence(confidence: float, owner: str) -> None:
    """Refuse a confidence that bounds nothing.

    Raises:
        ParameterError: it does not lie between 0.5 and 1.
    """
    if not 0.5 < confidence < 1.0:
        hint = "0.9 leaves the practice only where nine of ten such logs would agree"
        raise ParameterError("confidence", owner, allowed="above 0.5 and below 1", got=confidence, hint=hint)


def _require(holds: bool, name: str, allowed: str, value: float) -> None:
    if not holds:
        raise ParameterError(name, "PartsConfig", allowed=allowed, got=value)
