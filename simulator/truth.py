"""The value of policies over a horizon, by simulation: the ground truth that estimates are judged by.

Every policy meets the same contacts with the same luck (common random numbers), so that differences are known far
better than values. A contact is one independent unit: its total over the horizon is one term, and the Monte Carlo
standard error is that of a mean of such terms. All sums are order-free (`engine.ope.sums.exact`): batches of any size,
any number of processes and any order of seeds give the same bytes. Memory holds one batch of contacts at a time.

With `conditional` each step counts its expected reward given the latents and the action (`simulator.expected`)
in place
of the reward that was drawn: the same value in expectation (Rao & Blackwell), with a smaller error, because few orders
are large and rare.

What it does not say: the error covers the draw of contacts and luck, not the world's own numbers; totals are those of
the reward (`simulator.world.happened`) within the horizon, what comes after is in c_u and c_c alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol, cast, runtime_checkable

import numpy as np
from scipy.special import ndtri

from engine.errors import ParameterError
from engine.guardrails.conditions import NOTHING_SAID, Conditions
from engine.guardrails.layer import Guardrails
from engine.ope.sums.exact import add_pairs, segment_sums
from engine.protocols import Policy
from engine.types import FloatArray, IntArray
from simulator.expected import expected_rewards, gains_of, organic_rewards
from simulator.metrics import Metrics, exact_sum
from simulator.people.people import present_mask
from simulator.processes import worker_processes
from simulator.rollout import Actor, PolicyActor, choose
from simulator.scenario import Scenario
from simulator.world.world import World

__all__ = ["Comparison", "Planner", "Value", "compare", "expected_rewards", "list_size", "value"]

BATCH: Final = 8192
SenderOf = Callable[[World], Conditions]


@runtime_checkable
class Planner(Protocol):
    """Makes an actor for one batch of contacts before its first step; the world it is given is its own to use up."""

    def for_batch(self, world: World) -> Actor: ...


Subject = Actor | Policy | Planner


@dataclass(frozen=True)
class Value:
    """One policy over a horizon.

    Attributes:
        name: as it was asked for.
        mean: reward per contact, usd, discounted if asked for.
        stderr: its Monte Carlo standard error, by contact.
        contacts: simulated, over all seeds.
        reward_by_step / sends_by_step: (T,) means per contact, not discounted.
        list_by_step: (T + 1,) share of the simulated contacts who can be written to on some channel before each step,
            and after the last.
        list_by_channel: (T + 1, C) the same of each channel.
        metrics: the sums behind the sixteen metrics.
    """

    name: str
    mean: float
    stderr: float
    contacts: int
    reward_by_step: FloatArray
    sends_by_step: FloatArray
    list_by_step: FloatArray
    list_by_channel: FloatArray
    metrics: Metrics

    @property
    def sends(self) -> float:
        """Messages per contact over the horizon."""
        return float(self.sends_by_step.sum())

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """Normal interval of level 1 - alpha for the mean."""
        return _interval(self.mean, self.stderr, alpha)


@dataclass(frozen=True)
class Gap:
    """Mean of one policy minus that of another under the same draws, per contact, with the error of the difference."""

    mean: float
    stderr: float

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """Normal interval of level 1 - alpha."""
        return _interval(self.mean, self.stderr, alpha)


@dataclass(frozen=True)
class Comparison:
    """Some policies in one world.

    Attributes:
        values: by name.
        covariance: (A, A) of the contacts' totals, in the order of `values`.
    """

    values: Mapping[str, Value]
    covariance: FloatArray

    def difference(self, policy: str, baseline: str) -> Gap:
        """A policy against another.

        Raises:
            ParameterError: a name that was not compared.
        """
        names = list(self.values)
        for name in (policy, baseline):
            if name not in names:
                raise ParameterError("name", "Comparison", allowed=f"one of {names}", got=name)
        a, b = names.index(policy), names.index(baseline)
        variance = self.covariance[a, a] + self.covariance[b, b] - 2.0 * self.covariance[a, b]
        contacts = self.values[policy].contacts
        return Gap(self.values[policy].mean - self.values[baseline].mean, float(np.sqrt(max(variance, 0.0) / contacts)))


def value(  # noqa: PLR0913 - one front door: each argument is a choice of the person who asks
    scenario: Scenario,
    subject: Subject,
    *,
    contacts: int,
    steps: int,
    seeds: Sequence[int] = (0,),
    batch: int = BATCH,
    discount: float = 1.0,
    sender: Conditions | SenderOf = NOTHING_SAID,
    workers: int = 1,
    conditional: bool = False,
) -> Value:
    """The value of one policy; see `compare`."""
    named = {"policy": subject}
    return compare(
        scenario,
        named,
        contacts=contacts,
        steps=steps,
        seeds=seeds,
        batch=batch,
        discount=discount,
        sender=sender,
        workers=workers,
        conditional=conditional,
    ).values["policy"]


def compare(  # noqa: PLR0913 - one front door: each argument is a choice of the person who asks
    scenario: Scenario,
    subjects: Mapping[str, Subject],
    *,
    contacts: int,
    steps: int,
    seeds: Sequence[int] = (0,),
    batch: int = BATCH,
    discount: float = 1.0,
    sender: Conditions | SenderOf = NOTHING_SAID,
    workers: int = 1,
    conditional: bool = False,
) -> Comparison:
    """The values of some policies under the same draws.

    Args:
        scenario: the world.
        subjects: name -> actor, policy, or planner that makes an actor per batch.
        contacts: simulated per seed, at least 2.
        steps: horizon T, at least 1.
        seeds: distinct worlds; contacts of different seeds are different people.
        batch: contacts that are simulated at once; does not change the result.
        discount: factor per day on later rewards, in (0, 1]; 1 is no discounting.
        sender: the sender's side of the rules, fixed or by world and step.
        workers: processes; with more than one everything given must be picklable.
        conditional: count expected rewards given the latents; the metrics stay those of what was drawn.

    Raises:
        ParameterError: an argument outside its range, or a policy whose answer is no distribution.
    """
    _check(subjects, contacts, steps, seeds, batch, discount, workers)
    work = _Work(scenario, dict(subjects), steps, discount, sender, conditional)
    pieces = [(seed, first, min(batch, contacts - first)) for seed in seeds for first in range(0, contacts, batch)]
    total: _Sums | None = None
    for sums in _spread(work, pieces, workers):
        total = sums if total is None else total.merged(sums)
    return cast("_Sums", total).comparison()


def list_size(world: World) -> IntArray:
    """(1 + C,) contacts to whom advertising may be sent on some channel, and on each, as far as the sender knows."""
    state = world.state
    open_channel = (state.consent[:, :, 0] == 1) & (state.suppressed == 0)
    open_channel &= present_mask(world.people, world.moment.day)[:, None]
    return np.append(np.count_nonzero(open_channel.any(axis=1)), np.count_nonzero(open_channel, axis=0))


@dataclass(frozen=True)
class _Work:
    """Simulates pieces: what a process of the pool is given once."""

    scenario: Scenario
    subjects: Mapping[str, Subject]
    steps: int
    discount: float
    sender: Conditions | SenderOf
    conditional: bool

    @cached_property
    def _guardrails(self) -> Guardrails:
        """One layer for all batches: it depends on the scenario alone."""
        scenario = self.scenario
        return Guardrails(scenario.pack, scenario.catalog, scenario.packages, scenario.features)

    def run(self, piece: tuple[int, int, int]) -> _Sums:
        seed, first, n = piece
        world = World(self.scenario, n, seed, first=first, guardrails=self._guardrails)
        totals, tracks = [], {}
        for name, subject in self.subjects.items():
            world.reset()
            actor = _actor(subject, world)
            world.reset()
            total, tracks[name] = self._play(world, actor)
            totals.append(total)
        return _Sums.of(np.stack(totals, axis=1), tracks)

    def _play(self, world: World, actor: Actor) -> tuple[FloatArray, _Track]:
        total, rows = np.zeros(world.n), np.arange(world.n)
        track = _Track(Metrics(self.scenario.spec.outcome), self.steps, len(world.catalog.channels))
        track.listed[0] = list_size(world)
        for step in range(self.steps):
            weight = self.discount**world.moment.day
            sender = self.sender if isinstance(self.sender, Conditions) else self.sender(world)
            action = choose(world, actor, sender)
            expected = organic_rewards(world, rows) + gains_of(world, rows, action) if self.conditional else None
            happened = world.advance(action)
            reward = happened.reward_usd if expected is None else expected
            total += weight * reward
            track.metrics.add(happened, world)
            track.high[step], track.low[step] = exact_sum(reward[np.flatnonzero(reward)])
            track.sends[step] = len(happened.rows)
            track.listed[step + 1] = list_size(world)
        return total, track


@dataclass
class _Track:
    """Sums by step of one policy."""

    metrics: Metrics
    steps: int
    channels: int
    high: FloatArray = field(init=False)
    low: FloatArray = field(init=False)
    sends: IntArray = field(init=False)
    listed: IntArray = field(init=False)

    def __post_init__(self) -> None:
        self.high, self.low = np.zeros(self.steps), np.zeros(self.steps)
        self.sends = np.zeros(self.steps, dtype=np.int64)
        self.listed = np.zeros((self.steps + 1, 1 + self.channels), dtype=np.int64)

    def merge(self, other: _Track) -> None:
        self.metrics.merge(other.metrics)
        self.high, self.low = add_pairs(self.high, self.low, other.high, other.low)
        self.sends += other.sends
        self.listed += other.listed


@dataclass
class _Sums:
    """First and second moments of the contacts' totals, as order-free sums, and the tracks."""

    n: int
    first: tuple[FloatArray, FloatArray]
    second: tuple[FloatArray, FloatArray]
    tracks: dict[str, _Track]

    @staticmethod
    def of(totals: FloatArray, tracks: dict[str, _Track]) -> _Sums:
        """From (n, A) totals."""
        n, count = totals.shape
        products = (totals[:, :, None] * totals[:, None, :]).reshape(n, -1)
        high, low = segment_sums(np.hstack([totals, products]), np.array([n]))
        shape = (count, count)
        return _Sums(
            n,
            (high[0, :count], low[0, :count]),
            (high[0, count:].reshape(shape), low[0, count:].reshape(shape)),
            tracks,
        )

    def merged(self, other: _Sums) -> _Sums:
        for name, track in self.tracks.items():
            track.merge(other.tracks[name])
        first = add_pairs(*self.first, *other.first)
        return _Sums(self.n + other.n, first, add_pairs(*self.second, *other.second), self.tracks)

    def comparison(self) -> Comparison:
        n = self.n
        mean = (self.first[0] + self.first[1]) / n
        second = (self.second[0] + self.second[1]) / n
        covariance = (second - np.outer(mean, mean)) * (n / (n - 1))
        values = {}
        for position, (name, track) in enumerate(self.tracks.items()):
            values[name] = Value(
                name=name,
                mean=float(mean[position]),
                stderr=float(np.sqrt(max(covariance[position, position], 0.0) / n)),
                contacts=n,
                reward_by_step=(track.high + track.low) / n,
                sends_by_step=track.sends / n,
                list_by_step=track.listed[:, 0] / n,
                list_by_channel=track.listed[:, 1:] / n,
                metrics=track.metrics,
            )
        return Comparison(values, covariance)


