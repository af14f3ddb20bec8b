"""Synthetic policies and contacts for the tests of prices."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.catalog import Catalog
from engine.eligibility import pack
from engine.encoder import fit_encoder
from policies.check import random_eligible
from policies.exploring.config import ExplorationConfig
from policies.peers.segmentation import Cut
from policies.prices.priced import priced
from policies.prices.pricing import Prices, Problem, Term, find_prices
from policies.prices.use import Contacts, expected_use
from policies.vw.scoring.compiled import CompiledPolicy
from policies.vw.scoring.tables import ScoreTables

SQUARECB = ExplorationConfig(kind="squarecb", gamma_scale=5.0, ceiling=0.3, floor=0.01)
KINDS = {
    "greedy": ExplorationConfig(kind="greedy"),
    "epsilon_greedy": ExplorationConfig(kind="epsilon_greedy", epsilon=0.05),
    "softmax": ExplorationConfig(kind="softmax", inverse_temperature=8.0),
    "squarecb": SQUARECB,
}


def tables_for(world: Any, seed: int) -> tuple[Any, ScoreTables]:
    encoder = fit_encoder(world.schema, [world.context(200, 0)])
    rng = np.random.default_rng(seed)
    made = {
        name: (0.1 * rng.normal(size=shape)).astype(np.float32)
        for name, shape in ScoreTables.shapes(world.catalog, encoder.d).items()
    }
    made["channel"][:, -1] += 0.3
    made["limits"] = np.array([-np.inf, np.inf], dtype=np.float32)
    return encoder, ScoreTables(**made)


def policy_for(world: Any, exploration: ExplorationConfig = SQUARECB) -> CompiledPolicy:
    encoder, tables = tables_for(world, 1)
    return CompiledPolicy(world.catalog, encoder, tables, exploration, 400, "vw", "v", fast=False)


def contacts_of(world: Any, n: int, seed: int = 3) -> Contacts:
    eligible = random_eligible(world.catalog, n, np.random.default_rng(seed))
    return Contacts(world.context(n, seed), pack(eligible), world.catalog.shape, n)


def use_at(policy: Any, contacts: Contacts, catalog: Catalog, cut: Cut | None = None, uniform: float = 0.0) -> Any:
    return lambda table: expected_use(priced(policy, table, catalog, cut), contacts, cut, uniform)


def total(budget: float, **more: Any) -> Term:
    return Term(name="all", unit="messages", budget=budget, purposes=("promotional", "transactional"), **more)


def solved(world: Any, *terms: Term, exploration: ExplorationConfig = SQUARECB, n: int = 600, **more: Any) -> Prices:
    contacts = contacts_of(world, n)
    problem = Problem(world.catalog, terms, contacts=n, **more)
    return find_prices(
        problem,
        use_at(policy_for(world, exploration), contacts, world.catalog, problem.groups.cut if problem.groups else None),
    )
