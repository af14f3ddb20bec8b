"""Prices of a simulated day: found anew every morning over the contacts in the workers, before any is decided for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from engine.decide.groups import slice_probability
from engine.guardrails.conditions import Conditions
from engine.protocols import Policy
from engine.storage.artefact import MANIFEST, sha256
from engine.types import FloatArray
from experiments.serve.prices import Pricing, pricing_of, versioned
from experiments.simulate.daily import FinishedDay
from experiments.simulate.policies import ExploredPolicy
from experiments.simulate.run_spec import DayPolicy, SimulateConfig
from experiments.simulate.workers import Workers
from policies.prices.config import PriceConfig
from policies.prices.priced import priced
from policies.prices.pricing import Prices, find_prices, prices_from
from policies.prices.problem import BASELINE, campaign_use, day_problem, group_cut
from policies.prices.use import Use, no_use
from policies.trained import TrainedFolder
from simulator.scenario import Scenario


@dataclass(frozen=True)
class DayPrices:
    """Prices of every day of a run.

    Attributes:
        config: configuration of the run.
        scenario: its catalog and calendar.
        pricing: what is bounded.
    """

    config: SimulateConfig
    scenario: Scenario
    pricing: Pricing

    def today(
        self, workers: Workers, step: int, who: DayPolicy, conditions: Conditions, days: Sequence[FinishedDay]
    ) -> tuple[DayPolicy, Prices | None]:
        """Who decides on a day, under prices; the randomised share comes on top of them.

        Args:
            workers: those of the run.
            step: number of the day.
            who: would decide without prices.
            conditions: the sender's side.
            days: that are over: what they sent counts against campaigns, their prices are where the search begins.

        Raises:
            ParameterError: a budget below what exploration sends at any price, or a campaign that is over.
            LearnError: budgets that no prices meet together.
        """
        if self.pricing.needless:
            return who, None
        found: list[int] = workers.each("look", step, conditions, self._share)
        contacts = sum(found)
        if not contacts:
            return who, None
        groups = group_cut(self.pricing.config, self.scenario.features)
        cut, catalog = groups.cut if groups else None, self.scenario.catalog
        cells = cut.cells if cut else 1

        def use_of(policy: Policy, uniform: float) -> Use:
            return sum(workers.each("expected", policy, cut, uniform), start=no_use(catalog.shape, cells))

        def use_at(table: FloatArray) -> Use:
            return use_of(self._explored(priced(who.policy, table, catalog, cut)), self._uniform)

        now = self.scenario.calendar.now(step)
        unpriced = use_at(np.zeros((cells, catalog.shape[0], catalog.shape[2])))
        baseline: Use | float | None = None
        if self.pricing.baseline is not None:
            theirs = self.pricing.baseline
            baseline = theirs.sends if theirs.policy is None else use_of(theirs.policy, 0.0)
        day = self._date(now)
        problem = day_problem(self.pricing.config, catalog, groups, contacts, day, unpriced, baseline, self._used(days))
        prices = find_prices(problem, use_at, _start(days, [term.name for term in problem.terms]))
        prices = msgspec.structs.replace(
            prices,
            baseline=self.pricing.baseline.name if self.pricing.baseline else "",
            baseline_sends=next((term.budget for term in problem.terms if term.name == BASELINE), None),
        )
        policy = priced(who.policy, prices.table(catalog), catalog, cut)
        return DayPolicy(policy, versioned(who.version, prices)), prices

    @property
    def _share(self) -> float:
        return min(1.0, self.pricing.config.sample / self.config.contacts)

    @property
    def _uniform(self) -> float:
        return slice_probability(self.config.control_share, self.config.uniform_share)

    def _explored(self, policy: Policy) -> Policy:
        share = self.config.explore_share
        return ExploredPolicy(policy, share) if share else policy

    def _date(self, now: datetime) -> date:
        return now.astimezone(ZoneInfo(self.pricing.config.zone)).date()

    def _used(self, days: Sequence[FinishedDay]) -> dict[str, float]:
        """Campaign budget -> what the days before have used, of sends that truly left."""
        catalog = self.scenario.catalog
        shape = (catalog.shape[0], catalog.shape[2])
        sent = np.array([day.cells for day in days if day.cells], dtype=np.int64).reshape(-1, *shape).sum(axis=0)
        return campaign_use(self.pricing.config, catalog, sent)


def day_prices(config: SimulateConfig, scenario: Scenario) -> DayPrices:
    """The prices of a run, with its baseline.

    Raises:
        ArtefactError: a baseline that is not there, or of another catalog.
    """
    folder = Path(config.policy)
    found = pricing_of(
        config.prices, TrainedFolder(folder) if folder.is_dir() else None, scenario.catalog, scenario.features
    )
    return DayPrices(config, scenario, found)


def baseline_file(config: PriceConfig) -> dict[str, str]:
    """What the prices depend on besides the configuration and the policy: the baseline's folder, where one is given."""
    manifest = Path(str(config.baseline)) / MANIFEST
    return {"baseline": sha256(manifest)} if manifest.is_file() else {}


def footer_prices(days: Sequence[FinishedDay]) -> dict[str, dict[str, Any]] | msgspec.UnsetType:
    """Policy version -> prices, for the log's footer; absent where no day had any."""
    found = {day.policy: day.prices for day in days if day.prices is not None}
    return found or msgspec.UNSET


def last_prices(days: Sequence[FinishedDay]) -> Prices | None:
    """Those of the last day that had any."""
    plain = next((day.prices for day in reversed(days) if day.prices is not None), None)
    return None if plain is None else prices_from(plain)


def _start(days: Sequence[FinishedDay], names: list[str]) -> tuple[float, ...] | None:
    before = last_prices(days)
    if before is None or [term.name for term in before.terms] != names:
        return None
    return before.price
