"""The caps under which sends are reserved: those entries of a guardrail pack that count sends (docs/state.md).

The rules judge a contact as it was read; between that and the send another process may promise one too. So the same
numbers hold once more inside the transaction that reserves. Each cap is named by the entry's id in the pack. What is
not known of a send, its template, category, topic or depth, may be anything: it counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.catalog import Catalog
from engine.contacts.contacts import ContactBatch
from engine.guardrails.layer import Guardrails
from engine.guardrails.rule import Rule
from engine.guardrails.rules.cooldown import CooldownRule, template_of
from engine.guardrails.rules.discount import DiscountRule
from engine.guardrails.rules.frequency import FrequencyRule
from engine.guardrails.rules.sequence import EVER, SequenceRule, Which
from engine.guardrails.rules.topic_cap import TOPIC, TopicCapRule
from engine.names import may_be_on, may_mean
from engine.state.checks import MAX_SPAN_S
from engine.state.sends.caps import SendRequest, SendRule, unnamed
from engine.types import MICROSECONDS_PER_S

Applies = Callable[[SendRequest], bool]
Counts = Callable[[SendRequest, SendRequest], bool]


@dataclass(frozen=True)
class PackCap:
    """One number of a pack as a `SendRule`.

    Attributes:
        name: id of the pack's entry.
        max: sends allowed; None is no cap, 0 is never.
        window_us: length of the rolling window.
        held: whether a wanted send is capped.
        counted: whether another send of the contact uses up the cap of a wanted one.
    """

    name: str
    max: int | None
    window_us: int
    held: Applies
    counted: Counts

    def applies(self, request: SendRequest) -> bool:
        return self.held(request)

    def counts(self, request: SendRequest, other: SendRequest) -> bool:
        return self.counted(request, other)


def caps_of(guardrails: Guardrails, contacts: ContactBatch) -> tuple[SendRule, ...]:
    """Caps of the entries `frequency`, `topic_cap`, `cooldown`, `sequence` and `discount`.

    Args:
        guardrails: the pack, bound to the catalog.
        contacts: whose sends are reserved, under the pseudonyms of the store: a cap of some states holds only those of
            them who live there or may live there.
    """
    return tuple(cap for entry, rule in guardrails.rules for cap in _caps(entry.id, rule, guardrails.catalog, contacts))


def _caps(name: str, rule: Rule, catalog: Catalog, contacts: ContactBatch) -> list[PackCap]:
    if isinstance(rule, FrequencyRule):
        return _frequency(name, rule, catalog)
    if isinstance(rule, TopicCapRule):
        return [_topic(name, rule, catalog, contacts)]
    if isinstance(rule, CooldownRule):
        return [_cooldown(name, rule, catalog)]
    if isinstance(rule, SequenceRule):
        return _sequence(name, rule, catalog)
    if isinstance(rule, DiscountRule):
        return [_discount(name, rule)]
    return []


def _inside(channels: tuple[str, ...] | None, catalog: Catalog) -> Applies:
    """Whether a send is, or may be, on one of the channels: one whose channel cannot be told is on all of them."""
    return lambda send: channels is None or may_be_on(send.channel, channels, catalog.channels)


def _frequency(name: str, rule: FrequencyRule, catalog: Catalog) -> list[PackCap]:
    def cap(most: int | None, window_us: int, channels: tuple[str, ...] | None) -> PackCap:
        inside = _inside(channels, catalog)
        return PackCap(
            name,
            most,
            window_us,
            lambda send: send.purpose in rule.applies_to and inside(send),
            lambda _, other: other.purpose in rule.counts and inside(other),
        )

    return [cap(one.max, one.window_us, one.channels) for one in rule.caps]


def _topic(name: str, rule: TopicCapRule, catalog: Catalog, contacts: ContactBatch) -> PackCap:
    there = frozenset(contacts.contact_id[np.flatnonzero(rule.inside(contacts))])
    topics = frozenset(str(arm.attributes.get(TOPIC, "")) for arm in catalog.arms) - {""}
    inside = _inside(rule.channels, catalog)

    def same(send: SendRequest, other: SendRequest) -> bool:
        # A send without a topic may be about anything.
        if unnamed(send.topic) or unnamed(other.topic):
            return True
        return send.topic in may_mean(other.topic, topics | {send.topic})

    return PackCap(
        name,
        rule.max,
        rule.window_s * MICROSECONDS_PER_S,
        lambda send: send.purpose in rule.applies_to and inside(send) and send.contact_id in there,
        lambda send, other: other.purpose in rule.counts and inside(other) and same(send, other),
    )


def _cooldown(name: str, rule: CooldownRule, catalog: Catalog) -> PackCap:
    template = {arm.id: template_of(arm) for arm in catalog.arms}
    known = frozenset((*template, *template.values()))

    def same(send: SendRequest, other: SendRequest) -> bool:
        wanted = template.get(send.template, send.template)
        if unnamed(wanted) or unnamed(other.template):
            return True
        return any(wanted in (name, template.get(name)) for name in may_mean(other.template, known | {wanted}))

    window_us = rule.window_s * MICROSECONDS_PER_S
    return PackCap(name, rule.max, window_us, lambda send: send.purpose in rule.applies_to, same)


def _sequence(name: str, rule: SequenceRule, catalog: Catalog) -> list[PackCap]:
    def fits(which: Which, send: SendRequest, *, told: bool = False) -> bool:
        field = {"arm": send.template, "category": send.category, "topic": send.topic}[which.field]
        return not told if unnamed(field) else which.is_one(field, catalog)

    def cap(held: Which, by: Which, window_s: int | str) -> PackCap:
        seconds = MAX_SPAN_S if isinstance(window_s, str) else window_s
        return PackCap(
            name,
            1,
            seconds * MICROSECONDS_PER_S,
            # Of a send that names its arm the catalog tells all; what it lacks then, it does not have.
            lambda send: send.purpose in rule.applies_to and fits(held, send, told=send.template in catalog.arm_ids),
            lambda _, other: fits(by, other),
        )

    found = []
    for pair in rule.pairs:
        if pair.window_s is None:
            continue
        window_s: int | str = EVER if pair.window_s == EVER else pair.window_s
        found.append(cap(pair.a, pair.b, window_s))
        if pair.both_ways:
            found.append(cap(pair.b, pair.a, window_s))
    return found


def _discount(name: str, rule: DiscountRule) -> PackCap:
    # A depth that nobody knows may be a discount.
    return PackCap(
        name,
        rule.max_sends,
        rule.window_s * MICROSECONDS_PER_S,
        lambda send: send.purpose in rule.applies_to and send.discount != 0.0,
        lambda _, other: other.discount != 0.0,
    )
