"""Prices for one run over contacts: sample, solve, and a plan that decides under them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.contacts.contacts import ContactBatch
from engine.content.eligibility import is_modular
from engine.decide.groups import held_out
from engine.decide.plan import Plan, decision_ids
from engine.eligibility import unpack
from engine.errors import ArtefactError, LearnError, ParameterError
from engine.features import ContextBatch, FeatureSchema
from engine.identity import contact_pseudonyms, keyed_hash
from engine.log.parquet import LogReader
from engine.protocols import Policy
from engine.time.localtime import instant_of
from engine.types import HOLD, FloatArray
from policies.prices.baseline import load_baseline, named_baseline
from policies.prices.config import AUTO, NONE, PriceConfig
from policies.prices.priced import priced
from policies.prices.pricing import GroupCut, Prices, Problem, find_prices, prices_from
from policies.prices.problem import BASELINE, day_problem, group_cut
from policies.prices.use import Contacts, ContactSample, Use, expected_use, no_use, row_sends, sample_keys
from policies.trained import TrainedFolder
from policies.vw.scoring.compiled import CompiledPolicy

# Contacts on which several prices are first looked for.
_ROUGH: Final = 2_000
# From a policy under prices to the one that decides, with a randomised share for instance.
Wrap = Callable[[Policy], Policy]


class PriceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One budget and its price.

    Attributes:
        name: the budget; "baseline_volume" is the baseline's, "floor FEATURE GROUP" a least share.
        unit: messages, usd, or share (sends that the group is short of).
        budget: what this run may use, in that unit.
        expected: use that is expected at the prices, over the exact distributions; `stderr` comes from the sample of
            contacts alone, 0 where prices were found on all of them.
        price: what one unit costs, in units of the reward; 0 where the budget does not bind.
    """

    name: str
    unit: str
    budget: float
    expected: float
    stderr: float
    price: float


class PricesOutput(msgspec.Struct, frozen=True, kw_only=True):
    """Prices in force.

    Attributes:
        version: version of the prices, part of the policy's version.
        rows: one per budget.
        baseline: whose volume is the bound, "" where none is.
        baseline_sends: messages that it is expected to send to the same contacts, or null.
        contacts: decided for; of them `sampled` were looked at.
        note: what the figures do not say.
    """

    version: str = ""
    rows: tuple[PriceRow, ...] = ()
    baseline: str = ""
    baseline_sends: float | None = None
    contacts: int = 0
    sampled: int = 0
    note: str = ""


@dataclass(frozen=True)
class Baseline:
    """Whose volume is the bound.

    Attributes:
        name: its name for people.
        policy: None where the volume was given as a number.
        sends: the number of messages; None where a policy gives it.
    """

    name: str
    policy: Policy | None = None
    sends: float | None = None


def baseline_of(
    config: PriceConfig, policy: TrainedFolder | None, catalog: Catalog, schema: FeatureSchema
) -> Baseline | None:
    """The baseline that the configuration means; None where there is none.

    Args:
        config: its `baseline`.
        policy: the trained folder that decides; it may keep a baseline.
        catalog / schema: the policy's.

    Raises:
        ArtefactError: no such folder, or of another catalog.
    """
    if config.allow_more_volume and (config.floor is None or config.floor.least != "baseline"):
        return None
    if not isinstance(config.baseline, str):
        return Baseline(f"{config.baseline:g} messages", sends=float(config.baseline))
    if config.baseline == NONE:
        return None
    folder = Path(config.baseline)
    if config.baseline == AUTO:
        found = named_baseline(policy) if policy is not None else None
        return None if found is None else Baseline("static_segments", found)
    if not folder.is_dir():
        raise ArtefactError(
            f"there is no baseline {config.baseline!r}", hint="auto, none, a number of messages, or a folder"
        )
    return Baseline(folder.name, load_baseline(folder, catalog, schema))


def pricing_of(config: PriceConfig, policy: TrainedFolder | None, catalog: Catalog, schema: FeatureSchema) -> Pricing:
    """A configuration with its baseline.

    Raises:
        ArtefactError: see `baseline_of`.
        ParameterError: prices are asked for of a modular catalog.
    """
    if not is_modular(catalog):
        return Pricing(config, baseline_of(config, policy, catalog, schema))
    if not Pricing(config).needless or config.baseline not in (AUTO, NONE):
        raise ParameterError(
            "prices", "a modular catalog", allowed="none", got="budgets", hint="hold its volume with --limits"
        )
    return Pricing(config)


