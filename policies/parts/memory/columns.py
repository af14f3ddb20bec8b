"""The counts that a contact is remembered by: which sends they count, and the features of the context that hold them.

Sends are counted all together, by channel, by quarter of the contact's day, and by what the arms say: their attributes,
category and locale, and the arm itself. Each level has two features, `memory.STAGE.KIND.LEVEL.sends` and `.hits`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from engine.catalog import Arm, Catalog
from engine.errors import ParameterError
from engine.features import FeatureSchema, FeatureSpec
from engine.types import CodeArray, IntArray

GROUP: Final = "memory"
ALL: Final = "all"
QUARTERS: Final = ("night", "morning", "afternoon", "evening")
# Kinds with more levels than this are left out: a contact's own sends would spread too thin.
MOST_LEVELS: Final = 32
_HOURS: Final = 6
_OTHER = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True)
class Kind:
    """One way of telling sends apart.

    Attributes:
        name: "all", "channel", "hour", the name of an attribute, or "arm".
        axis: of the catalog whose positions have a level.
        levels: names; at least two, except of "all".
        of: (C,), (H,) or (K,) level of each position of the axis; -1 where it has none.
    """

    name: str
    axis: Literal["channel", "hour", "arm"]
    levels: tuple[str, ...]
    of: tuple[int, ...]

    def level(self, catalog: Catalog, action: CodeArray | IntArray) -> IntArray:
        """(n,) level of each send; -1 for hold and where there is none."""
        position = catalog.split(action)[("channel", "hour", "arm").index(self.axis)]
        found: IntArray = np.where(action > 0, np.asarray(self.of)[np.maximum(position, 0)], -1).astype(np.int64)
        return found

    def features(self, stage: str) -> tuple[tuple[str, str], ...]:
        """(L,) pairs of features: hits and sends."""
        head = f"{GROUP}.{_clean(stage)}.{_clean(self.name)}"
        names = [_clean(level) for level in self.levels]
        own = [name if names.count(name) == 1 else f"{name}_{at}" for at, name in enumerate(names)]
        return tuple((f"{head}.{name}.hits", f"{head}.{name}.sends") for name in own)


def arm_levels(arm: Arm) -> dict[str, str]:
    """What an arm says in words: its attributes, category and locale."""
    own = {name: value for name, value in arm.attributes.items() if isinstance(value, str)}
    own |= {name: value for name, value in (("category", arm.category), ("locale", arm.locale)) if value}
    return own


def kinds(catalog: Catalog) -> tuple[Kind, ...]:
    """Every way in which a catalog's sends can be told apart, all of them together first.

    Of two kinds that part the same axis alike the first one stays.
    """
    arms = [{**arm_levels(arm), "arm": arm.id} for arm in catalog.arms]
    attributes = sorted({name for own in arms for name in own} - {"arm"})
    hours = [QUARTERS[slot // _HOURS] if isinstance(slot, int) else "" for slot in catalog.hours]
    found = [Kind(ALL, "channel", (ALL,), (0,) * len(catalog.channels))]
    found += [_kind("channel", "channel", catalog.channels), _kind("hour", "hour", hours)]
    found += [_kind(name, "arm", [own.get(name, "") for own in arms]) for name in (*attributes, "arm")]
    some = [one for one in found if one.name == ALL or 1 < len(one.levels) <= MOST_LEVELS]
    return tuple({(one.axis, one.of): one for one in reversed(some)}.values())[::-1]


def _kind(name: str, axis: Literal["channel", "hour", "arm"], values: Sequence[str]) -> Kind:
    levels = tuple(dict.fromkeys(value for value in values if value))
    return Kind(name, axis, levels, tuple(levels.index(value) if value else -1 for value in values))


def memory_features(catalog: Catalog, stage: str) -> tuple[FeatureSpec, ...]:
    """The features that hold the counts, in the order of the kinds."""
    return tuple(
        _feature(name, f"{what} of the contact's messages ({kind.name}: {level})")
        for kind in kinds(catalog)
        for level, pair in zip(kind.levels, kind.features(stage), strict=True)
        for what, name in zip((stage, "number"), pair, strict=True)
    )


def with_memory(schema: FeatureSchema, catalog: Catalog, stage: str) -> FeatureSchema:
    """A schema with the counts behind its features; what it has of them already stays where it is."""
    own = [spec for spec in memory_features(catalog, stage) if spec.name not in schema.names]
    return FeatureSchema(features=(*schema.features, *own))


def require_counts(schema: FeatureSchema) -> None:
    """Refuse contexts that hold no counts, where memory is asked for.

    Raises:
        ParameterError: there are none.
    """
    if all(spec.signal_group != GROUP for spec in schema.features):
        hint = "write the log again with `tactful remember`, or leave it null"
        raise ParameterError("memory", "PartsConfig", allowed="true where the log has counts", got="none", hint=hint)


def _feature(name: str, source: str) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        type="numeric",
        unit="count",
        source=source,
        collected_where="messages sent to the contact",
        customer_benefit="Messages of the kind that the contact answered before",
        signal_group=GROUP,
        low=0.0,
    )


def _clean(name: str) -> str:
    return _OTHER.sub("_", name)
