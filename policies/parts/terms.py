"""The terms of a regression on context and action, as Vowpal Wabbit's text and as score tables.

Beside channel, hour and arm an action has its arm's attributes, and a contact may have what an attribute says: a
motive, a category, a locale. Both meet in match terms, one weight for all arms, so that an arm which is rarely sent
still says whom it is for. All of them are linear in the encoded context, so the tables hold them exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.catalog import Arm, Catalog
from engine.encoder import CategoricalCoding, Encoder
from engine.features import ContextBatch
from engine.types import CodeArray, IntArray
from policies.parts.memory.columns import arm_levels
from policies.parts.memory.prior import Recall, without_memory
from policies.vw import wall
from policies.vw.arguments import VwConfig
from policies.vw.examples import Apart, arm_features, channel_features, context_text, escape, hour_features
from policies.vw.scoring.compiler import compile_tables
from policies.vw.scoring.tables import ScoreTables

# So many levels that an attribute and a feature share are no accident.
_SHARED_LEVELS: Final = 2
# Hats are small where other columns have unit variance: so weighted, one penalty means the same to both.
_BENDS: Final = Apart("s", 3.0)
# Namespaces: x context, s bends of its curves, c channel, h hour slot, a arm, t attributes of the arm, m matches.
PAIRS: Final = ("xc", "xh", "xa", "xt", "ch", "ca", "ha")


@dataclass(frozen=True)
class Match:
    """An attribute of the arms and a feature of the context that has the same levels.

    Attributes:
        name: of the term.
        feature: of the context.
        columns: (K,) column of the encoded context that says that the contact has the arm's level; -1 where none does.
    """

    name: str
    feature: str
    columns: tuple[int, ...]


def matches(catalog: Catalog, encoder: Encoder, aliases: Mapping[str, str]) -> tuple[Match, ...]:
    """Every attribute of the arms with every categorical feature that says the same of the contact.

    A feature says the same where it has the attribute's name or alias, or at least two of its levels. An arm's own name
    counts as an attribute.

    Args:
        catalog: of the arms.
        encoder: of the context.
        aliases: attribute -> feature, where their names differ.
    """
    columns = {name: position for position, name in enumerate(encoder.column_names)}
    known = {coding.name: set(coding.levels) for coding in encoder.codings if isinstance(coding, CategoricalCoding)}
    levels = [{**arm_levels(arm), "arm": arm.id} for arm in catalog.arms]
    found = []
    for attribute in sorted({name for one in levels for name in one}):
        values = {one[attribute] for one in levels if attribute in one}
        for feature, own in known.items():
            if feature in (attribute, aliases.get(attribute)) or len(values & own) >= _SHARED_LEVELS:
                at = tuple(columns.get(f"{feature}={one.get(attribute, '')}", -1) for one in levels)
                if max(at) >= 0:
                    name = attribute if feature == attribute else f"{attribute} = {feature}"
                    found.append(Match(name, feature, at))
    return tuple(found)


def _attributes(arm: Arm) -> dict[str, float]:
    """The arm's attributes as features with values."""
    own = {f"{name}={value}": 1.0 for name, value in arm_levels(arm).items()}
    own |= {name: float(value) for name, value in arm.attributes.items() if not isinstance(value, str)}
    return own | ({"discount_depth": 10.0 * arm.discount_depth} if arm.discount_depth else {})


