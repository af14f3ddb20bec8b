"""Weights of what an action is made of: groups of actions that share attributes, and the estimators over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final

import numpy as np

from engine.catalog import Catalog
from engine.errors import DataError, ParameterError
from engine.numeric.matmul import matmul
from engine.ope.estimators.doubly_robust import Dr
from engine.ope.estimators.terms import EMBEDDING_WEIGHT
from engine.ope.estimators.weighting import Ips
from engine.ope.target import Target
from engine.records.rounds import RoundBatch
from engine.types import FloatArray, IntArray

AXES: Final = ("channel", "hour", "arm")
FIELDS: Final = ("purpose", "locale", "category", "discount_depth", "margin_usd", "blocks")
# A logged propensity may have been rounded when it was written; a different policy differs by far more.
TOLERANCE: Final = 1e-6


@dataclass(frozen=True)
class ActionGroups:
    """The actions by their attributes: actions of one group have all of them in common. Hold is a group of its own.

    Attributes:
        attributes: names, in the order given.
        codes: (k,) group of each action, in [0, groups).
    """

    attributes: tuple[str, ...]
    codes: IntArray

    @cached_property
    def groups(self) -> int:
        """Number of groups."""
        return int(self.codes.max()) + 1

    @cached_property
    def _order(self) -> tuple[IntArray, IntArray]:
        order = np.argsort(self.codes, kind="stable")
        return order, np.flatnonzero(np.diff(self.codes[order], prepend=-1))

    @property
    def k(self) -> int:
        """Number of actions."""
        return len(self.codes)

    def mass(self, full: FloatArray) -> FloatArray:
        """(n, k) distribution over actions -> (n, groups) distribution over groups."""
        order, starts = self._order
        found: FloatArray = np.add.reduceat(full[:, order], starts, axis=1)
        return found

    def of_rows(self, batch: RoundBatch) -> IntArray:
        """(n,) group of each logged action."""
        return self.codes[batch.action]


@dataclass(frozen=True)
class SampledGroups:
    """Attributes that are drawn after the action, with known probabilities: a variant that is chosen at rendering, say.

    Attributes:
        column: key in `RoundBatch.extra` that holds each row's group, in [0, groups).
        table: (k, groups) probability of each group after each action; rows sum to 1.
    """

    column: str
    table: FloatArray

    def __post_init__(self) -> None:
        if self.table.ndim != 2 or not (self.table >= 0).all() or not np.allclose(self.table.sum(axis=1), 1.0):
            raise ParameterError("table", "SampledGroups", allowed="(k, groups), rows summing to 1", got=self.table)

    @property
    def k(self) -> int:
        """Number of actions."""
        return len(self.table)

    def mass(self, full: FloatArray) -> FloatArray:
        """(n, k) distribution over actions -> (n, groups) distribution over groups."""
        found: FloatArray = matmul(full, self.table)
        return found

    def of_rows(self, batch: RoundBatch) -> IntArray:
        """(n,) group of each row.

        Raises:
            DataError: the column is absent, or holds what is no group, or one that the logged action never has.
        """
        if self.column not in batch.extra:
            raise DataError(f"the log has no column {self.column!r}")
        try:
            group = batch.extra[self.column].astype(np.int64)
            possible = self.table[batch.action, group] > 0
        except (TypeError, ValueError, IndexError) as error:
            raise DataError(f"column {self.column!r} must hold groups in [0, {self.table.shape[1]})") from error
        if (group < 0).any() or not possible.all():
            raise DataError(f"column {self.column!r} holds groups that the logged action never has")
        return group


def action_groups(catalog: Catalog, attributes: Sequence[str]) -> ActionGroups:
    """Group the actions of a catalog by attributes.

    Args:
        catalog: the actions.
        attributes: among "channel", "hour", "arm", the arms' own fields, and the keys of their `attributes`.

    Raises:
        ParameterError: none, a repeated one, or one that no arm has.
    """
    extra = {name for arm in catalog.arms for name in arm.attributes}
    known = (*AXES, *FIELDS, *sorted(extra))
    if not attributes or len(set(attributes)) != len(attributes) or not set(attributes) <= set(known):
        raise ParameterError("attributes", "action_groups", allowed=f"distinct, among {known}", got=tuple(attributes))
    channel, hour, arm = catalog.split(np.arange(catalog.k))
    parts: list[Sequence[object]] = []
    for name in attributes:
        if name in AXES:
            parts.append({"channel": channel, "hour": hour, "arm": arm}[name].tolist())
        elif name in FIELDS:
            parts.append([None if a < 0 else getattr(catalog.arms[a], name) for a in arm])
        else:
            parts.append([None if a < 0 else catalog.arms[a].attributes.get(name) for a in arm])
    seen: dict[tuple[object, ...], int] = {}
    # Whether it sends is part of the key: a send whose attributes are all absent must not be taken for hold.
    keys = list(zip((arm >= 0).tolist(), *parts, strict=True))
    codes = np.array([seen.setdefault(key, len(seen)) for key in keys], dtype=np.int64)
    return ActionGroups(tuple(attributes), codes)


@dataclass(frozen=True)
class Embedding:
    """What MIPS and OffCEM need beside the log.

    Attributes:
        groups: what is known of the log's actions.
        logging: the policy that decided the log; it must give its whole distribution.
    """

    groups: ActionGroups | SampledGroups
    logging: Target

    def __post_init__(self) -> None:
        if not self.logging.knows_all:
            raise ParameterError(
                "logging",
                "Embedding",
                allowed="a policy that gives its whole distribution",
                got=self.logging.name,
                hint="the logged propensity is that of one action; the weight of its attributes needs those of all",
            )

    def logged_mass(self, batch: RoundBatch) -> FloatArray:
        """(n, groups) probabilities of the groups under the logging policy.

        Raises:
            DataError: the logging policy's probability of a logged action is not the logged propensity, or the groups
                are those of another catalog.
        """
        if self.groups.k != batch.k:
            raise DataError(f"the attributes are of {self.groups.k} actions, the log has {batch.k}")
        full = self.logging.probabilities(batch).full
        if full is None:
            raise DataError(f"{self.logging.name!r} does not give its whole distribution")
        check_propensity(full[np.arange(batch.n), batch.action], batch, self.logging.name)
        return self.groups.mass(full)

    def weights(self, full: FloatArray, logged_mass: FloatArray, batch: RoundBatch) -> tuple[FloatArray, FloatArray]:
        """(n,) weights of the logged action's group, and the (n,) mass of the target on groups that the log never had.

        Args:
            full: (n, k) distribution of the target.
            logged_mass: (n, groups) of the logging policy.
            batch: the rows.
        """
        asked = self.groups.mass(full)
        rows, group = np.arange(batch.n), self.groups.of_rows(batch)
        unsupported = np.where(logged_mass > 0, 0.0, asked).sum(axis=1)
        return asked[rows, group] / logged_mass[rows, group], unsupported


def check_propensity(said: FloatArray, batch: RoundBatch, name: str) -> None:
    """Refuse a policy that is said to have decided rows but did not.

    Args:
        said: (n,) its probability of the logged action.
        batch: the rows.
        name: The policy's name.

    Raises:
        DataError: a probability differs from the logged propensity.
    """
    off = ~(np.abs(said - batch.propensity) <= TOLERANCE + TOLERANCE * batch.propensity)
    if off.any():
        row = int(np.flatnonzero(off)[0])
        raise DataError(
            f"{name!r} did not decide this log: it would have taken the action of decision {batch.decision_id[row]!r} "
            f"with probability {float(said[row])!r}, logged is {float(batch.propensity[row])!r} ({int(off.sum())} such "
            f"rows in chunk {batch.chunk})",
            hint="name the policy that drew the logged actions",
        )


@dataclass(frozen=True)
class Mips(Ips):
    """mean(w(x, e) r), w(x, e) = target / logging probability of the logged action's attributes e.

    Saito & Joachims (2022), section 3. Unbiased where an action acts on the reward through these attributes alone (no
    direct effect); actions that share their attributes then speak for each other, which many actions
    need. Attributes of a catalog are known for every action, so the weight is a sum over actions, not an estimate.
    """

    name: str = "mips"
    numerator: ClassVar[str] = "embedding_weighted_reward"
    weight: ClassVar[str] = EMBEDDING_WEIGHT
    caution: ClassVar[str] = (
        "holds only where the action acts through the chosen attributes alone: otherwise a bias that the interval "
        "does not hold"
    )


@dataclass(frozen=True)
class Smips(Mips):
    """sum(w(x, e) r) / sum(w(x, e)): SNIPS with the weights of the attributes.

    Saito & Joachims (2022) for the weights, Swaminathan & Joachims (2015) for the ratio. It asks of the attributes what
    MIPS asks.
    """

    name: str = "smips"
    denominator: ClassVar[str] = EMBEDDING_WEIGHT


@dataclass(frozen=True)
class OffCem(Dr):
    """mean(sum over a of target(a) q(a) + w(x, e) (r - q(logged))): attributes by weight, what is left by the model.

    Saito, Ren & Joachims (2023), section 3. Unbiased where the model has the differences between actions of the same
    attributes right (local correctness), which asks less than MIPS does of the attributes and less than DM does of the
    model. But there the model's error enters the value undamped, as in DM, and no row shows it: around the spread of
    the terms an interval of 95 % held the truth in 88.7 % of 300 logs. So it carries none.
    """

    name: str = "offcem"
    numerator: ClassVar[str] = "conjunct_effect"
    weight: ClassVar[str] = EMBEDDING_WEIGHT
    has_interval: ClassVar[bool] = False
    caution: ClassVar[str] = (
        "no interval: what the reward model gets wrong between actions of the same attributes is in the figure, and no "
        "row shows it"
    )
