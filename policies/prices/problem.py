"""The terms of a day: from the configuration, the date, and what the baseline sends to the same contacts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

import numpy as np

from engine.catalog import Catalog
from engine.errors import ConfigError, ParameterError
from engine.features import FeatureSchema
from engine.types import FloatArray, IntArray
from policies.prices.config import BudgetSpec, FloorSpec, PriceConfig
from policies.prices.pricing import Costs, GroupCut, Problem, Term, Unit
from policies.prices.use import Use

BASELINE: Final = "baseline_volume"
COUNTED: Final = ("promotional",)


def group_cut(config: PriceConfig, schema: FeatureSchema) -> GroupCut | None:
    """The groups of the floor, checked against the schema.

    Raises:
        ConfigError: an unknown feature, or edges of a categorical one (levels of a numeric one).
    """
    floor = config.floor
    if floor is None:
        return None
    types = {spec.name: spec.type for spec in schema.features}
    if floor.feature not in types:
        raise ConfigError(f"the floor names the unknown feature {floor.feature!r}", hint=f"one of {sorted(types)}")
    if (types[floor.feature] == "numeric") != bool(floor.edges):
        raise ConfigError(
            f"{floor.feature!r} is {types[floor.feature]}", hint="give edges of a numeric feature, else levels"
        )
    return GroupCut(feature=floor.feature, edges=floor.edges, levels=floor.levels)


def day_problem(
    config: PriceConfig,
    catalog: Catalog,
    groups: GroupCut | None,
    contacts: int,
    today: date,
    unpriced: Use,
    baseline: Use | float | None,
    used: Mapping[str, float] | None = None,
) -> Problem:
    """What is to be priced today.

    Args:
        config: budgets, floor, tolerance.
        catalog: the catalog of the actions.
        groups: see `group_cut`.
        contacts: the contacts that are decided for.
        today: in the budgets' zone.
        unpriced: use of the policy without prices, for the groups' contacts.
        baseline: what the baseline sends to the same sampled contacts, or to all of them as a number; None is unknown.
        used: budget -> what was used before today, where it is known better than in the configuration.

    Raises:
        ParameterError: a channel or arm that the catalog does not have, or a campaign that is over.
        ConfigError: a floor by the baseline's shares without a baseline.
    """
    terms = [_bounded(spec, allowance(spec, today, (used or {}).get(spec.name))) for spec in config.budgets]
    if baseline is not None and not config.allow_more_volume:
        terms += _volume(catalog, contacts, baseline, config.per_channel)
    if config.floor is not None:
        terms += _floors(config.floor, catalog, unpriced, baseline)
    problem = Problem(catalog, tuple(terms), _costs(config), groups, contacts, config.tolerance)
    problem.amounts()
    return problem


def campaign_use(config: PriceConfig, catalog: Catalog, sent: IntArray) -> dict[str, float]:
    """Campaign budget -> what it has used, with what some sends took.

    Args:
        config: its budgets and costs.
        catalog: the catalog of the actions.
        sent: (C, K) sends that left.

    Raises:
        ParameterError: a channel or arm that the catalog does not have.
    """
    return {
        spec.name: spec.used + float((_bounded(spec, 0.0).amounts(catalog, _costs(config), 1)[0] * sent).sum())
        for spec in config.budgets
        if spec.per == "campaign"
    }


def _bounded(spec: BudgetSpec, budget: float) -> Term:
    unit: Unit = "messages" if spec.usd is None else "usd"
    return Term(name=spec.name, unit=unit, budget=budget, channels=spec.channels, purposes=spec.purposes)


def _costs(config: PriceConfig) -> Costs:
    return Costs(channel=config.channel_cost_usd or {}, arm=config.arm_cost_usd or {}, charged=config.charge_costs)


def _volume(catalog: Catalog, contacts: int, baseline: Use | float, per_channel: bool) -> list[Term]:
    if not isinstance(baseline, Use):
        return [Term(name=BASELINE, unit="messages", budget=float(baseline), purposes=COUNTED)]
    counted = Term(name=BASELINE, unit="messages", budget=0.0, purposes=COUNTED).counted(catalog)
    by_channel = (baseline.sends.sum(axis=0) * counted).sum(axis=1) * (contacts / max(baseline.rows, 1))
    terms = [Term(name=BASELINE, unit="messages", budget=float(by_channel.sum()), purposes=COUNTED)]
    if per_channel:
        terms += [
            Term(name=f"{BASELINE} {name}", unit="messages", budget=float(sends), channels=(name,), purposes=COUNTED)
            for name, sends in zip(catalog.channels, by_channel, strict=True)
        ]
    return terms


def _floors(floor: FloorSpec, catalog: Catalog, unpriced: Use, baseline: Use | float | None) -> list[Term]:
    shares = _shares(floor, catalog, unpriced, baseline)
    top = (len(floor.edges) if floor.edges else len(floor.levels) - 1,)
    wanted = top if floor.groups == "top" else range(len(shares))
    return [
        Term(
            name=f"floor {floor.feature} {group}",
            unit="share",
            budget=0.0,
            purposes=floor.purposes,
            group=group,
            share=float(shares[group]),
        )
        for group in wanted
        if shares[group] > 0.0
    ]


def _shares(floor: FloorSpec, catalog: Catalog, unpriced: Use, baseline: Use | float | None) -> FloatArray:
    """(G,) least share of the sends of each group."""
    if floor.least != "baseline":
        shares: FloatArray = floor.least * unpriced.sendable / max(int(unpriced.sendable.sum()), 1)
        return shares
    if not isinstance(baseline, Use):
        raise ConfigError("floor.least=baseline needs a baseline policy", hint="name it with prices.baseline")
    counted = Term(name="floor", unit="share", budget=0.0, purposes=floor.purposes).counted(catalog)
    sends = (baseline.sends * counted).sum(axis=(1, 2))
    return np.asarray(sends / max(float(sends.sum()), 1e-12))


def allowance(spec: BudgetSpec, today: date, used: float | None = None) -> float:
    """What a run of today may use: of a day what is left, of a campaign an even part of what is left.

    What one day leaves goes to the days after it, and what it takes too much comes from them, so the campaign's sum is
    met however single days come out.

    Args:
        spec: the budget.
        today: in the budgets' zone.
        used: before this run; None takes the budget's own figure.

    Raises:
        ParameterError: a campaign that is over.
    """
    left = max(0.0, spec.amount - (spec.used if used is None else used))
    if spec.per == "day":
        return left
    days = (spec.last_day() - today).days + 1
    if days < 1:
        raise ParameterError("ends", f"budget {spec.name!r}", allowed=f"{today} or later", got=spec.ends)
    return left / days
