"""Whether to send now or to wait: what the log shows of it, the rules that were tried, and the one that is taken.

Everything is estimated on one half of the contacts and judged on the other, both ways. A rule is taken only where what
it adds to sending whenever a message is worth it is above nothing with 95 % confidence; else nothing waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from scipy.special import expit

from engine.identity import unit_of
from engine.records.rounds import RoundBatch
from engine.types import HOLD, NOT_AN_INSTANT, BoolArray, FloatArray, IntArray
from policies.parts.config import AUTO, PartsConfig
from policies.parts.frequency.fatigue import PRESSURES, Pressure, choose_pressure, fit_curve
from policies.parts.frequency.history import History, Signal, history_of, signals, without
from policies.parts.frequency.replay import (
    Effects,
    Field,
    Judged,
    Offer,
    Played,
    Seen,
    bins_of,
    caps_of,
    judge,
    replay,
    seen_of,
)
from policies.parts.frequency.waiting import (
    NO_WAITING,
    Rule,
    Waiting,
    at_most,
    candidates,
    encoded,
    horizon_steps,
)
from policies.parts.tables import PartTables, own_scores
from policies.parts.terms import Terms
from policies.vw.scoring.tables import BATCH_ROWS

# One-sided 95 %, for what is taken; two-sided 95 %, for what is shown.
TAKEN: Final = 1.645
SHOWN: Final = 1.96
# A rule that makes more of its messages where the log has none cannot be judged.
_UNSUPPORTED: Final = 0.1
# Messages after a gap of the same number of steps: a larger share says nothing of any other frequency.
_UNIFORM: Final = 0.95
_FEWEST_STAGES: Final = 50
# What a recommendation is to see: a change of the chance by a fifth, with power 80 % at 95 % confidence.
_RELATIVE: Final = 0.2
_POWER: Final = (1.96 + 0.84) ** 2
_ADD_DAYS: Final = 28


@dataclass(frozen=True)
class Frequency:
    """What was found.

    Attributes:
        waiting: the rule that is taken; None where nothing waits.
        summary: what was tried, with values and intervals, as plain data.
        said: sentences for a reader.
    """

    waiting: Waiting | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subject:
    """What is judged.

    Attributes:
        batches: every decision of the contacts, with the metrics.
        terms: of the tables.
        tables: the parts, costs and charges included.
        stage: metric of the stage.
        metric: the money.
    """

    batches: Sequence[RoundBatch]
    terms: Terms
    tables: PartTables
    stage: str
    metric: str


def frequency(subject: Subject, config: PartsConfig) -> Frequency:
    """Look for a rule of waiting.

    Args:
        subject: the log and the parts.
        config: `recency` names the feature that the rule reads; `seed` halves the contacts.
    """
    if not config.recency:
        return Frequency()
    if subject.tables.chance is None:
        return _nothing("Waiting was not looked at: it needs a stage between a message and its money.")
    batches = [batch.take(batch.decided_at != NOT_AN_INSTANT) for batch in subject.batches]
    if not sum(batch.n for batch in batches):
        return _nothing("Waiting was not looked at: the log does not say when it decided.")
    history = history_of(batches)
    if not np.isfinite(history.gap_days) or history.gap_days <= 0.0:
        return _nothing("Waiting was not looked at: no contact has two decisions.")
    return _Search(replace(subject, batches=history.batches), history, config).found()


def _nothing(said: str, **summary: Any) -> Frequency:
    return Frequency(None, {**summary, "chosen": NO_WAITING.name}, (said,))


@dataclass(frozen=True)
class _Sends:
    """The log's messages whose predecessors it shows: rows of the history, in its order."""

    rows: IntArray
    offer: Offer
    reached: FloatArray
    lost: FloatArray


