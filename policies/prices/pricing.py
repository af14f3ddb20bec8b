"""From budgets to prices, and the record that says so: what a decision's probabilities were made with.

Each term bounds a sum over sends, and its multiplier is a price of the sends that it counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.errors import DataError, ParameterError, reason_of
from engine.types import BoolArray, FloatArray
from policies.peers.segmentation import Cut
from policies.prices.solve import Dual
from policies.prices.use import Use

Unit = Literal["messages", "usd", "share"]
# A price table (G, C, K) -> the expected use of the sampled contacts under it.
UseAt = Callable[[FloatArray], Use]
# A budget of 0 is met by so many expected messages (or USD): no finite price makes them none.
_NOTHING: Final = 1e-3


class Costs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one send costs in USD: by channel plus by arm; what is not named costs nothing.

    Attributes:
        channel / arm: name -> USD.
        charged: subtracted from every score as they are.
    """

    channel: dict[str, float] = {}
    arm: dict[str, float] = {}
    charged: bool = False

    def table(self, catalog: Catalog) -> FloatArray:
        """Give what each send costs: (C, K), in USD.

        Raises:
            ParameterError: a channel or arm that the catalog does not have: a typing error would be a free send.
        """
        for key, known, named in (
            ("channel_cost_usd", catalog.channels, self.channel),
            ("arm_cost_usd", catalog.arm_ids, self.arm),
        ):
            if unknown := sorted(set(named) - set(known)):
                raise ParameterError(key, "prices", allowed="names of the catalog", got=unknown)
        channel = np.array([self.channel.get(name, 0.0) for name in catalog.channels])
        arm = np.array([self.arm.get(name, 0.0) for name in catalog.arm_ids])
        table: FloatArray = channel[:, None] + arm
        return table