@dataclass(frozen=True)
class Pricing:
    """What is bounded, and the baseline.

    Attributes:
        config: budgets, floor, costs.
        baseline: None where none is known or wanted.
    """

    config: PriceConfig
    baseline: Baseline | None = None

    @property
    def needless(self) -> bool:
        """Whether nothing is to be priced."""
        asked = self.config.budgets or self.config.floor or self.config.charge_costs
        return not asked and self.baseline is None

    @property
    def note(self) -> str:
        """What must be said where the volume is not bounded without anybody having asked for it."""
        if self.config.allow_more_volume or self.baseline is not None or self.config.baseline == NONE:
            return ""
        return "no baseline is known, so the volume is not held to one: give it with prices.baseline"


@dataclass(frozen=True)
class Priced:
    """A sample of contacts and who decides for them.

    Attributes:
        policy: without prices.
        catalog: the catalog of the actions.
        batches: the sample.
        groups: the groups of a floor.
        uniform: share of the drawn decisions that take a uniform eligible action.
        wrap: what else happens to the policy's distribution.
    """

    policy: Policy
    catalog: Catalog
    batches: Sequence[Contacts]
    groups: GroupCut | None = None
    uniform: float = 0.0
    wrap: Wrap = lambda policy: policy

    def under(self, table: FloatArray) -> Policy:
        """The deciding policy under a price table."""
        return self.wrap(priced(self.policy, table, self.catalog, self.groups.cut if self.groups else None))

    def use_at(self, table: FloatArray) -> Use:
        """What is expected to be sent under a price table."""
        return self.use_of(self.under(table), self.uniform)

    def use_of(self, policy: Policy, uniform: float = 0.0) -> Use:
        """What any policy is expected to send to the sample."""
        cut = self.groups.cut if self.groups else None
        total = no_use(self.catalog.shape, cut.cells if cut else 1)
        for batch in self.batches:
            total = total + expected_use(policy, batch, cut, uniform)
        return total


def solve_prices(
    pricing: Pricing, who: Priced, contacts: int, now: datetime, start: Sequence[float] | None = None
) -> Prices:
    """Prices for one run.

    Args:
        pricing: what is bounded.
        who: decides, and the sample.
        contacts: number of contacts that the sample stands for.
        now: instant of the decisions.
        start: prices to begin with.

    Raises:
        ParameterError: a budget that no price meets.
        LearnError: budgets that no prices meet together.
    """
    config, baseline = pricing.config, pricing.baseline
    today = now.astimezone(ZoneInfo(config.zone)).date()
    cells = who.groups.cut.cells if who.groups else 1
    channels, _, arms = who.catalog.shape
    unpriced = who.use_at(np.zeros((cells, channels, arms)))
    theirs: Use | float | None = None
    if baseline is not None:
        theirs = baseline.sends if baseline.policy is None else who.use_of(baseline.policy)
    problem = day_problem(config, who.catalog, who.groups, contacts, today, unpriced, theirs)
    prices = find_prices(problem, who.use_at, start)
    sends = next((term.budget for term in problem.terms if term.name == BASELINE), None)
    policy = baseline.policy if baseline else None
    return msgspec.structs.replace(
        prices,
        baseline=baseline.name if baseline else "",
        baseline_sends=sends,
        stderr=_errors(problem, who, prices, policy) if prices.sampled < contacts else prices.stderr,
    )


