"""Set-level limits as data: a yaml of limits, checked whole before anything is decided."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.catalog import Catalog
from engine.errors import ConfigError, ParameterError, reason_of
from engine.files.shipped import read_yaml
from engine.limits.kinds import BudgetLimit, DepthLimit, RampLimit, SetLimit, VolumeLimit
from engine.names import did_you_mean, near_key
from engine.time.localtime import require_zone

KINDS: Final = {"volume": VolumeLimit, "ramp": RampLimit, "budget": BudgetLimit, "depth": DepthLimit}


class LimitSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The limits of a sender.

    Attributes:
        name: for people.
        volume / ramp / budget / depth: limits by kind; see `engine.limits.kinds`.
        zone: IANA name of the zone in which their days begin.
        lease_s: a block whose process died gives its quota back after so long.
        share: of what is free, the most that one block may take; less than 1 leaves something to blocks that run at
            the same time.
    """

    name: str
    volume: tuple[VolumeLimit, ...] = ()
    ramp: tuple[RampLimit, ...] = ()
    budget: tuple[BudgetLimit, ...] = ()
    depth: tuple[DepthLimit, ...] = ()
    zone: str = "UTC"
    lease_s: int = 600
    share: float = 1.0

    def __post_init__(self) -> None:
        require_zone(self.zone, where=f"limits {self.name!r}")
        names = [limit.name for limit in self.limits]
        if not names:
            raise ParameterError("limits", self.name, allowed="at least one volume, ramp, budget or depth", got=names)
        if len(set(names)) != len(names):
            raise ParameterError("name", f"limits {self.name!r}", allowed="distinct names", got=names)
        if not 0 < self.lease_s <= 86_400:
            raise ParameterError("lease_s", f"limits {self.name!r}", allowed="in 1 to 86400", got=self.lease_s)
        if not 0 < self.share <= 1:
            raise ParameterError("share", f"limits {self.name!r}", allowed="in (0, 1]", got=self.share)

    @property
    def limits(self) -> tuple[SetLimit, ...]:
        return (*self.volume, *self.ramp, *self.budget, *self.depth)

    def to_builtins(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars, for yaml and file footers."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built

    def check(self, catalog: Catalog) -> None:
        """Refuse limits that name what the catalog does not have.

        Raises:
            ParameterError: an unknown channel or arm.
        """
        for limit in self.limits:
            limit.amounts(catalog)


def limits_from(data: Any, *, source: str = "limits") -> LimitSet:
    """Validate plain data as limits.

    Raises:
        ConfigError: unknown key, wrong type, or a value out of range.
    """
    try:
        _refuse_unknown(data)
        return msgspec.convert(data, LimitSet)
    except (msgspec.ValidationError, ParameterError) as error:
        hint = f"{near_key(str(error), LimitSet)}see docs/limits.md"
        raise ConfigError(f"{source} holds no limits: {reason_of(error)}", hint=hint) from error


def load_limits(name_or_path: str | Path) -> LimitSet:
    """Load shipped limits by name, or a yaml file by path.

    Raises:
        ConfigError: no such limits, no yaml, or no valid limits.
    """
    return limits_from(read_yaml("limits", name_or_path, what="set of limits"), source=str(name_or_path))


def _refuse_unknown(data: Any) -> None:
    """Unknown keys of single limits: dataclasses would take no notice of them, and a typing error be no limit."""
    if not isinstance(data, dict):
        return
    for kind, made in KINDS.items():
        known = {field.name for field in fields(made)}
        for one in data.get(kind) or ():
            unknown = set(one) - known if isinstance(one, dict) else set()
            if unknown:
                near = did_you_mean(str(min(unknown, key=str)), sorted(known))
                raise ParameterError(
                    kind, "limits", allowed=f"keys among {sorted(known)}", got=sorted(map(str, unknown)), hint=near
                )
