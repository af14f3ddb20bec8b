"""Estimators by name: `dr`, `clipped:50` with its parameter, `switch_dr` with the parameter that SLOPE chooses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from engine.errors import ParameterError
from engine.ope.estimators.doubly_robust import Dm, Dr, Dros, Drps, Mrdr, SgDr, Sndr, SwitchDr
from engine.ope.estimators.marginalised import Mips, OffCem, Smips
from engine.ope.estimators.several_loggers import Balanced, BalancedDr, Pooled
from engine.ope.estimators.slope import Tuned
from engine.ope.estimators.terms import Estimator
from engine.ope.estimators.weighting import Clipped, Ips, SgIps, Snips
from engine.ope.settings import DEFAULTS

Asked: TypeAlias = Estimator | Tuned | Pooled

SLOPE: Final = "slope"

PLAIN: Final[dict[str, Estimator]] = {
    estimator.name: estimator
    for estimator in (
        *(Ips(), Snips(), Dm(), Dr(), Sndr(), Mrdr()),
        *(Mips(), Smips(), OffCem(), Balanced(), BalancedDr()),
    )
}
POOLED: Final[dict[str, Estimator]] = {"weighted_ips": Ips(), "weighted_dr": Dr()}


@dataclass(frozen=True)
class Family:
    """Estimators that differ by one parameter.

    Attributes:
        make: (value, name) -> an estimator.
        parameter: its name in notes.
        grid: what SLOPE chooses from, from the least biased to the most. Weights have no unit and mean 1, so one grid
            serves every log.
    """

    make: Callable[[float, str], Estimator]
    parameter: str
    grid: tuple[float, ...]

    def tuned(self, name: str) -> Tuned:
        """The family's member that SLOPE will choose."""
        shown = tuple(f"{value:g}" for value in self.grid)
        return Tuned(name, self.parameter, shown, tuple(self.make(value, name) for value in self.grid))


_TAUS: Final = (math.inf, 1000.0, 500.0, 200.0, 100.0, 50.0, 20.0, 10.0, 5.0, 2.0, 1.0)
_SQUARES: Final = (math.inf, 1e6, 1e5, 1e4, 3e3, 1e3, 3e2, 1e2, 30.0, 10.0, 3.0, 1.0)
_HARMONIC: Final = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)

FAMILIES: Final[dict[str, Family]] = {
    "clipped": Family(Clipped, "clip", _TAUS),
    "switch_dr": Family(SwitchDr, "tau", _TAUS),
    "dros": Family(Dros, "lambda", _SQUARES),
    "drps": Family(Drps, "clip", _TAUS),
    "sg_ips": Family(SgIps, "lambda", _HARMONIC),
    "sg_dr": Family(SgDr, "lambda", _HARMONIC),
}
ESTIMATORS: Final = (*PLAIN, *POOLED, *FAMILIES)


def estimators_named(
    names: Sequence[str | Estimator], clip: float = DEFAULTS.clip, loggers: int = 0
) -> tuple[Asked, ...]:
    """The estimators of these names, in order; an estimator that is given itself is taken as it is.

    A family's name may carry its parameter (`dros:100`) or ask for SLOPE's choice (`dros:slope`). Alone it means
    SLOPE's choice, but for `clipped`, which is clipped at `clip`. `slope:dr+mips+dros` is SLOPE's choice among several,
    families with their whole grids; the first must have an interval.

    Args:
        names: distinct.
        clip: The largest weight of `clipped`.
        loggers: how many policies decided the log, for the pooled estimators; 0 where it is not known.

    Raises:
        ParameterError: unknown, repeated or no name, or a parameter out of its range.
    """
    labels = [one if isinstance(one, str) else one.name for one in names]
    if not labels or len(set(labels)) != len(labels):
        raise _unknown(labels)
    return tuple(_estimator(one, labels, clip, loggers) if isinstance(one, str) else one for one in names)


def _estimator(name: str, names: Sequence[str], clip: float, loggers: int) -> Asked:
    base, colon, given = name.partition(":")
    if colon and base == SLOPE:
        return _across(name, given.split("+"), names, clip)
    if not colon and base in PLAIN:
        return PLAIN[base]
    if not colon and base in POOLED:
        return Pooled(base, POOLED[base], loggers)
    if base not in FAMILIES:
        raise _unknown(names)
    family = FAMILIES[base]
    if name == "clipped":
        return Clipped(clip)
    if not colon or given == SLOPE:
        return family.tuned(name)
    try:
        return family.make(float(given), name)
    except ValueError as error:
        raise _unknown(names) from error


def _across(name: str, parts: Sequence[str], names: Sequence[str], clip: float) -> Tuned:
    labels: list[str] = []
    members: list[Estimator] = []
    for part in parts:
        found = _estimator(part, names, clip, 0)
        if isinstance(found, Pooled) or part.startswith(f"{SLOPE}:"):
            raise _unknown(names)
        if isinstance(found, Tuned):
            base = part.removesuffix(f":{SLOPE}")
            labels += [f"{base}:{value}" for value in found.values]
            members += found.members
        else:
            labels.append(part)
            members.append(found)
    if len(set(labels)) != len(labels):
        raise _unknown(names)
    return Tuned(name, "estimator", tuple(labels), tuple(members))


def _unknown(names: Sequence[str]) -> ParameterError:
    families = ", ".join(FAMILIES)
    return ParameterError(
        "estimators",
        "evaluate",
        allowed=f"distinct, among {ESTIMATORS}",
        got=tuple(names),
        hint=f"{families} may carry a parameter, as in dros:100, or :slope; slope:dr+mips chooses among several",
    )
