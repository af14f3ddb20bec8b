"""What a rule of waiting is worth, judged on the log: replayed on every contact's own decisions, then corrected.

The messages before a decision follow from the rule alone, so how often a rule sends, to whom, and after how many days
is computed exactly on each contact's own sequence of contexts; what a message brings there is modelled. The log's own
messages then correct the model: in every bin of the pressure, what came is held against what was modelled,

    value(z) = mean over contacts of [sum over decisions of modelled gain under z]
             + sum over bins b of d_z(b) x (what messages in b brought / what was modelled of them - 1)

with d_z(b) the modelled gain that z makes of messages in b. This is marginalised importance sampling (Liu, Li, Tang &
Zhou 2018; Xie, Ma & Wang 2019, section 3) with the pressure as the state, in its doubly robust form (Kallus & Uehara
2020, section 4): the log's messages are weighed by how much of its gain the rule makes in their state, and the error of
the model enters multiplied by the error of these weights. The correction pools all messages of a bin: it checks how a
message's gain depends on the messages before it, not which message is best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import expit

from engine.types import BoolArray, FloatArray, IntArray
from policies.parts.frequency.fatigue import Curve, Pressure
from policies.parts.frequency.history import WINDOWS, History, Signal
from policies.parts.frequency.waiting import Rule

# Expected events of a bin, at least: the curve is trusted inside of bins whose correction is known to about a tenth.
BIN_EVENTS: Final = 40.0
# The log knows messages down to the pressure below which fewer events than so many are expected of its own.
LEAST_EVENTS: Final = 5.0
# Messages of a contact that are remembered: more than any window holds.
_REMEMBERED: Final = 31
_CAPPED: Final = 20


@dataclass(frozen=True)
class Offer:
    """What one send would bring in each of n decisions, without the pressure of earlier messages.

    Attributes:
        odds: (n,) log odds of the stage; -inf where nothing may be sent.
        worth: (n,) USD of the stage, at least 0.
        money: (n,) USD that is added: costs and charges.
        losses: (L, n) log odds of each loss.
        prices: (L, n) USD of each.
    """

    odds: FloatArray
    worth: FloatArray
    money: FloatArray
    losses: FloatArray
    prices: FloatArray

    def take(self, rows: IntArray | BoolArray) -> Offer:
        """Some of the decisions."""
        return Offer(self.odds[rows], self.worth[rows], self.money[rows], self.losses[:, rows], self.prices[:, rows])


@dataclass(frozen=True)
class Effects:
    """What the pressure does to a message.

    Attributes:
        stage: to the log odds of the stage.
        losses: to those of each loss.
    """

    stage: Curve
    losses: tuple[Curve, ...]

    def parts(self, offer: Offer, pressure: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n,) USD by the stage, and USD lost; both at least 0."""
        stage: FloatArray = expit(offer.odds + self.stage(pressure)) * offer.worth
        lost = np.zeros(len(pressure))
        for odds, curve, price in zip(offer.losses, self.losses, offer.prices, strict=True):
            lost += expit(odds + curve(pressure)) * price
        return stage, lost

    def gain(self, offer: Offer, pressure: FloatArray) -> FloatArray:
        """(n,) USD of the send; -inf where nothing may be sent."""
        stage, lost = self.parts(offer, pressure)
        out: FloatArray = np.where(np.isfinite(offer.odds), stage + offer.money - lost, -np.inf)
        return out


@dataclass(frozen=True)
class Field:
    """The decisions on which rules are replayed.

    Attributes:
        history: of the log.
        pressure: how messages press.
        eligible / best: of each decision the best eligible send, and the best one, eligible or not.
        edges: ascending pressures that part the bins.
        least / most: pressures below and above which the log has hardly any messages.
        signal: what the rules read.
    """

    history: History
    pressure: Pressure
    eligible: Offer
    best: Offer
    edges: FloatArray
    least: float
    most: float
    signal: Signal

    @property
    def bins(self) -> int:
        return len(self.edges) + 1