def _actor(subject: Subject, world: World) -> Actor:
    if isinstance(subject, Planner):
        return subject.for_batch(world)
    if hasattr(subject, "act"):
        return cast("Actor", subject)
    return PolicyActor(subject)


def _spread(work: _Work, pieces: Sequence[tuple[int, int, int]], workers: int) -> Iterator[_Sums]:
    if workers == 1 or len(pieces) == 1:
        yield from map(work.run, pieces)
        return
    with worker_processes(workers) as pool:
        yield from pool.map(work.run, pieces)


def _interval(mean: float, stderr: float, alpha: float) -> tuple[float, float]:
    half = float(ndtri(1.0 - alpha / 2.0)) * stderr
    return mean - half, mean + half


def _check(
    subjects: Mapping[str, Subject],
    contacts: int,
    steps: int,
    seeds: Sequence[int],
    batch: int,
    discount: float,
    workers: int,
) -> None:
    for name, least, got in (
        ("contacts", 2, contacts),
        ("steps", 1, steps),
        ("batch", 1, batch),
        ("workers", 1, workers),
    ):
        if got < least:
            raise ParameterError(name, "compare", allowed=f"at least {least}", got=got)
    if not subjects:
        raise ParameterError("subjects", "compare", allowed="at least one", got=dict(subjects))
    if not seeds or len(set(seeds)) != len(seeds):
        raise ParameterError("seeds", "compare", allowed="at least one, all distinct", got=tuple(seeds))
    if not 0.0 < discount <= 1.0:
        raise ParameterError("discount", "compare", allowed="in (0, 1]", got=discount)