class _Search:
    def __init__(self, subject: Subject, history: History, config: PartsConfig) -> None:
        self.subject, self.history, self.config = subject, history, config
        self.encoder = subject.terms.encoder
        self.found_signals = signals(history, self.encoder)
        self.named = tuple(dict.fromkeys([one.feature for one in self.found_signals]))
        cluster = np.concatenate([batch.cluster for batch in history.batches])[history.order][history.start]
        self.half = (unit_of(cluster, f"parts/frequency/{config.seed}") < 0.5).astype(np.int64)

    def found(self) -> Frequency:
        sends = self._sends()
        stages = float(sends.reached.sum())
        if stages < _FEWEST_STAGES:
            return _nothing(
                f"Waiting was not looked at: of the messages with one before them {stages:.0f} reached the stage, "
                f"fewer than {_FEWEST_STAGES}."
            )
        step = self.history.gap_days
        gaps = np.round(self.history.since[sends.rows] / step)
        usual, counts = np.unique(gaps, return_counts=True)
        if counts.max() > _UNIFORM * len(gaps):
            often = float(usual[counts.argmax()] * step)
            return _nothing(self._no_variation(often, stages / len(gaps)), gap_days=step, usual_days=often)
        contact = self.history.contact[sends.rows]
        pressures = [(one, one.of(self.history)) for one in PRESSURES]
        chosen = choose_pressure(
            [(one, values[sends.rows]) for one, values in pressures],
            sends.offer.odds,
            sends.reached,
            contact,
            self.half[contact],
        )
        pressure = dict(pressures)[chosen.pressure][sends.rows]
        summary = {"gap_days": step, "pressure": chosen.pressure.to_builtins(), "held_out_gain": list(chosen.gain)}
        if not chosen.seen:
            return _nothing(
                "The chance of the stage is not seen to depend on earlier messages: nothing waits.", **summary
            )
        whole = self._effects(sends, pressure, np.ones(len(pressure), dtype=np.bool_))
        ground = self._field(chosen.pressure, pressure, whole, expit(sends.offer.odds + whole.stage(pressure)))
        return self._judged(ground, sends, pressure, whole, summary)

    def _no_variation(self, often: float, chance: float) -> str:
        other = 2.0 * often if often < 7.0 else often / 2.0
        messages = _POWER * 2.0 * (1.0 - chance) / (chance * _RELATIVE**2)
        contacts = int(np.ceil(messages * other / _ADD_DAYS))
        return (
            f"The log has no variation in frequency: nearly every message follows the one before after {often:g} days, "
            f"so waiting cannot be judged. Send to about {contacts} contacts, drawn at random, every {other:g} days "
            f"for {_ADD_DAYS} days: that shows a change of the chance by a fifth."
        )

    # -- what messages bring

    def _encoded(self, batch: RoundBatch) -> Any:
        return without(self.encoder.encode(batch.context), self.encoder, self.named)

    def _sends(self) -> _Sends:
        history, tables, catalog = self.history, self.subject.tables, self.subject.terms.catalog
        usable: BoolArray = np.concatenate(
            [batch.usable & ~np.isnan(batch.rewards[self.subject.metric]) for batch in history.batches]
        )
        place = np.full(history.n, -1, dtype=np.int64)
        rows = np.flatnonzero(history.sent & usable[history.order] & np.isfinite(history.since))
        place[history.order[rows]] = np.arange(len(rows))
        losses, m = tables.losses, len(rows)
        odds, worth, money, reached = (np.zeros(m) for _ in range(4))
        gone, lost, prices = (np.zeros((len(losses), m)) for _ in range(3))
        start = 0
        for batch in history.batches:
            at = place[start : start + batch.n]
            start += batch.n
            some, at = batch.take(at >= 0), at[at >= 0]
            if not some.n or tables.chance is None or tables.worth is None:
                continue
            x, action = self._encoded(some), some.action
            odds[at] = own_scores(tables.chance, x, action, catalog)
            worth[at] = np.maximum(own_scores(tables.worth, x, action, catalog), 0.0)
            money[at] = own_scores(tables.money, x, action, catalog)
            reached[at] = np.nan_to_num(some.rewards[self.subject.stage]) > 0.0
            channel = catalog.split(action)[0]
            for i, loss in enumerate(losses):
                gone[i, at] = own_scores(loss.odds, x, action, catalog)
                lost[i, at] = np.nan_to_num(some.rewards[loss.name]) > 0.0
                prices[i, at] = loss.price[channel]
        return _Sends(rows, Offer(odds, worth, money, gone, prices), reached, lost)

    def _effects(self, sends: _Sends, pressure: FloatArray, rows: BoolArray) -> Effects:
        stage = fit_curve(pressure[rows], sends.offer.odds[rows], sends.reached[rows], rising=False)
        losses = tuple(
            fit_curve(pressure[rows], odds[rows], lost[rows], rising=True)
            for odds, lost in zip(sends.offer.losses, sends.lost, strict=True)
        )
        return Effects(stage, losses)

    def _field(self, pressed: Pressure, pressure: FloatArray, effects: Effects, expected: FloatArray) -> Field:
        """Of every decision the best eligible send and the best one at the mean pressure of the log's messages."""
        level = float(effects.stage(pressure).mean())
        parts = [
            self._best(batch.take(slice(start, start + BATCH_ROWS)), level)
            for batch in self.history.batches
            for start in range(0, batch.n, BATCH_ROWS)
        ]
        order = self.history.order
        eligible, best = (
            Offer(
                *(np.concatenate([getattr(part[i], name) for part in parts]) for name in ("odds", "worth", "money")),
                *(np.concatenate([getattr(part[i], name) for part in parts], axis=1) for name in ("losses", "prices")),
            ).take(order)
            for i in (0, 1)
        )
        sendable = np.concatenate([part[2] for part in parts])[order]
        self.caps = caps_of(self.history, sendable)
        edges, least, most = bins_of(pressure, expected)
        return Field(self.history, pressed, self._lent(eligible, sendable), best, edges, least, most, self._signal())

    def _lent(self, eligible: Offer, sendable: BoolArray) -> Offer:
        """A decision that a cap closed gets the offer of the contact's last open one: a rule meets its own caps."""
        history = self.history
        capped = np.zeros(history.n, dtype=np.bool_)
        for window, most in self.caps:
            capped |= ~sendable & (history.counted(window - 1e-6) >= most)
        index = np.arange(history.n)
        last = np.maximum.accumulate(np.where(sendable, index, -1))
        own = last >= np.repeat(history.start, history.length)
        return eligible.take(np.where(capped & own, np.maximum(last, 0), index))

    def _best(self, batch: RoundBatch, level: float) -> tuple[Offer, Offer, BoolArray]:
        tables, x = self.subject.tables, self._encoded(batch)
        if tables.chance is None or tables.worth is None:
            raise TypeError("parts without a stage")
        chance, worth = tables.chance.scores(x)[:, 1:], np.maximum(tables.worth.scores(x)[:, 1:], 0.0)
        money = tables.money.scores(x)
        added = money[:, 1:] - money[:, :1]
        gain = expit(chance + level) * worth + added
        price = [loss.price[tables.channel] for loss in tables.losses]
        odds = [loss.odds.scores(x)[:, 1:] for loss in tables.losses]
        for own, cost in zip(odds, price, strict=True):
            gain = gain - expit(own) * cost
        may = batch.eligible_dense()[:, HOLD + 1 :] & batch.usable[:, None]
        sendable: BoolArray = np.asarray(may.any(axis=1))
        rows = np.arange(batch.n)

        def offer(at: IntArray, open_to: BoolArray) -> Offer:
            return Offer(
                np.where(open_to, chance[rows, at], -np.inf),
                worth[rows, at],
                added[rows, at],
                np.array([own[rows, at] for own in odds]).reshape(len(odds), batch.n),
                np.array([cost[at] for cost in price]).reshape(len(odds), batch.n),
            )

        masked = np.where(may, gain, -np.inf).argmax(axis=1)
        return offer(masked, sendable), offer(gain.argmax(axis=1), np.ones(batch.n, dtype=np.bool_)), sendable

    def _signal(self) -> Signal:
        """What a rule reads: a feature that agrees with the log, the named one; else days that no feature says."""
        asked = self.config.recency
        agree = [one for one in self.found_signals if asked in (AUTO, one.feature)]
        return agree[0] if agree else Signal("")

    # -- rules

    def _rules(self, ground: Field, effects: Effects) -> dict[str, Rule]:
        step = self.history.gap_days
        if not ground.signal.days:
            most = int(np.ceil(ground.signal.window / step))
            rules = [NO_WAITING, *(at_most(messages, ground.signal.window) for messages in range(1, most))]
            return {rule.name: rule for rule in rules}
        days: FloatArray = step * np.arange(1.0, horizon_steps(step) + 1.0)
        steady = ground.pressure.steady(days)
        sample = np.random.default_rng([self.config.seed, 12]).permutation(self.history.n)[:2000]
        best, eligible = ground.best.take(sample), ground.eligible.take(sample)

        def gain(offer: Offer, at: float) -> FloatArray:
            return np.maximum(effects.gain(offer, np.full(len(sample), at)), 0.0)

        means = np.array([gain(best, float(at)).mean() for at in steady])
        recovered = np.maximum.accumulate(means / means[-1]) if means[-1] > 0.0 else np.zeros(len(days))
        rested, whole = gain(eligible, float(steady[-1])), gain(best, float(steady[-1]))
        offered = np.where(whole > 0.0, rested / np.where(whole > 0.0, whole, 1.0), 0.0)
        return {rule.name: rule for rule in candidates(step, rested, offered, recovered)}

    def _judged(
        self, ground: Field, sends: _Sends, pressure: FloatArray, whole: Effects, summary: dict[str, Any]
    ) -> Frequency:
        decisions = self.history.length.astype(np.float64)
        # The shapes of the rules come from all contacts; what each is worth comes from the other half.
        rules = self._rules(ground, whole)
        halves: list[tuple[dict[str, Played], Seen]] = []
        own_half = self.half[self.history.contact[sends.rows]]
        for side in (0, 1):
            effects = self._effects(sends, pressure, own_half == side)
            played = {name: replay(ground, rule, effects, self.caps) for name, rule in rules.items()}
            seen = seen_of(ground, sends.rows, sends.offer, pressure, sends.reached, sends.lost, effects)
            halves.append((played, seen))
        names = list(rules)
        judged = {
            name: [
                judge(played[name], seen, decisions, self.half != side) for side, (played, seen) in enumerate(halves)
            ]
            for name in names
        }
        supported = [
            name for name in names if name == NO_WAITING.name or max(one.rested for one in judged[name]) <= _UNSUPPORTED
        ]

        def modelled(name: str, side: int, contacts: BoolArray) -> float:
            return float(halves[side][0][name].total[contacts].sum())

        everybody = np.ones(len(self.half), dtype=np.bool_)
        picked = []
        for side in (0, 1):
            own = {name: modelled(name, side, self.half == side) for name in supported}
            picked.append(max(own, key=own.__getitem__))
        both = {name: modelled(name, 0, everybody) + modelled(name, 1, everybody) for name in supported}
        chosen = max(both, key=both.__getitem__)
        tested = advantage(judged, picked)
        summary |= self._shown(ground, judged, chosen, tested, rules)
        said = self._said(ground, names, supported, chosen, tested, summary)
        taken = chosen != NO_WAITING.name and tested[0] > TAKEN * tested[1]
        if not (taken and ground.signal.feature):
            return Frequency(None, {**summary, "chosen": NO_WAITING.name, "best": chosen}, (said,))
        waiting = encoded(rules[chosen], ground.signal.feature, self.encoder)
        return Frequency(waiting, {**summary, "chosen": chosen, "best": chosen}, (said,))

    def _shown(
        self,
        ground: Field,
        judged: dict[str, list[Judged]],
        chosen: str,
        tested: tuple[float, float],
        rules: dict[str, Rule],
    ) -> dict[str, Any]:
        tried: list[dict[str, Any]] = []
        for name, (first, second) in judged.items():
            share = first.decisions / (first.decisions + second.decisions)
            value = share * first.value + (1.0 - share) * second.value
            gap, error = advantage(judged, [name, name])
            tried.append(
                {
                    "rule": name,
                    "value": value,
                    "sends": share * first.sends + (1.0 - share) * second.sends,
                    "advantage": gap,
                    "low": gap - SHOWN * error,
                    "high": gap + SHOWN * error,
                    "rested": max(first.rested, second.rested),
                    "beyond": max(first.beyond, second.beyond),
                }
            )
        rule = rules[chosen]
        return {
            "feature": ground.signal.feature,
            "window_days": ground.signal.window,
            "caps": [list(cap) for cap in self.caps],
            "advantage": tested[0],
            "low": tested[0] - SHOWN * tested[1],
            "high": tested[0] + SHOWN * tested[1],
            "tried": tried,
            "charge": {"at": list(rule.at), "share": list(rule.share), "usd": list(rule.usd)},
        }

    def _said(
        self,
        ground: Field,
        tried: Sequence[str],
        supported: Sequence[str],
        chosen: str,
        tested: tuple[float, float],
        summary: dict[str, Any],
    ) -> str:
        found = f"{summary['advantage']:+.4f} USD a decision ({summary['low']:+.4f} to {summary['high']:+.4f})"
        if len(supported) == 1 and len(tried) > 1:
            return "The log has too few messages after a wait to judge any rule of waiting: nothing waits."
        if chosen == NO_WAITING.name:
            return f"{len(tried) - 1} rules of waiting were tried on the log, and none was better: nothing waits."
        if not tested[0] > TAKEN * tested[1]:
            return f"Of the rules of waiting '{chosen}' was the best, but not clearly: {found}. Nothing waits."
        if not ground.signal.feature:
            return (
                f"Waiting would pay ('{chosen}': {found}), but no feature says when a contact got the last message: "
                "nothing waits. Add a numeric feature like days_since_last_send, with the days that the log shows."
            )
        return f"Messages wait by the rule '{chosen}' on {ground.signal.feature}: {found} on the log."


def advantage(judged: dict[str, list[Judged]], picked: Sequence[str]) -> tuple[float, float]:
    """What the picked rules add to no waiting, each judged on the half that did not pick it, and the standard error."""
    value, variance = 0.0, 0.0
    sizes = []
    for side, name in enumerate(picked):
        own, none = judged[name][side], judged[NO_WAITING.name][side]
        sizes.append(own.decisions)
        value += (own.value - none.value) * own.decisions
        variance += float(((own.influence - none.influence) ** 2).sum()) * own.decisions**2
    return value / sum(sizes), float(np.sqrt(variance)) / sum(sizes)
