"""The log as the learner of parts reads it: which metric means what, which rows train, and what one pass counts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from engine.catalog import Catalog
from engine.errors import LearnError
from engine.identity import unit_of
from engine.names import known_name
from engine.records.rounds import RoundBatch
from engine.time.localtime import DAY_US
from engine.types import HOLD, NOT_AN_INSTANT, BoolArray, FloatArray, IntArray
from policies.parts.config import AUTO, PartsConfig
from policies.parts.regression import Rows, Stream, held
from policies.vw.rows import trainable

_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
# A value of money that so large a share of the rows have is no outcome but the price of a send.
_COMMON: Final = 0.3
_DIGITS: Final = 6
_BOTH: Final = 2
_KEPT: Final = 50


@dataclass(frozen=True)
class Tally:
    """What one pass over the rounds counts.

    Attributes:
        rounds / skipped / eligible: that train, that do not, and their eligible actions.
        sends / stages: sends among them, and those that are known to have reached the stage.
        held_stages: decisions to hold after which the stage was reached all the same.
        contacts / days: distinct contacts, and the days from the first to the last decision; 0 where not known.
        gap_days: mean days between two decisions of a contact, also those that do not train; infinite without any.
        cost: (k - 1,) cost of a send by channel and arm, USD, at least 0; `mean_cost` that of the sends of the log.
        opened: (C,) share of sends that were seen; 1 where the log does not say.
        cost_from: where the cost was found: the name of a metric, "money" or "".
    """

    rounds: int
    skipped: int
    eligible: int
    sends: int
    stages: int
    held_stages: int
    contacts: int
    days: float
    gap_days: float
    cost: FloatArray
    mean_cost: float
    opened: FloatArray
    cost_from: str


class PartsLog:
    """The rows that may train, and what the log knows of them.

    Args:
        rounds: as often as they are asked for.
        catalog / metric / reward_range: of the learner.
        config: names the metrics.

    Attributes:
        stage / cost / opened: names of metrics, "" where the log has none.
        is_event: whether the metric that is maximised is 0 or 1; then it is the stage itself.
        lost: metrics that end a permission.
        spend: the metric that says what a contact spends.

    Raises:
        ParameterError: the configuration names a stage that the rounds lack.
    """

    def __init__(
        self,
        rounds: Iterable[RoundBatch],
        catalog: Catalog,
        metric: str,
        reward_range: tuple[float, float],
        config: PartsConfig,
    ) -> None:
        self.catalog, self.metric = catalog, metric
        self._rounds, self._range = held(lambda: rounds)(), reward_range
        known, events = self._metrics()
        self.is_event = metric in events
        events = [name for name in events if name != metric]
        self.lost = named(config.lost, events)
        self.opened = next(iter(named(config.seen, events)), "")
        self.stage = self._stage(config, known, [name for name in events if name not in {*self.lost, self.opened}])
        self.cost = config.cost if config.cost in known and config.cost != metric else ""
        self.spend = next((name for name in config.spend if name in known), metric)

    def _stage(self, config: PartsConfig, known: Sequence[str], events: Sequence[str]) -> str:
        if config.stage in ("", AUTO):
            found = named(config.stages, events) if config.stage else ()
            return self.metric if self.is_event else next(iter(found), "")
        said = f"it is a metric (0 or 1) of the log between a message and {self.metric!r}; '' models that itself"
        between = [name for name in known if name != self.metric]
        return known_name(config.stage, between, owner="learner.parts", parameter="stage", hint=said)

    def _metrics(self) -> tuple[list[str], list[str]]:
        """All metrics, and those whose every known value is 0 or 1, and that have both."""
        seen: dict[str, set[float]] = {}
        for batch in self._rounds:
            for name, values in batch.rewards.items():
                if len(own := seen.setdefault(name, set())) <= _BOTH:
                    own.update(np.unique(values[~np.isnan(values)])[: _BOTH + 1].tolist())
        return sorted(seen), sorted(name for name, values in seen.items() if values == {0.0, 1.0})

    def every(self) -> Iterable[RoundBatch]:
        """All rows, those that do not train included."""
        return self._rounds

    def batches(self) -> Iterable[RoundBatch]:
        """The rows that train."""
        return self._training if isinstance(self._rounds, list) else self._trainable()

    @cached_property
    def _training(self) -> list[RoundBatch]:
        return list(self._trainable())

    def _trainable(self) -> Iterator[RoundBatch]:
        for batch in self._rounds:
            kept = trainable(batch, self.metric, self._range, self.catalog, propensities=True)
            if kept.n:
                yield kept

    def first(self, rows: int) -> list[RoundBatch]:
        """At most so many rows, the first ones."""
        found: list[RoundBatch] = []
        for batch in self.batches():
            if rows <= 0:
                break
            found.append(batch.take(slice(0, rows)))
            rows -= batch.n
        return found

    def whole_contacts(self, config: PartsConfig) -> list[RoundBatch]:
        """Every decision, those that do not train included, of as many contacts as `choice_rows` holds."""
        share = config.choice_rows / sum(batch.n for batch in self._rounds)
        salt = f"parts/contacts/{config.seed}"
        return [
            batch if share >= 1.0 else batch.take(np.flatnonzero(unit_of(batch.cluster, salt) < share))
            for batch in self._rounds
        ]

    @cached_property
    def tally(self) -> Tally:
        """What one pass counts.

        Raises:
            LearnError: no round trains.
        """
        channels, hours, arms = self.catalog.shape
        rounds = skipped = eligible = sends = stages = held = decisions = 0
        first, last, seen = None, None, set()
        # Sums and counts of what is known, by channel and arm.
        cost, priced, opened, asked = (np.zeros((channels, arms)) for _ in range(4))
        money = _CommonMoney(channels * arms)
        for batch in self._rounds:
            kept = trainable(batch, self.metric, self._range, self.catalog, propensities=True)
            rounds, skipped, decisions = rounds + kept.n, skipped + batch.n - kept.n, decisions + batch.n
            eligible += int(kept.eligible_counts().sum())
            sent = is_send(kept)
            sends += int(sent.sum())
            if self.stage:
                stages += int((reached(kept, self.stage) & sent).sum())
                held += int((reached(kept, self.stage) & ~sent).sum())
            seen.update(np.unique(batch.cluster).tolist())
            at = batch.decided_at[batch.decided_at != NOT_AN_INSTANT]
            if len(at):
                first = int(at.min()) if first is None else min(first, int(at.min()))
                last = int(at.max()) if last is None else max(last, int(at.max()))
            for name, sums, counts in ((self.cost, cost, priced), (self.opened, opened, asked)):
                if name:
                    told = np.flatnonzero(sent & ~np.isnan(kept.rewards[name]))
                    channel, _, arm = self.catalog.split(kept.action[told])
                    np.add.at(sums, (channel, arm), kept.rewards[name][told])
                    np.add.at(counts, (channel, arm), 1.0)
            if not self.cost:
                channel, _, arm = self.catalog.split(kept.action[sent])
                money.add(kept.rewards[self.metric], sent, channel * arms + arm)
        if not rounds:
            raise LearnError(f"no usable round with a known {self.metric!r}", hint="join the outcomes first")
        mean = np.maximum(-cost / np.maximum(priced, 1.0), 0.0) if self.cost else money.cost().reshape(channels, arms)
        share = opened.sum(axis=1) / np.maximum(asked.sum(axis=1), 1.0)
        # A channel whose messages nobody is ever seen to open does not report it.
        share = np.where(share > 0.0, share, 1.0)
        days = 0.0 if first is None or last is None else (last - first) / DAY_US
        gap = days * len(seen) / (decisions - len(seen)) if decisions > len(seen) and days else np.inf
        each = np.repeat(mean[:, None, :], hours, axis=1).ravel()
        found = self.cost or ("money" if mean.any() else "")
        usual = float(max(-cost.sum() / max(priced.sum(), 1.0), 0.0) if self.cost else mean.mean())
        return Tally(rounds, skipped, eligible, sends, stages, held, len(seen), days, gap, each, usual, share, found)

    def organic_spend(self) -> float:
        """Mean spending of the decisions that reached no stage; what is not known is left out."""
        told = [batch.rewards[self.spend][missed(batch, self.stage)] for batch in self.batches()]
        spent = np.concatenate(told)
        known = spent[~np.isnan(spent)]
        return float(known.mean()) if len(known) else 0.0

    def rows(self, wanted: Callable[[RoundBatch], BoolArray], target: Callable[[RoundBatch], Any]) -> Stream:
        """Rows of each batch that `wanted(batch)` says, with `target(batch)` as their target."""

        def stream() -> Iterable[Rows]:
            for batch in self.batches():
                rows = np.flatnonzero(wanted(batch))
                if len(rows):
                    kept = batch.take(rows)
                    yield Rows(kept.context, kept.action, np.asarray(target(kept), dtype=np.float64), kept.cluster)

        return stream


class _CommonMoney:
    """The most common money of a send that brought nothing: it lies below that of holds by what the send costs.

    Args:
        cells: kinds of sends, by channel and arm.
    """

    def __init__(self, cells: int) -> None:
        self._rows = np.zeros(cells + 1, dtype=np.int64)
        self._counts = [Counter[float]() for _ in range(cells + 1)]

    def add(self, money: FloatArray, sent: BoolArray, cell: IntArray) -> None:
        """Count the money of some rows; `cell` is that of the sends among them."""
        where = np.zeros(len(money), dtype=np.int64)
        where[sent] = 1 + cell
        for number in np.unique(where).tolist():
            values, counts = np.unique(np.round(money[where == number], _DIGITS), return_counts=True)
            often = np.argsort(-counts, kind="stable")[:_KEPT]
            self._rows[number] += int(counts.sum())
            self._counts[number].update(dict(zip(values[often].tolist(), counts[often].tolist(), strict=True)))

    def cost(self) -> FloatArray:
        """(cells,) what a send costs, at least 0; 0 where its money has no common value, or that of holds has none."""
        held, *sends = (self._common(number) for number in range(len(self._counts)))
        return np.array([0.0 if held is None or own is None else max(held - own, 0.0) for own in sends])

    def _common(self, number: int) -> float | None:
        value, count = max(self._counts[number].items(), key=lambda item: (item[1], -item[0]), default=(0.0, 0))
        return value if count and count >= _COMMON * self._rows[number] else None


def reached(batch: RoundBatch, name: str) -> BoolArray:
    """(n,) whether a stage is known to have been reached."""
    hit: BoolArray = batch.rewards[name] > 0.0
    return hit


def missed(batch: RoundBatch, name: str) -> BoolArray:
    """(n,) whether a stage is known not to have been reached; what is pending is neither this nor reached."""
    out: BoolArray = batch.rewards[name] <= 0.0
    return out


def is_send(batch: RoundBatch) -> BoolArray:
    """(n,) whether a message was sent."""
    sent: BoolArray = batch.action != HOLD
    return sent


def named(words: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """The known names that a list of words means, in its order: `click` means `clicked` and `email_clicks`."""
    stems = {name: _stems(name) for name in known}
    found = [name for word in words for name, own in stems.items() if _within(_stems(word), own)]
    return tuple(dict.fromkeys(found))


def _within(part: Sequence[str], whole: Sequence[str]) -> bool:
    return any(whole[at : at + len(part)] == part for at in range(len(whole) - len(part) + 1))


def _stems(name: str) -> list[str]:
    """The words of a name without the endings of verbs and plurals."""
    return [_stem(word.lower()) for word in _WORD.findall(name)]


def _stem(word: str) -> str:
    for ending, instead in (("ied", "y"), ("ies", "y"), ("ing", ""), ("ed", ""), ("s", ""), ("e", "")):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            word = word[: -len(ending)] + instead
            break
    return word.removesuffix("e")