class Term(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One constraint: the expected use of all contacts together is at most `budget`.

    Attributes:
        name: the name of the budget, "baseline_volume", "baseline_volume CHANNEL", or "floor GROUP".
        unit: messages; usd; or share: sends that a group is short of, see `share`.
        budget: in that unit, for the contacts of one run; 0 for a share.
        channels: the channels that count; None is all.
        purposes: the purposes that count.
        group: of a share, the group; -1 otherwise.
        share: of all counted sends, the least that the group gets.
        least: the other way round: at least `budget` messages.
    """

    name: str
    unit: Unit
    budget: float
    channels: tuple[str, ...] | None = None
    purposes: tuple[str, ...] = ("promotional",)
    group: int = -1
    share: float = 0.0
    least: bool = False

    def counted(self, catalog: Catalog) -> BoolArray:
        """(C, K) the sends that count.

        Raises:
            ParameterError: a channel that the catalog does not have: a typing error would be no budget.
        """
        if unknown := sorted(set(self.channels or ()) - set(catalog.channels)):
            raise ParameterError("channels", f"budget {self.name!r}", allowed=f"among {catalog.channels}", got=unknown)
        channel = np.array([self.channels is None or name in self.channels for name in catalog.channels])
        arm = np.array([arm.purpose in self.purposes for arm in catalog.arms])
        both: BoolArray = channel[:, None] & arm
        return both

    def amounts(self, catalog: Catalog, costs: Costs, groups: int) -> FloatArray:
        """(G, C, K) what one send uses.

        Raises:
            ParameterError: an unknown channel or arm.
        """
        counted = self.counted(catalog).astype(np.float64)
        if self.unit == "usd":
            counted *= costs.table(catalog)
        every = np.repeat(counted[None], groups, axis=0)
        if self.unit == "share":
            others = every * self.share
            others[self.group] -= counted
            return others
        return -every if self.least else every

    @property
    def limit(self) -> float:
        """The right side: the sum of the amounts is at most this."""
        return -self.budget if self.least else self.budget


def price_table(
    terms: Sequence[Term], prices: Sequence[float], costs: Costs, catalog: Catalog, groups: int
) -> FloatArray:
    """(G, C, K) what is subtracted from the score of a send, in reward units.

    Raises:
        ParameterError: an unknown channel or arm.
    """
    charged = costs.table(catalog) if costs.charged else np.zeros((len(catalog.channels), len(catalog.arms)))
    table = np.repeat(charged[None], groups, axis=0)
    for term, price in zip(terms, prices, strict=True):
        if price:
            table += price * term.amounts(catalog, costs, groups)
    return table


class GroupCut(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The groups of contacts, as plain data; see `policies.peers.segmentation.Cut`."""

    feature: str
    edges: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()

    @property
    def cut(self) -> Cut:
        return Cut(self.feature, self.edges, self.levels, numeric=not self.levels)


class Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Prices in force, with everything that is needed to apply them again.

    Attributes:
        terms: what was bounded.
        price: (J,) reward units per unit of each term.
        expected: (J,) use that is expected at these prices; of a share, sends beyond what the group must get (below 0).
        stderr: (J,) of `expected` because prices were found on a sample; 0 where on all contacts.
        costs: the costs of sends.
        groups: the groups of a floor.
        contacts: the contacts that were decided for.
        sampled: of them, those that the prices were found on.
        baseline: whose volume was the bound, "" where there was none.
        baseline_sends: its expected sends; None where it is not known.
        evaluations: times that the expected use was computed.
        tolerance: asked for.
    """

    terms: tuple[Term, ...]
    price: tuple[float, ...]
    expected: tuple[float, ...]
    stderr: tuple[float, ...]
    costs: Costs = Costs()
    groups: GroupCut | None = None
    contacts: int = 0
    sampled: int = 0
    baseline: str = ""
    baseline_sends: float | None = None
    evaluations: int = 0
    tolerance: float = 0.001

    @property
    def cut(self) -> Cut | None:
        return self.groups.cut if self.groups else None

    @property
    def version(self) -> str:
        """8 hex digits of what the probabilities depend on."""
        deciding = [self.terms, self.price, self.costs, self.groups]
        return hashlib.sha256(msgspec.json.encode(deciding, order="deterministic")).hexdigest()[:8]

    def table(self, catalog: Catalog) -> FloatArray:
        """(G, C, K) what is subtracted from the scores of sends.

        Raises:
            ParameterError: another catalog.
        """
        groups = self.cut.cells if self.cut else 1
        return price_table(self.terms, self.price, self.costs, catalog, groups)

    def to_builtins(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars, for file footers."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built


def prices_from(data: Any, *, source: str = "prices") -> Prices:
    """Read what `Prices.to_builtins` made.

    Raises:
        DataError: something else.
    """
    try:
        return msgspec.convert(data, Prices)
    except msgspec.ValidationError as error:
        why = reason_of(error)
        raise DataError(f"{source} holds no prices: {why}", hint="it was written by another version") from error


@dataclass(frozen=True)
class Problem:
    """What is to be priced.

    Attributes:
        catalog: the catalog of the actions.
        terms: J of them.
        costs: the costs of sends.
        groups: the groups of a floor, or None.
        contacts: the contacts that the sample stands for.
        tolerance: see `policies.prices.config.PriceConfig`.
    """

    catalog: Catalog
    terms: tuple[Term, ...]
    costs: Costs = field(default_factory=Costs)
    groups: GroupCut | None = None
    contacts: int = 0
    tolerance: float = 0.001

    @property
    def cells(self) -> int:
        """G, the number of groups of contacts."""
        return self.groups.cut.cells if self.groups else 1

    def amounts(self) -> FloatArray:
        """(J, G, C, K) what one send uses of each term."""
        channels, _, arms = self.catalog.shape
        made = [term.amounts(self.catalog, self.costs, self.cells) for term in self.terms]
        return np.stack(made) if made else np.zeros((0, self.cells, channels, arms))

    def table(self, price: Sequence[float] | FloatArray) -> FloatArray:
        """(G, C, K) price of a send."""
        prices = [float(value) for value in price]
        return price_table(self.terms, prices, self.costs, self.catalog, self.cells)


def find_prices(problem: Problem, use_at: UseAt, start: Sequence[float] | None = None) -> Prices:
    """The prices at which every term holds, or says which cannot.

    Args:
        problem: the terms.
        use_at: expected use under a price table; exact sums, whoever computes them.
        start: prices of another day to begin with, one per term.

    Raises:
        ParameterError: a budget below what exploration sends at any price, or a floor that no price reaches.
        LearnError: terms that cannot hold together.
    """
    # Those that count most sends first: their price often makes others needless.
    wide = np.argsort([-int(term.counted(problem.catalog).sum()) for term in problem.terms], kind="stable")
    order = [int(term) for term in wide]
    amounts = problem.amounts()[order]
    bounds = np.array([_limit(problem.terms[term]) for term in order])
    back = np.argsort(order) if order else np.zeros(0, dtype=np.int64)
    seen: dict[str, Use] = {}

    def evaluate(price: FloatArray) -> tuple[FloatArray, FloatArray]:
        use = seen["last"] = use_at(problem.table(price[back]))
        sends = use.sends * (problem.contacts / max(use.rows, 1))
        used = np.array([float((amount * sends).sum()) for amount in amounts])
        needed = np.array([float((np.maximum(amount, 0.0) * sends).sum()) for amount in amounts])
        share = np.array([problem.terms[term].unit == "share" for term in order], dtype=np.bool_)
        return used, np.where(share, needed, np.abs(bounds))

    names = tuple(problem.terms[term].name for term in order)
    begin = None if start is None else np.array(start)[order]
    solution = Dual(names, bounds, evaluate, tolerance=problem.tolerance).solve(begin)
    rows = seen["last"].rows if seen else use_at(problem.table([])).rows
    return Prices(
        terms=problem.terms,
        price=tuple(solution.price[back].tolist()),
        expected=tuple(solution.use[back].tolist()),
        stderr=(0.0,) * len(order),
        costs=problem.costs,
        groups=problem.groups,
        contacts=problem.contacts,
        sampled=rows,
        evaluations=solution.evaluations,
        tolerance=problem.tolerance,
    )


def _limit(term: Term) -> float:
    return term.limit if term.least or term.unit == "share" else max(term.limit, _NOTHING)
