"""How the long-horizon learner learns."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from engine.errors import ParameterError


class HorizonConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Immediate gain by its parts, continuation value by fitted evaluation.

    Attributes:
        clicked: metric (0 or 1) that stands between a message and its money; "" learns the money directly.
        lost: metrics (0 or 1) that end a permission.
        ridge: penalty of the models of chances, in rows.
        value_ridge: the same, of the value of a click.
        horizon_days: over which a lost permission is missed; half of it on average.
        discount: factor per day on what comes later, in (0, 1].
        look_ahead: decisions that the fitted evaluation looks ahead; 0 is myopic but for lost permissions.
        continuation_ridge: penalty of its regressions, in rows.
        money: metric of all money of a contact: from it is learnt what discounts do to later orders; "" leaves it out.
        echo_decisions: how many decisions after a discount are looked at for its echo.
        charge: share of the estimated continuation value that is counted, in [0, 1].
        outcome_rows: most decisions from which the parts of the gain are learnt, whole contacts at random.
        rows: most decisions of the evaluation, whole contacts among them.
        examples: most decisions from which the score tables are learnt.
        actions: sends per such decision.
        half_life_days: decisions so much older than the newest count half; null keeps all alike.
        refit_days: in a simulation, days between two fits.
        memory_days: in a simulation, days of the log that are learnt from.
        alarm: shorten the memory when the residuals of the rewards say that the world has changed.
        seed: the seed of the samples.
    """

    clicked: str = "clicked"
    lost: tuple[str, ...] = ("unsubscribed", "complained")
    ridge: float = 300.0
    value_ridge: float = 100.0
    horizon_days: float = 90.0
    discount: float = 0.98
    look_ahead: int = 0
    continuation_ridge: float = 100.0
    money: str = "margin"
    echo_decisions: int = 4
    charge: float = 1.0
    outcome_rows: int = 1_000_000
    rows: int = 60_000
    examples: int = 40_000
    actions: int = 6
    half_life_days: float | None = None
    refit_days: int = 7
    memory_days: int = 60
    alarm: bool = True
    seed: int = 0

    def metrics(self, known: Iterable[str]) -> tuple[str, ...]:
        """The metrics of a log that are read beside the money."""
        return tuple(name for name in (self.clicked, self.money, *self.lost) if name in set(known))

    def __post_init__(self) -> None:
        for name in ("ridge", "value_ridge", "continuation_ridge", "horizon_days"):
            _require(0.0 <= getattr(self, name) < math.inf, name, "finite and at least 0", getattr(self, name))
        _require(0.0 < self.discount <= 1.0, "discount", "in (0, 1]", self.discount)
        _require(0.0 <= self.charge <= 1.0, "charge", "in [0, 1]", self.charge)
        _require(0 <= self.look_ahead <= 1000, "look_ahead", "in 0..1000", self.look_ahead)
        for name in ("outcome_rows", "rows", "examples", "actions", "refit_days", "memory_days"):
            _require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        half = self.half_life_days
        _require(half is None or 0.0 < half < math.inf, "half_life_days", "positive, or null", half)
        _require(0 <= self.echo_decisions <= 1000, "echo_decisions", "in 0..1000", self.echo_decisions)
        _require(self.seed >= 0, "seed", "at least 0", self.seed)


def _require(holds: bool, name: str, allowed: str, value: float | None) -> None:
    if not holds:
        raise ParameterError(name, "HorizonConfig", allowed=allowed, got=value)