def _errors(problem: Problem, who: Priced, prices: Prices, baseline: Policy | None) -> tuple[float, ...]:
    """(J,) standard errors of the expected use because of the sample, less the baseline's where it is the bound."""
    amounts = problem.amounts()
    policy = who.under(problem.table(prices.price))
    cut = who.groups.cut if who.groups else None
    sums, squares = np.zeros(len(amounts)), np.zeros(len(amounts))
    against = np.array([term.name.startswith(BASELINE) for term in problem.terms], dtype=np.bool_)
    for batch in who.batches:
        for rows in np.array_split(np.arange(batch.context.n), max(1, batch.context.n // 4096)):
            context, eligible = batch.context.take(rows), unpack(batch.packed[rows], batch.k)
            sends = row_sends(policy, context, eligible, batch.shape)
            group = cut.cell_of(context) if cut else np.zeros(len(rows), dtype=np.int64)
            used = np.stack([(amount[group] * sends).sum(axis=(1, 2)) for amount in amounts], axis=1)
            if baseline is not None and against.any():
                theirs = row_sends(baseline, context, eligible, batch.shape)
                own = np.stack([(amount[group] * theirs).sum(axis=(1, 2)) for amount in amounts], axis=1)
                used = used - np.where(against, own, 0.0)
            sums += used.sum(axis=0)
            squares += (used * used).sum(axis=0)
    rows_seen = max(prices.sampled, 2)
    variance = np.maximum(squares - sums * sums / rows_seen, 0.0) / (rows_seen - 1)
    left = 1.0 - prices.sampled / problem.contacts
    errors = problem.contacts * np.sqrt(variance / rows_seen * max(left, 0.0))
    return tuple(errors.tolist())


def plan_under_prices(
    plan: Plan,
    batches: Iterable[ContactBatch],
    schema: FeatureSchema,
    pricing: Pricing,
    now: datetime,
) -> tuple[Plan, Prices]:
    """The plan whose policy decides under prices, which are found on the contacts before any of them is decided for.

    Args:
        plan: the plan with its stores; nothing is promised or taken here.
        batches: the contacts that will be decided for.
        schema: the schema of their features.
        pricing: what is bounded.
        now: instant of the decisions.

    Raises:
        ParameterError, LearnError: see `solve_prices`.
    """
    groups = group_cut(pricing.config, schema)
    sample = ContactSample(pricing.config.sample, plan.catalog.shape)
    for batch in batches:
        _offer(plan, batch, sample, now)
    who = Priced(plan.policy, plan.catalog, sample.batches(), groups, plan.slice_probability)
    prices = solve_prices(pricing, who, sample.seen, now, _rough(pricing, who, sample, now))
    return plan_with_prices(plan, prices), prices


def plan_with_prices(plan: Plan, prices: Prices) -> Plan:
    """The plan whose policy decides under these prices."""
    policy = priced(plan.policy, prices.table(plan.catalog), plan.catalog, prices.cut)
    version = versioned(plan.policy_version, prices)
    return replace(plan, policy=policy, policy_version=version, prices=prices.to_builtins())


def recorded_prices(plan: Plan, first: ContactBatch, now: datetime) -> Prices | None:
    """The prices under which an earlier run decided for some of these contacts; None where none did, or without prices.

    They were found on what was known then: found anew they would be others, and one day would be decided under two.

    Raises:
        DataError, StorageError: see `DecisionRecords.read`.
    """
    if plan.promises is None:
        return None
    now_at = instant_of(now, owner="prices")
    found = plan.promises.store.decided(decision_ids(first.contact_id, plan, now_at).tolist(), now_at=now_at)
    plain = None if found is None else msgspec.json.decode(found.settings[0]).get("prices")
    return None if plain is None else prices_from(plain, source="the state store")


def _rough(pricing: Pricing, who: Priced, sample: ContactSample, now: datetime) -> tuple[float, ...] | None:
    """Prices for a small part of the sample, where that saves time: the search on all of it begins there."""
    if min(sample.size, sample.seen) < 4 * _ROUGH:
        return None
    try:
        return solve_prices(pricing, replace(who, batches=sample.batches(_ROUGH)), sample.seen, now).price
    except (ParameterError, LearnError):
        # What cannot be met by so few may well be by all.
        return None


def _offer(plan: Plan, batch: ContactBatch, sample: ContactSample, now: datetime) -> None:
    now_at = instant_of(now, owner="prices")
    ids = decision_ids(batch.contact_id, plan, now_at)
    keys = sample_keys(ids)
    rows = np.flatnonzero(sample.wanted(keys))
    if not len(rows):
        return
    contacts = batch.take(rows)
    who = contact_pseudonyms(contacts.contact_id, plan.contact_key)
    if plan.promises is not None:
        contacts, _ = plan.promises.contacts(contacts, who, ids[rows].tolist(), plan.catalog, now_at)
    eligibility, _ = plan.guardrails.eligibility(replace(contacts, contact_id=who), now, plan.sender)
    drawn = ~held_out(keyed_hash(who, "cluster"), plan)
    sample.add(keys[rows], drawn, contacts.context, eligibility.packed())


def versioned(version: str, prices: Prices) -> str:
    """The version of a policy under prices; without any price that of the policy."""
    return f"{version}+{prices.version}" if any(prices.price) or prices.costs.charged else version


def shown_prices(pricing: Pricing | None, prices: Prices | None) -> PricesOutput | None:
    """Prices as they are printed; None where nothing was asked for and nothing must be said."""
    note = pricing.note if pricing else ""
    if prices is None:
        return PricesOutput(note=note) if note else None
    columns = zip(prices.terms, prices.expected, prices.stderr, prices.price, strict=True)
    return PricesOutput(
        version=prices.version,
        rows=tuple(
            PriceRow(name=term.name, unit=term.unit, budget=term.budget, expected=use, stderr=error, price=price)
            for term, use, error, price in columns
        ),
        baseline=prices.baseline,
        baseline_sends=prices.baseline_sends,
        contacts=prices.contacts,
        sampled=prices.sampled,
        note=note,
    )


def prices_in_force(reader: LogReader, version: str | None) -> Prices | None:
    """The prices that the decisions of a policy version were made with; None where there were none.

    Raises:
        DataError: a footer of another version.
    """
    if not isinstance(reader.meta.prices, dict) or version not in reader.meta.prices:
        return None
    return prices_from(reader.meta.prices[version], source=f"the footer of {reader.path}")


@dataclass(frozen=True)
class Charged:
    """A decision under prices.

    Attributes:
        policy: the policy that decided; the folder's own where there were no prices.
        price: (k,) of each action in the metric's unit, 0 for hold.
        prices: the prices in force, as they are printed; None where there were none.
        notes: what a reader must know.
    """

    policy: Policy
    price: FloatArray
    prices: PricesOutput | None = None
    notes: tuple[str, ...] = ()


def charged(reader: LogReader, version: str, policy: Policy, context: ContextBatch) -> Charged:
    """The prices that the footer keeps for a policy version, applied to its policy.

    Args:
        reader: the log.
        version: version of the decision's policy.
        policy: the policy of the folder.
        context: the decision's.

    Raises:
        DataError: prices of another version of Tactful.
    """
    prices = prices_in_force(reader, version)
    if prices is None:
        return Charged(policy, np.zeros(reader.meta.catalog.k))
    catalog = reader.meta.catalog
    under = priced(policy, prices.table(catalog), catalog, prices.cut)
    price = _of_actions(prices, reader, context)
    notes: tuple[str, ...] = ()
    if price.any():
        notes = (
            "probabilities and the reason of a hold count the price of each message; scores are before prices"
            if isinstance(policy, CompiledPolicy)
            else "each send keeps exp(-price) of its probability: the policy has no scores to charge",
        )
    return Charged(under, price, shown_prices(None, prices), notes)


def policy_under_prices(reader: LogReader, policy: Policy) -> Policy | None:
    """The policy that decided a whole log, under the prices of its footer; None where they changed within the log.

    Raises:
        DataError: prices of another version of Tactful.
    """
    versions = reader.meta.prices if isinstance(reader.meta.prices, dict) else {}
    if not versions:
        return policy
    if len(versions) > 1:
        return None
    prices = prices_in_force(reader, next(iter(versions)))
    if prices is None:
        return policy
    return priced(policy, prices.table(reader.meta.catalog), reader.meta.catalog, prices.cut)


def _of_actions(prices: Prices, reader: LogReader, context: ContextBatch) -> FloatArray:
    catalog = reader.meta.catalog
    group = int(prices.cut.cell_of(context)[0]) if prices.cut else 0
    channel, _, arm = catalog.split(np.arange(catalog.k))
    price = prices.table(catalog)[group][channel, arm]
    price[HOLD] = 0.0
    return np.asarray(price, dtype=np.float64)