@dataclass(frozen=True)
class Terms:
    """What a regression may use.

    Attributes:
        catalog: the actions.
        encoder: of the context.
        matches: see `matches`.
        actions: whether the action plays a part at all; without it only the context does.
        memory: what the contact's past says, see `policies.parts.memory`; the encoder has its columns.
        straight: whether the action meets numbers as lines, and only the context's own say is a curve.
    """

    catalog: Catalog
    encoder: Encoder
    matches: tuple[Match, ...] = ()
    actions: bool = True
    memory: tuple[Recall, ...] = ()
    straight: bool = False

    @property
    def _hats(self) -> Apart | None:
        """Where the columns that bend lines into curves stand; None among the others."""
        return _BENDS if self.straight else None

    @cached_property
    def plain(self) -> Encoder:
        """The encoder without the contact's past, which no other term may use."""
        return without_memory(self.encoder)

    @cached_property
    def attributes(self) -> tuple[dict[str, float], ...]:
        """(K,) attributes of every arm that at least two arms do not share, scaled to [-1, 1]."""
        own = [_attributes(arm) for arm in self.catalog.arms]
        names = sorted({name for one in own for name in one})
        kept = [name for name in names if len({one.get(name, 0.0) for one in own}) > 1]
        largest = {name: max(abs(one.get(name, 0.0)) for one in own) for name in kept}
        return tuple({name: one[name] / largest[name] for name in kept if one.get(name)} for one in own)

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """(k,) the action's own text; hold's is empty."""
        if not self.actions:
            return ("",) * self.catalog.k
        arms = [
            f" |a {arm}"
            + (" |t" + "".join(f" {escape(name)}:{value:.9g}" for name, value in own.items()) if own else "")
            for arm, own in zip(arm_features(self.catalog), self.attributes, strict=True)
        ]
        heads = [
            (f" |c {channel}" if channel else "") + (f" |h {hour}" if hour else "")
            for channel in channel_features(self.catalog)
            for hour in hour_features(self.catalog)
        ]
        return ("", *(head + arm for head in heads for arm in arms))

    def texts(self, context: ContextBatch, action: CodeArray | IntArray) -> pa.StringArray:
        """(n,) features of each row's context and action, without a label."""
        own = pa.array(self.lines).take(pa.array(action))
        shown = context_text(self.plain, context, self._hats)
        matched = self._matched(context, action)
        return pc.binary_join_element_wise(shown, own, *matched, "")

    def _matched(self, context: ContextBatch, action: CodeArray | IntArray) -> list[pa.Array]:
        if not (self.matches or self.memory) or not self.actions:
            return []
        x = self.encoder.encode(context)
        channel, hour, arm = (np.maximum(one, 0) for one in self.catalog.split(action))
        sent = action > 0
        out = []
        for recall in self.memory:
            column = np.asarray(recall.columns)[{"channel": channel, "hour": hour, "arm": arm}[recall.kind.axis]]
            value = np.where(sent & (column >= 0), x[np.arange(context.n), np.maximum(column, 0)], np.float32(0.0))
            decimals = pc.cast(pa.array(value), pa.string())
            written = pc.binary_join_element_wise(f" |m {escape(recall.name)}:", decimals, "")
            out.append(pc.if_else(pa.array(value == 0), "", written))
        for match in self.matches:
            column = np.asarray(match.columns)[arm]
            hit = sent & (column >= 0) & (x[np.arange(context.n), np.maximum(column, 0)] > 0)
            out.append(pc.if_else(pa.array(hit), f" |m {escape(match.name)}", ""))
        return out

    def tables(self, model: wall.Model, config: VwConfig, interactions: tuple[str, ...], scale: float) -> ScoreTables:
        """The weights of a regression as tables, before any shift.

        Args:
            model: loaded.
            config: bits of the model.
            interactions: pairs that it was learnt with.
            scale: multiplies every weight.
        """
        plain = _plain(config, interactions)
        found = compile_tables(model, self.plain, self.catalog, plain, scale=scale, shift=0.0, hats=self._hats)
        found = _widened(found, self.encoder.d - self.plain.d)
        arm = found.arm.astype(np.float64)
        apart = self.plain.hats if self.straight else frozenset()
        paired = [
            (at, model.hash_of("x", escape(one))) for at, one in enumerate(self.plain.column_names) if one not in apart
        ]
        for row, own in enumerate(self.attributes if self.actions else ()):
            for name, value in own.items():
                feature = model.hash_of("t", escape(name))
                arm[row, -1] += scale * value * model.weight(feature)
                if "xt" in interactions:
                    for at, one in paired:
                        arm[row, at] += scale * value * model.weight(one, feature)
        for match in self.matches if self.actions else ():
            weight = scale * model.weight(model.hash_of("m", escape(match.name)))
            for row, column in enumerate(match.columns):
                if column >= 0:
                    arm[row, column] += weight
        by_axis = {"channel": found.channel.astype(np.float64), "hour": found.hour.astype(np.float64), "arm": arm}
        for recall in self.memory if self.actions else ():
            weight = scale * model.weight(model.hash_of("m", escape(recall.name)))
            for row, column in enumerate(recall.columns):
                if column >= 0:
                    by_axis[recall.kind.axis][row, column] += weight
        cast = {axis: table.astype(np.float32) for axis, table in by_axis.items()}
        tables = replace(found, **cast, hold=np.zeros_like(found.hold))
        return tables if self.actions else _context_alone(tables)


def _plain(config: VwConfig, interactions: tuple[str, ...]) -> VwConfig:
    return msgspec.structs.replace(config, interactions=tuple(pair for pair in interactions if pair != "xt"))


def _widened(tables: ScoreTables, columns: int) -> ScoreTables:
    """The tables with columns of zeros before the constant: the encoder's last ones, which are not regressed on."""
    names = ("base", "hold", "channel", "hour", "arm")
    wide = {name: np.insert(own := getattr(tables, name), [own.shape[-1] - 1] * columns, 0.0, -1) for name in names}
    return replace(tables, **wide)


def _context_alone(tables: ScoreTables) -> ScoreTables:
    """The tables without anything that an action adds: its weights were never learnt."""
    names = ("hold", "channel", "hour", "arm", "channel_hour", "channel_arm", "hour_arm")
    return replace(tables, **{name: np.zeros_like(getattr(tables, name)) for name in names})