@dataclass(frozen=True)
class Played:
    """What a rule does with every contact.

    Attributes:
        stage / lost: (contacts, bins) USD that messages bring by the stage, and lose.
        money: (contacts,) USD that is added.
        sends: (contacts,) messages.
        rested / beyond: (contacts,) those of them at a pressure below, or above, what the log knows.
    """

    stage: FloatArray
    lost: FloatArray
    money: FloatArray
    sends: FloatArray
    rested: FloatArray
    beyond: FloatArray

    @property
    def total(self) -> FloatArray:
        """(contacts,) USD."""
        out: FloatArray = self.stage.sum(axis=1) - self.lost.sum(axis=1) + self.money
        return out


def caps_of(history: History, sendable: BoolArray) -> tuple[tuple[float, int], ...]:
    """Caps that the eligible sets show: (days, messages) from which on nothing was eligible in any decision."""
    found = []
    for window in WINDOWS:
        # A message of exactly the window's age has left it.
        count = history.counted(window - 1e-6)
        most = int(count[sendable].max(initial=-1.0)) + 1
        if 0 < most < _REMEMBERED and int((~sendable & (count >= most)).sum()) >= _CAPPED:
            found.append((float(window), most))
    return tuple(found)


def replay(field: Field, rule: Rule, effects: Effects, caps: Sequence[tuple[float, int]]) -> Played:
    """Let a rule decide on every contact's sequence: it sends the best eligible send where its gain exceeds the charge.

    Each sequence is run twice, the first time only to begin the second one with the messages of the rule.
    """
    history, contacts = field.history, len(field.history.start)
    played = Played(*(np.zeros(shape) for shape in 2 * ((contacts, field.bins),) + 4 * ((contacts,),)))
    pressure, before = np.zeros(contacts), np.full(contacts, -np.inf)
    recent = np.full((contacts, _REMEMBERED), -np.inf)
    steps = history.steps()
    span = float(np.ptp(history.at_days)) + (history.gap_days if np.isfinite(history.gap_days) else 1.0)
    for lap in (0, 1):
        for t, rows in enumerate(steps):
            own = np.flatnonzero(history.length > t)
            now = history.at_days[rows] + lap * span
            passed = np.where(np.isfinite(before[own]), now - before[own], 0.0)
            pressed = field.pressure.later(pressure[own], passed)
            offer = field.eligible.take(rows)
            gain = effects.gain(offer, pressed)
            since = now - recent[own, 0]
            value = since
            if not field.signal.days:
                value = (recent[own] > (now - field.signal.window)[:, None]).sum(axis=1).astype(np.float64)
            charge = rule.charge(value, effects.gain(field.best.take(rows), pressed))
            send = gain > np.maximum(charge, 0.0)
            for window, most in caps:
                send &= recent[own, most - 1] <= now - window + 1e-6
            pressure[own] = np.where(send, field.pressure.sent(pressed), pressed)
            before[own] = now
            who = own[send]
            recent[who, 1:] = recent[who, :-1]
            recent[who, 0] = now[send]
            if lap:
                bins = np.searchsorted(field.edges, pressed[send], side="right")
                stage, lost = effects.parts(offer.take(send), pressed[send])
                played.stage[who, bins] += stage
                played.lost[who, bins] += lost
                played.money[who] += offer.money[send]
                played.sends[who] += 1.0
                played.rested[who] += pressed[send] < field.least
                played.beyond[who] += pressed[send] > field.most
    return played


@dataclass(frozen=True)
class Seen:
    """What the log's own messages brought, per contact and bin of the pressure.

    Attributes:
        stage / lost: (contacts, bins) USD that came, by worth and price.
        stage_modelled / lost_modelled: (contacts, bins) USD that were expected of them.
    """

    stage: FloatArray
    stage_modelled: FloatArray
    lost: FloatArray
    lost_modelled: FloatArray


