"""The catalog: every action that exists, as channel x hour slot x content arm, plus hold (action 0).

Action `1 + (c * H + h) * K + a` sends arm `a` on channel `c` in hour slot `h`; nothing here builds per-contact arrays.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from engine.content.modular import Modular, arm_fields
from engine.errors import ConfigError, DataError, ParameterError, reason_of
from engine.names import did_you_mean, name_key, near_key
from engine.sealing import sealed
from engine.time.instants import SPAN
from engine.types import HOLD, PURPOSES, CodeArray, IntArray

SEPARATOR = "|"
NOW = "now"


class Arm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One content arm: an id, or a tuple of approved block ids, with the attributes that rules and learners read.

    Attributes:
        id: unique in the catalog.
        blocks: ids of the blocks that the arm is assembled from, in slot order; empty for a plain arm.
        purpose: one of `PURPOSES`; mandatory for arms of our own catalogs, checked at load.
        approved: only approved arms may be sent.
        channels: channels that the arm is made for; empty means every channel of the catalog.
        locale: BCP 47 tag, or "" where the arm fits every locale.
        category: product category, or "".
        discount_depth: share of the price given away, in [0, 1).
        margin_usd: expected margin of one conversion before the discount, or None where unknown.
        valid_from / valid_until: ISO 8601 with offset, half-open [from, until); None means unbounded.
        attributes: anything else that a learner may use as a factor (urgency, richness ...).
        tags: lists that a contact must be on; absent: everybody.
    """

    id: str
    blocks: tuple[str, ...] = ()
    purpose: str = "promotional"
    approved: bool = False
    channels: tuple[str, ...] = ()
    locale: str = ""
    category: str = ""
    discount_depth: float = 0.0
    margin_usd: float | None = None
    valid_from: str | None = None
    valid_until: str | None = None
    attributes: dict[str, str | float] = {}
    tags: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if not self.id:
            raise ParameterError("id", "Arm", allowed="a non-empty string", got=self.id)
        if self.purpose not in PURPOSES:
            raise ParameterError("purpose", f"arm {self.id!r}", allowed=f"one of {PURPOSES}", got=self.purpose)
        if not 0.0 <= self.discount_depth < 1.0:
            raise ParameterError("discount_depth", f"arm {self.id!r}", allowed="in [0, 1)", got=self.discount_depth)
        # JSON has no infinity: it would come back from a file footer as null.
        for field, value in (("margin_usd", self.margin_usd), *self.attributes.items()):
            if isinstance(value, float) and not math.isfinite(value):
                raise ParameterError(field, f"arm {self.id!r}", allowed="finite", got=value)
        start, end = (_instant(self, field) for field in ("valid_from", "valid_until"))
        if start is not None and end is not None and not start < end:
            raise ParameterError(
                "valid_until", f"arm {self.id!r}", allowed=f"after valid_from = {self.valid_from}", got=self.valid_until
            )


def _instant(arm: Arm, field: str) -> datetime | None:
    text: str | None = getattr(arm, field)
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise ParameterError(field, f"arm {arm.id!r}", allowed="ISO 8601 with an offset, or null", got=text)
    if not 1990 <= instant.astimezone(UTC).year < 2200:
        raise ParameterError(field, f"arm {arm.id!r}", allowed=f"{SPAN}, or null where it has no end", got=text)
    return instant


