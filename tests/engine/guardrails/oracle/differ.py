"""The layer and the oracle on the same (contact, action, now) triples: how often they agree, and where they do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from engine.catalog import Catalog
from engine.contacts.contacts import ContactBatch
from engine.guardrails.conditions import Conditions
from engine.guardrails.judging import judge
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import Pack
from engine.types import PURPOSES, BoolArray, IntArray
from tests.engine.guardrails.oracle.people import Action, Person, Setting, people_of
from tests.engine.guardrails.oracle.verdicts import reasons

SHOWN = 6  # of each rule


@dataclass
class Tally:
    """Counts of triples; `removed` and `allowed` are by rule id, of triples on which both sides agree.

    `sent` are those that pass, `refused` those of contacts whom the reader would not read.
    """

    triples: int = 0
    sent: int = 0
    refused: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    allowed: Counter[str] = field(default_factory=Counter)
    differ: Counter[str] = field(default_factory=Counter)
    cases: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> Tally:
        self.triples += other.triples
        self.sent += other.sent
        self.refused += other.refused
        for name in ("removed", "allowed", "differ"):
            getattr(self, name).update(getattr(other, name))
        self.cases = [*self.cases, *other.cases]
        return self


def compare(
    rng: np.random.Generator,
    pack: Pack,
    catalog: Catalog,
    batch: ContactBatch,
    now: datetime,
    each: int,
    world: Conditions,
) -> Tally:
    """Judge `each` random actions of every contact of a batch twice."""
    return compare_people(rng, pack, catalog, batch, people_of(batch, catalog), now, each, world)


def compare_people(
    rng: np.random.Generator,
    pack: Pack,
    catalog: Catalog,
    batch: ContactBatch,
    people: list[Person],
    now: datetime,
    each: int,
    world: Conditions,
) -> Tally:
    """The same of contacts whom the oracle knows from elsewhere, in the order of the batch."""
    rows = np.repeat(np.arange(batch.n), each)
    actions = rng.integers(1, catalog.k, len(rows))
    gone = layer_removes(pack, catalog, batch, now, world, rows, actions)
    allowed = Guardrails(pack, catalog).eligibility(batch, now, world)[0].dense()[rows, actions]
    setting = Setting(now, catalog, timedelta(seconds=pack.latency_margin_s), world)
    tally = Tally(len(rows), int(allowed.sum()))
    channels, hours, arms = catalog.split(actions)
    for i, row in enumerate(rows.tolist()):
        action = Action(catalog.channels[channels[i]], catalog.hours[hours[i]], catalog.arms[arms[i]])
        found = reasons(pack, people[row], action, setting)
        for rule, judged in gone.items():
            if judged[i] != (rule in found):
                tally.differ[rule] += 1
                side = "layer removes" if judged[i] else "oracle removes"
                if tally.differ[rule] > SHOWN:
                    continue
                name = catalog.action_names[actions[i]]
                tally.cases.append(f"{rule}: {side} {name} at {now.isoformat()} of {shown(people[row])}; {world}")
            else:
                (tally.removed if judged[i] else tally.allowed)[rule] += 1
        if allowed[i] != (not found):
            tally.differ["all"] += 1
    return tally


def shown(person: Person) -> str:
    """A contact on a few lines, for a failing test."""
    consent = {"/".join(key): value for key, value in person.consent.items()}
    facts = {**vars(person), "consent": consent}
    return "\n  ".join(f"{name}: {value}" for name, value in facts.items()).replace("tzinfo=datetime.timezone.utc", "Z")


def layer_removes(
    pack: Pack,
    catalog: Catalog,
    batch: ContactBatch,
    now: datetime,
    world: Conditions,
    rows: IntArray,
    actions: IntArray,
) -> dict[str, BoolArray]:
    """(m,) by rule id: whether the layer's rule removes each pair."""
    layer = Guardrails(pack, catalog)
    scene = layer.scene(batch, now, world)
    channels, hours, arms = catalog.split(actions)
    purposes = catalog.purpose_codes[arms]
    found = {}
    for entry, rule in layer._rules:
        verdict = judge(rule, scene)
        gone = np.zeros(len(rows), dtype=np.bool_)
        if verdict.channel_arm is not None:
            full = np.broadcast_to(verdict.channel_arm, (batch.n, catalog.shape[0], catalog.shape[2]))
            gone |= full[rows, channels, arms]
        if verdict.channel_hour is not None:
            full = np.broadcast_to(verdict.channel_hour, (batch.n, len(PURPOSES), catalog.shape[0], catalog.shape[1]))
            gone |= full[rows, purposes, channels, hours]
        found[entry.id] = gone
    return found


def total(tallies: Iterable[Tally]) -> Tally:
    whole = Tally()
    for tally in tallies:
        whole.add(tally)
    return whole