def seen_of(
    field: Field,
    rows: IntArray,
    own: Offer,
    pressure: FloatArray,
    reached: FloatArray,
    lost: FloatArray,
    effects: Effects,
) -> Seen:
    """Sum what the log's messages brought.

    Args:
        field: see `Field`.
        rows: (m,) messages, as rows of the history.
        own: what each of them was expected to bring, without the pressure.
        pressure: (m,) before it.
        reached: (m,) 0 or 1.
        lost: (L, m) 0 or 1.
        effects: of the pressure.
    """
    contacts = len(field.history.start)
    cell = field.history.contact[rows] * field.bins + np.searchsorted(field.edges, pressure, side="right")

    def summed(values: FloatArray) -> FloatArray:
        sums = np.bincount(cell, values, minlength=contacts * field.bins).astype(np.float64)
        return sums.reshape(contacts, field.bins)

    stage, gone = effects.parts(own, pressure)
    came = (own.prices * lost).sum(axis=0)
    return Seen(
        summed(reached * own.worth),
        summed(stage),
        summed(came),
        summed(gone),
    )


def bins_of(pressure: FloatArray, expected: FloatArray) -> tuple[FloatArray, float, float]:
    """Edges of the bins, from the lowest pressure on, and where the log's messages begin and end.

    Args:
        pressure: (m,) before each of the log's messages.
        expected: (m,) chance of the stage of each.
    """
    values, at = np.unique(pressure, return_inverse=True)
    events = np.cumsum(np.bincount(at, expected))
    edges = []
    begun = 0.0
    for value, total in zip(values[1:], events[:-1], strict=True):
        # What is left over joins the bin before it.
        if total - begun >= BIN_EVENTS and events[-1] - total >= BIN_EVENTS:
            edges.append(value)
            begun = total
    least = values[min(int(np.searchsorted(events, LEAST_EVENTS)), len(values) - 1)]
    most = values[min(int(np.searchsorted(events, events[-1] - LEAST_EVENTS)), len(values) - 1)]
    return np.array(edges), float(least), float(most)


@dataclass(frozen=True)
class Judged:
    """The value of a rule, by contact.

    Attributes:
        value: USD per decision.
        influence: (contacts,) what each contact adds to the error of the value: its variance is the sum of squares.
        rested / beyond: shares of the rule's messages at lower, or higher, pressures than the log knows.
        sends: messages per decision.
        decisions: of the contacts.
    """

    value: float
    influence: FloatArray
    rested: float
    beyond: float
    sends: float
    decisions: float


def judge(played: Played, seen: Seen, decisions: FloatArray, held: BoolArray) -> Judged:
    """The corrected value of a rule on held-out contacts.

    Args:
        played: by a model that was not fitted to them.
        seen: of all contacts.
        decisions: (contacts,) of each.
        held: (contacts,) the held-out ones.
    """
    n = float(decisions[held].sum())
    value, influence = played.money[held].sum() / n, played.money[held].copy()
    for sign, modelled, came, expected in (
        (1.0, played.stage, seen.stage, seen.stage_modelled),
        (-1.0, played.lost, seen.lost, seen.lost_modelled),
    ):
        total = expected[held].sum(axis=0)
        usable = total > 0.0
        ratio = np.where(usable, came[held].sum(axis=0) / np.where(usable, total, 1.0), 1.0)
        gain = modelled[held].sum(axis=0)
        value += sign * float((ratio * gain).sum()) / n
        weight = np.where(usable, gain / np.where(usable, total, 1.0), 0.0)
        influence += sign * (modelled[held] * ratio + weight * (came[held] - ratio * expected[held])).sum(axis=1)
    out = np.zeros(len(decisions))
    out[held] = (influence - value * decisions[held]) / n
    sends = float(played.sends[held].sum())
    rested, beyond = (float(share[held].sum()) / max(sends, 1.0) for share in (played.rested, played.beyond))
    return Judged(float(value), out, rested, beyond, sends / n, n)
