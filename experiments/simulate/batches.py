"""The batches of one worker: decide, live through the day, write what was decided and what came of it."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from engine.decide.batch import decide_batch
from engine.decide.groups import held_out
from engine.decide.plan import Plan, decision_ids
from engine.files.parquet import read_parquet
from engine.guardrails.conditions import NOTHING_SAID, Conditions
from engine.guardrails.counts import RemovalCounts, RuleCount
from engine.guardrails.layer import Guardrails
from engine.identity import contact_pseudonyms, keyed_hash
from engine.log.join import join
from engine.log.parquet import conform_to
from engine.log.whole_file import ParquetFile
from engine.protocols import Policy
from engine.records.schema import log_schema, outcome_schema
from engine.time.localtime import instant_of
from engine.types import HOLD, CodeArray, IntArray, ObjectArray
from experiments.simulate.checkpoint import load_batch, save_batch
from experiments.simulate.daily import Sums, before_sums, contact_groups, day_sums
from experiments.simulate.outcomes import DECIDED_STEP, outcome_table, scenario_metrics
from experiments.simulate.run_spec import DayPolicy, RunSpec, log_meta, plan_of
from policies.peers.constant import UniformPolicy
from policies.peers.segmentation import Cut
from policies.prices.use import Contacts, Use, expected_use, sample_keys
from simulator.scenario import scenario_from
from simulator.world.sender import Counts, counts_of
from simulator.world.world import World

# Contacts whose world a worker keeps between two days; others come back from their checkpoints.
RESIDENT = 200_000


@dataclass(frozen=True)
class BatchDay:
    """What a batch tells of one day.

    Attributes:
        sums: see `experiments.simulate.daily`.
        removed: rule id -> (rule, (contact, action) pairs removed, contacts left without a send by it alone).
        held: contacts with no send left.
        counts: what the sender sent and heard.
        cells: (C * K,) sends by channel and arm.
    """

    sums: Sums
    removed: dict[str, tuple[str, int, int]]
    held: int
    counts: Counts
    cells: IntArray


@dataclass
class _Resident:
    """A world at the start of a day, with what a run remembers of its contacts."""

    world: World
    group: CodeArray
    decided: IntArray
    step: int


class Batches:
    """The batches that one worker has.

    Args:
        spec: the run.
    """

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self._scenario = scenario_from(spec.scenario, spec.packages, source="scenario")
        self._guardrails = Guardrails(
            self._scenario.pack, self._scenario.catalog, spec.packages, self._scenario.features
        )
        self._metrics = scenario_metrics(self._scenario)
        self._window = self._scenario.spec.attribution_window_days / self._scenario.step_days
        self._worlds: OrderedDict[int, _Resident] = OrderedDict()
        self._who = DayPolicy(UniformPolicy(), "uniform")
        self._looked: dict[int, Contacts] = {}

    def use(self, _: int, who: DayPolicy) -> None:
        """Decide by this policy from now on."""
        self._who = who

    def live(self, batch: int, step: int, conditions: Conditions) -> BatchDay:
        """One day of a batch: decisions, events and the state after it are on disk when this returns.

        Args:
            batch: its number.
            step: number of the day.
            conditions: the sender's side.
        """
        there = self._at(batch, step)
        world, moment, now = there.world, there.world.moment, there.world.now
        sums = before_sums(world, there.group)
        rows = np.flatnonzero(world.deciding())
        action = np.zeros(world.n, dtype=np.int32)
        plan = self._plan(moment.day, conditions)
        removed = RemovalCounts()
        if len(rows):
            decided = decide_batch(plan, world.contacts(rows), now)
            action[rows] = np.where(decided.suppressed, 0, decided.action)
            removed = decided.removed
            meta = log_meta(self._spec, self._scenario, self._guardrails, conditions, "")
            with ParquetFile(self._spec.part("decisions", batch, step), log_schema(meta)) as file:
                file.append(conform_to(decided.table, log_schema(meta)))
            there.decided[rows] = step
        happened = world.advance(action)
        credited = np.where(step - there.decided <= self._window, there.decided, -1)
        self._write_outcomes(batch, step, outcome_table(world, happened, moment, credited, self._ids(world, plan)))
        sums |= day_sums(world, there.group, rows, happened)
        there.step = step + 1
        save_batch(self._spec.part("state", batch, step, "npz"), world.state, there.decided)
        counts = {name: (count.rule, count.pairs, count.contacts) for name, count in removed.rules.items()}
        return BatchDay(sums, counts, removed.held, counts_of(world, happened), self._cells(action))

    def look(self, batch: int, step: int, conditions: Conditions, share: float) -> int:
        """How many contacts a day decides for; a share of them, chosen by hash, is kept at hand for `expected`.

        Args:
            batch: its number.
            step: number of the day.
            conditions: the sender's side.
            share: share of the contacts, in (0, 1].
        """
        world = self._at(batch, step).world
        rows = np.flatnonzero(world.deciding())
        plan = self._plan(world.moment.day, conditions)
        ids = decision_ids(world.people.contact_id[rows], plan, instant_of(world.now, owner="simulate"))
        self._looked[batch] = self._seen(world, rows[sample_keys(ids) < share], plan)
        return len(rows)

    def expected(self, batch: int, policy: Policy, cut: Cut | None, uniform: float) -> Use:
        """What a policy is expected to send to the contacts that were looked at last."""
        return expected_use(policy, self._looked[batch], cut, uniform)

    def _seen(self, world: World, rows: IntArray, plan: Plan) -> Contacts:
        contacts = world.contacts(rows)
        who = contact_pseudonyms(contacts.contact_id, self._spec.contact_key)
        eligibility, _ = self._guardrails.eligibility(replace(contacts, contact_id=who), world.now, plan.sender)
        drawn = np.flatnonzero(~held_out(keyed_hash(who, "cluster"), plan))
        packed = eligibility.take(drawn).packed()
        return Contacts(contacts.context.take(drawn), packed, self._scenario.catalog.shape, len(rows))

    def _cells(self, action: CodeArray) -> IntArray:
        channels, _, arms = self._scenario.catalog.shape
        channel, _, arm = self._scenario.catalog.split(action[action != HOLD])
        return np.bincount(channel * arms + arm, minlength=channels * arms).astype(np.int64)

    def join(self, batch: int, step: int, last: int, now: datetime, kind: str) -> dict[str, Any] | None:
        """Join the outcomes to the decisions of one day, as far as they are known at `now`.

        Args:
            batch: its number.
            step: step of the decisions.
            last: last day that was lived.
            now: until when outcomes are known.
            kind: kind of the part to write.

        Returns:
            The counts of the join as plain data; None where nobody was decided for.
        """
        decisions = self._spec.part("decisions", batch, step)
        if not decisions.exists():
            return None
        until = min(step + int(self._window), last)
        found = [outcome_schema().empty_table()]
        for day in range(step, until + 1):
            path = self._spec.part("outcomes", batch, day)
            own = read_parquet(path, filters=[(DECIDED_STEP, "=", step)]).drop_columns([DECIDED_STEP])
            found.append(own.cast(outcome_schema()))
        report = join(decisions, pa.concat_tables(found), self._metrics, now, self._spec.part(kind, batch, step))
        return asdict(report)

    def _plan(self, day: float, conditions: Conditions) -> Plan:
        return plan_of(self._spec, self._scenario, self._guardrails, self._who, day, conditions)

    def _ids(self, world: World, plan: Plan) -> Any:
        def ids_of(rows: IntArray, step: int) -> ObjectArray:
            now_at = instant_of(self._scenario.calendar.now(step), owner="simulate")
            return decision_ids(world.people.contact_id[rows], plan, now_at)

        return ids_of

    def _write_outcomes(self, batch: int, step: int, table: pa.Table) -> None:
        with ParquetFile(self._spec.part("outcomes", batch, step), table.schema) as file:
            file.append(table)

    def _at(self, batch: int, step: int) -> _Resident:
        """The batch at the start of a day, from memory or from the checkpoint of the day before."""
        there = self._worlds.pop(batch, None)
        if there is None or there.step != step:
            there = self._make(batch, step)
        self._worlds[batch] = there
        while len(self._worlds) > 1 and len(self._worlds) * self._spec.block_rows > RESIDENT:
            self._worlds.popitem(last=False)
        return there

    def _make(self, batch: int, step: int) -> _Resident:
        first, n = self._spec.rows(batch)
        world = World(self._scenario, n, self._spec.seed, first=first, guardrails=self._guardrails)
        # Nobody was decided for so long ago that nothing is credited to it any more.
        decided: IntArray = np.full(n, -(1 << 40), dtype=np.int64)
        if step:
            decided = load_batch(self._spec.part("state", batch, step - 1, "npz"), world)
        plan = self._plan(0.0, NOTHING_SAID)
        cluster = keyed_hash(contact_pseudonyms(world.people.contact_id, self._spec.contact_key), "cluster")
        return _Resident(world, contact_groups(held_out(cluster, plan)), decided, step)


def forget(spec: RunSpec, kind: str, step: int) -> None:
    """Remove the parts of one kind and day of every batch."""
    ending = "npz" if kind == "state" else "parquet"
    for batch in range(spec.batches):
        with contextlib.suppress(FileNotFoundError):
            spec.part(kind, batch, step, ending).unlink()


def removal_counts(days: list[BatchDay]) -> RemovalCounts:
    """The removals of several batches together."""
    total = RemovalCounts()
    for day in days:
        rules = {name: RuleCount(*count) for name, count in day.removed.items()}
        total = total + RemovalCounts(held=day.held, rules=rules)
    return total