class Catalog(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """Channels x hour slots x arms, plus hold.

    Attributes:
        name: for people; the machine's name is `version`.
        channels: C unique names.
        hours: H unique slots: 0-23 (the contact's local hour), "now", or, in logs that others wrote, their own label.
        arms: K arms with unique ids; at least one.
        hold_name: what the log calls "no message"; always also reachable as "hold".
        aliases: other names of actions -> the action's own name.
        modular: slots of blocks from which the arms are assembled (docs/modular-content.md); then `arms` follow from it
            and may be left out.
    """

    name: str
    channels: tuple[str, ...]
    hours: tuple[int | str, ...]
    arms: tuple[Arm, ...] = ()
    hold_name: str = "hold"
    aliases: dict[str, str] = {}
    modular: Modular | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        self._assemble()
        for axis, values in (("channels", self.channels), ("hours", self.hours), ("arms", self.arm_ids)):
            if not values or "" in values or len(set(map(str, values))) != len(values):
                raise ParameterError(
                    axis, f"catalog {self.name!r}", allowed="non-empty names, at least one, unique", got=values
                )
        if len({name_key(channel) for channel in self.channels}) != len(self.channels):
            allowed = "told apart by more than case, blanks and hyphens"
            raise ParameterError("channels", f"catalog {self.name!r}", allowed=allowed, got=self.channels)
        for hour in self.hours:
            if isinstance(hour, int) and not 0 <= hour <= 23:
                raise ParameterError("hours", f"catalog {self.name!r}", allowed="in 0..23 or a label", got=hour)
        for arm in self.arms:
            unknown = set(arm.channels) - set(self.channels)
            if unknown:
                raise ParameterError(
                    "channels", f"arm {arm.id!r}", allowed=f"among {self.channels}", got=sorted(unknown)
                )
        if self._names_may_collide():
            self._check_names()
        for alias, name in self.aliases.items():
            if name not in self._index_of:
                raise ParameterError("aliases", f"catalog {self.name!r}", allowed="names of actions", got={alias: name})
            if alias in self._index_of and alias != name:
                raise ParameterError(
                    "aliases", f"catalog {self.name!r}", allowed="no name of another action", got={alias: name}
                )

    def _names_may_collide(self) -> bool:
        """Blocks keep names of assemblies apart: the names of 41,000 actions need not be made to compare them."""
        plain = self.modular is not msgspec.UNSET and not {"hold", self.hold_name} & set(self.arm_ids)
        return not plain or any(SEPARATOR in name for name in (*self.channels, *map(str, self.hours), self.hold_name))

    def _check_names(self) -> None:
        if len(self._index_of) != self.k:
            raise ParameterError(
                "arms",
                f"catalog {self.name!r}",
                allowed="free of names that collide when joined",
                got=sorted({n for n in self.action_names if self.action_names.count(n) > 1}),
            )
        if self._index_of.get("hold", HOLD) != HOLD:
            raise ParameterError(
                "arms", f"catalog {self.name!r}", allowed='free of an action named "hold" that sends', got="hold"
            )

    def _assemble(self) -> None:
        if self.modular is msgspec.UNSET:
            return
        arms = tuple(Arm(**fields) for fields in arm_fields(self.modular))
        if self.arms and self.arms != arms:
            raise ParameterError(
                "arms", f"catalog {self.name!r}", allowed="left out: they follow from `modular`", got=len(self.arms)
            )
        msgspec.structs.force_setattr(self, "arms", arms)

    @property
    def arm_ids(self) -> tuple[str, ...]:
        return tuple(arm.id for arm in self.arms)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, K)."""
        return len(self.channels), len(self.hours), len(self.arms)

    @property
    def k(self) -> int:
        """Number of actions, hold included."""
        channels, hours, arms = self.shape
        return 1 + channels * hours * arms

    @cached_property
    def version(self) -> str:
        """16 hex digits of the SHA-256 of the canonical JSON."""
        canonical = json.dumps(msgspec.to_builtins(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @cached_property
    def action_names(self) -> tuple[str, ...]:
        """(k,) names. Axes of size 1 are left out: a log with one channel and one slot names its actions by arm."""
        axes: list[tuple[str, ...]] = [self.channels, tuple(map(str, self.hours)), self.arm_ids]
        shown = [len(axis) > 1 for axis in axes]
        if not any(shown):
            shown[2] = True
        names = [self.hold_name]
        for channel in axes[0]:
            for hour in axes[1]:
                for arm in axes[2]:
                    parts = zip((channel, hour, arm), shown, strict=True)
                    names.append(SEPARATOR.join(part for part, keep in parts if keep))
        return tuple(names)

    @cached_property
    def _index_of(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.action_names)}

    @cached_property
    def handed_out(self) -> Catalog:
        """An equal catalog of its own, for policies: a write to its attributes or aliases does not reach the rules."""
        return msgspec.convert(self.to_builtins(), Catalog)

    @cached_property
    def purpose_codes(self) -> IntArray:
        """(K,) index into `PURPOSES` of each arm; sealed, for rules and policies share it."""
        return sealed(np.array([PURPOSES.index(arm.purpose) for arm in self.arms], dtype=np.int64))

    def index(self, channel: int, hour: int, arm: int) -> int:
        """Action of the cell (channel, hour, arm), all positions on their axes."""
        _, hours, arms = self.shape
        return 1 + (channel * hours + hour) * arms + arm

    def split(self, actions: IntArray | CodeArray) -> tuple[IntArray, IntArray, IntArray]:
        """(n,) actions -> (n,) channel, hour and arm positions; -1 on every axis for hold."""
        _, hours, arms = self.shape
        cell = np.asarray(actions, dtype=np.int64) - 1
        send = cell >= 0
        channel, hour, arm = cell // (hours * arms), cell // arms % hours, cell % arms
        return np.where(send, channel, -1), np.where(send, hour, -1), np.where(send, arm, -1)

    def resolve(self, name: str) -> int:
        """Action index of a name, an alias, or "hold".

        Raises:
            DataError: no such action.
        """
        name = self.aliases.get(name, name)
        if name in self._index_of:
            return self._index_of[name]
        if name == "hold":
            return HOLD
        shown = ", ".join(repr(known) for known in self.action_names[:12])
        more = f", ... {self.k - 12} more" if self.k > 12 else ""
        meant = did_you_mean(name, [*self.action_names, *self.aliases])
        raise DataError(f"unknown action {name!r}", hint=f"{meant}the catalog {self.name!r} knows: {shown}{more}")

    def to_builtins(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars, for yaml, JSON and file footers."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built


def catalog_from(data: Any, *, source: str = "catalog") -> Catalog:
    """Validate plain data as a catalog.

    Args:
        data: what yaml or JSON decoded to.
        source: named in the error, a path for instance.

    Raises:
        ConfigError: unknown key, wrong type, or a value out of range.
    """
    try:
        return msgspec.convert(data, Catalog)
    except (msgspec.ValidationError, ParameterError) as error:
        hint = f"{near_key(str(error), Catalog)}see docs/catalog.md for every key"
        raise ConfigError(f"{source} is no catalog: {reason_of(error)}", hint=hint) from error


def one_axis_catalog(
    name: str, arms: Sequence[str], *, channel: str = "email", hour: int | str = NOW, hold_name: str = "hold"
) -> Catalog:
    """Catalog of one channel and one slot, all arms approved: what a plain log of arms needs."""
    return Catalog(
        name=name,
        channels=(channel,),
        hours=(hour,),
        hold_name=hold_name,
        arms=tuple(Arm(id=arm, approved=True) for arm in arms),
    )
