"""From the cells of an experiment to its table: paired differences over seeds, regret, share of the gap closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import ndtri, stdtrit

from engine.types import FloatArray, IntArray
from experiments.season.cells import Cell, CellGroup, read_cell
from experiments.season.config import ExperimentConfig
from experiments.season.outputs import ScenarioGap, SeasonRow
from experiments.season.runner import NEVER


@dataclass(frozen=True)
class Spread:
    """A mean over seeds with its interval; no interval where nothing is known of the spread."""

    mean: float
    low: float | None
    high: float | None

    @property
    def verdict(self) -> str:
        """Better, worse or no difference than 0, by the interval; insufficient without one."""
        if self.low is None or self.high is None:
            return "insufficient"
        if self.low > 0.0:
            return "better"
        return "worse" if self.high < 0.0 else "no difference"


def over_seeds(values: Sequence[float] | FloatArray, stderr: float | None, alpha: float) -> Spread:
    """Mean of one figure per seed, with Student's interval over the seeds.

    Seeds are clusters: contacts of one seed share a slice, and so what was learnt from it, so that their own errors say
    nothing about another slice. With one seed the interval is that of its contacts, given what was learnt.

    Args:
        values: (S,) one figure per seed.
        stderr: standard error over the contacts of a single seed; used where S is 1.
        alpha: 1 - confidence.
    """
    given = np.asarray(values, dtype=np.float64)
    mean = float(given.mean())
    if len(given) > 1:
        half = float(stdtrit(len(given) - 1, 1.0 - alpha / 2.0) * given.std(ddof=1) / np.sqrt(len(given)))
    elif stderr is not None:
        half = float(ndtri(1.0 - alpha / 2.0)) * stderr
    else:
        return Spread(mean, None, None)
    return Spread(mean, mean - half, mean + half)


def ratio_over_seeds(above: Sequence[float], below: Sequence[float], alpha: float) -> Spread | None:
    """Ratio of two means over seeds, with the interval of its linearisation (delta method), seeds as clusters.

    None where the lower end of the denominator's own interval is not above 0: a share of nothing is no figure. One seed
    gives a ratio without an interval.
    """
    a, b = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    whole = over_seeds(b, None, alpha)
    if not b.mean() > 0.0 or (whole.low is not None and whole.low <= 0.0):
        return None
    ratio = float(a.mean() / b.mean())
    if len(a) == 1:
        return Spread(ratio, None, None)
    around = over_seeds((a - ratio * b) / float(b.mean()), None, alpha)
    half = (around.high or 0.0) - around.mean
    return Spread(ratio, ratio - half, ratio + half)


# The reference is compared with this policy on its own contacts, and this one with the baseline on more of them: the
# two are so close that few contacts tell them apart.
STEPPING_STONE = "myopic_oracle"
# What the gap is split by: the best that observations allow, and the baseline that gives no discounts.
OBSERVABLE, UNDISCOUNTED = "best_observable", "segments_undiscounted"
_NOTHING = Spread(0.0, None, None)


@dataclass(frozen=True)
class Paired:
    """Differences of one figure between two policies.

    Attributes:
        by_seed: (S,) means over the contacts that both have.
        stderr: standard error over the contacts of one seed (the first).
    """

    by_seed: FloatArray
    stderr: float

    def spread(self, alpha: float) -> Spread:
        """Mean and interval over seeds."""
        return over_seeds(self.by_seed, self.stderr, alpha)


class Seasons:
    """The cells of one scenario and variant, read policy by policy.

    Args:
        config: configuration of the experiment.
        scenario / variant: names that the cells share.
        folder: where they lie.
    """

    def __init__(self, config: ExperimentConfig, scenario: str, variant: str, folder: Path) -> None:
        self.config, self.scenario, self.variant = config, scenario, variant
        self._folder = folder
        self._read: dict[str, list[Cell]] = {}

    def cells(self, policy: str) -> list[Cell]:
        """One per seed.

        Raises:
            StorageError: a file is missing or damaged.
        """
        if policy not in self._read:
            groups = [CellGroup(self.scenario, self.variant, seed) for seed in self.config.seed_numbers]
            self._read[policy] = [read_cell(group.file(self._folder, policy)) for group in groups]
        return self._read[policy]

    def gap(self) -> FloatArray | None:
        """(S,) reference minus baseline; None without the reference."""
        return None if self.config.reference not in self.config.all_policies else self.over_baseline_by_step().sum(1)

    def over_baseline_by_step(self, policy: str = "") -> FloatArray:
        """(S, T) mean reward of a policy (or the reference) over the baseline's, step by step.

        The reference goes by way of the stepping stone where that has more contacts.
        """
        name, base = policy or self.config.reference, self.config.baseline
        contacts = self.config.contacts_of
        between = STEPPING_STONE
        known = between in self.config.all_policies and name == self.config.reference and name != between
        if known and contacts(between) > contacts(name):
            return self._by_step(name, between) + self._by_step(between, base)
        return self._by_step(name, base)

    def _by_step(self, policy: str, other: str) -> FloatArray:
        size = min(self.config.contacts_of(policy), self.config.contacts_of(other))
        pairs = zip(self.cells(policy), self.cells(other), strict=True)
        return np.stack([one.played.by_step[size] - two.played.by_step[size] for one, two in pairs])


def paired(ours: Sequence[FloatArray | IntArray], theirs: Sequence[FloatArray | IntArray]) -> Paired:
    """Differences by contact, on the contacts that both have, seed by seed."""
    gaps = []
    for one, two in zip(ours, theirs, strict=True):
        size = min(len(one), len(two))
        gaps.append(one[:size].astype(np.float64) - two[:size])
    first = gaps[0]
    return Paired(np.array([gap.mean() for gap in gaps]), float(first.std(ddof=1) / np.sqrt(len(first))))


def judged(config: ExperimentConfig, folder: Path) -> tuple[list[SeasonRow], list[ScenarioGap]]:
    """The table of an experiment whose cells are all there.

    Args:
        config: configuration of the experiment.
        folder: folder of the cells.

    Raises:
        StorageError: a file is missing or damaged.
    """
    rows, gaps = [], []
    first = next(iter(config.variants))
    for scenario in config.scenarios:
        reference = Seasons(config, scenario, first, folder)
        for variant in config.variants:
            own = reference if variant == first else Seasons(config, scenario, variant, folder)
            rows += [_row(own, reference, policy) for policy in config.all_policies]
            gaps.append(_gap(own))
    return rows, gaps


def _row(own: Seasons, first: Seasons, policy: str) -> SeasonRow:
    config, cells = own.config, own.cells(policy)
    within = own is first or config.versus == "baseline"
    other = (config.baseline, own) if within else (policy, first)
    itself = within and policy == config.baseline
    base = other[1].cells(other[0])
    total = paired([cell.played.total for cell in cells], [cell.played.total for cell in base])
    sends = paired([cell.played.sends for cell in cells], [cell.played.sends for cell in base])
    left = paired([cell.played.left for cell in cells], [cell.played.left for cell in base])
    gain, sent, lost = (one.spread(config.alpha) for one in (total, sends, left))
    profit = paired([cell.played.total for cell in cells], [np.zeros(len(cell.played.total)) for cell in cells])
    level = profit.spread(config.alpha)
    regret, closed = _to_reference(own, policy)
    reached = _to_observable(own, policy)
    revenue = sum(cell.played.money["revenue"] for cell in cells)
    return SeasonRow(
        scenario=own.scenario,
        variant=own.variant,
        policy=policy,
        seeds=len(cells),
        contacts=config.contacts_of(policy),
        profit=level.mean,
        profit_low=level.low,
        profit_high=level.high,
        against="" if itself else f"{other[0]}, {other[1].variant}",
        difference=None if itself else gain.mean,
        difference_low=None if itself else gain.low,
        difference_high=None if itself else gain.high,
        difference_stderr_contacts=None if itself else total.stderr,
        verdict="" if itself else gain.verdict,
        sends=_mean([cell.played.sends for cell in cells]),
        sends_difference=None if itself else sent.mean,
        sends_low=None if itself else sent.low,
        sends_high=None if itself else sent.high,
        more_sends=not itself and sent.verdict == "better",
        unsubscribes=_mean([cell.played.left for cell in cells]),
        unsubscribes_difference=None if itself else lost.mean,
        unsubscribes_low=None if itself else lost.low,
        unsubscribes_high=None if itself else lost.high,
        more_unsubscribes=not itself and lost.verdict == "better",
        complaints=_mean([cell.played.complained for cell in cells]),
        discount_share=sum(cell.played.money["discounted"] for cell in cells) / revenue if revenue else None,
        regret_per_day=regret.mean if regret else None,
        regret_low=regret.low if regret else None,
        regret_high=regret.high if regret else None,
        gap_closed=closed.mean if closed else None,
        gap_closed_low=closed.low if closed else None,
        gap_closed_high=closed.high if closed else None,
        observable_closed=reached.mean if reached else None,
        observable_closed_low=reached.low if reached else None,
        observable_closed_high=reached.high if reached else None,
    )


def _to_reference(own: Seasons, policy: str) -> tuple[Spread | None, Spread | None]:
    """Regret per day, and the share of the gap that is closed."""
    config, gap = own.config, own.gap()
    if gap is None:
        return None, None
    days = config.days
    if policy == config.reference:
        return _NOTHING, Spread(1.0, None, None)
    over = own.over_baseline_by_step(policy).sum(axis=1) if policy != config.baseline else np.zeros(len(gap))
    regret = over_seeds((gap - over) / days, None, config.alpha)
    closed = None if policy == config.baseline else ratio_over_seeds(list(over), list(gap), config.alpha)
    return regret, closed


def _to_observable(own: Seasons, policy: str) -> Spread | None:
    """The share of the way from the baseline to the best that observations allow."""
    config = own.config
    if OBSERVABLE not in config.all_policies or policy in (config.baseline, OBSERVABLE):
        return None
    above, below = (own.over_baseline_by_step(name).sum(axis=1) for name in (policy, OBSERVABLE))
    return ratio_over_seeds(list(above), list(below), config.alpha)


def _over_baseline(own: Seasons, policy: str) -> Spread | None:
    """What a policy earns over the baseline by contact; None where it is not among the policies."""
    if policy not in own.config.all_policies:
        return None
    ours, theirs = ([cell.played.total for cell in own.cells(name)] for name in (policy, own.config.baseline))
    return paired(ours, theirs).spread(own.config.alpha)


def _gap(own: Seasons) -> ScenarioGap:
    config, gap = own.config, own.gap()
    room = None if gap is None else over_seeds(gap, None, config.alpha)
    observable, discounts = _over_baseline(own, OBSERVABLE), _over_baseline(own, UNDISCOUNTED)
    bounds = [cell.note.bound for cell in own.cells(config.baseline)]
    known = [bound for bound in bounds if bound is not None]
    silence = [cell.note.silence for cell in own.cells(NEVER)] if NEVER in config.all_policies else []
    off = [one for one in silence if one is not None]
    return ScenarioGap(
        scenario=own.scenario,
        variant=own.variant,
        gap=room.mean if room else None,
        gap_low=room.low if room else None,
        gap_high=room.high if room else None,
        observable=observable.mean if observable else None,
        observable_low=observable.low if observable else None,
        observable_high=observable.high if observable else None,
        discounts=discounts.mean if discounts else None,
        discounts_low=discounts.low if discounts else None,
        discounts_high=discounts.high if discounts else None,
        bound=float(np.mean(known)) if known and len(known) == len(bounds) else None,
        silence_off=float(np.mean([mean for mean, _ in off])) if off else None,
        silence_stderr=float(np.sqrt(sum(error**2 for _, error in off)) / len(off)) if off else None,
        regret_so_far=_regret_curves(own) if gap is not None else {},
        sends_per_day={name: _sends_curve(own.cells(name)) for name in config.all_policies},
    )


def _regret_curves(own: Seasons) -> dict[str, tuple[float, ...]]:
    top = own.over_baseline_by_step().mean(axis=0)
    curves = {}
    for name in own.config.all_policies:
        over = own.over_baseline_by_step(name).mean(axis=0) if name != own.config.baseline else np.zeros(len(top))
        below = np.zeros(len(top)) if name == own.config.reference else np.cumsum(top - over)
        curves[name] = tuple(float(value) for value in below)
    return curves


def _sends_curve(cells: Sequence[Cell]) -> tuple[float, ...]:
    mean = np.mean([cell.played.sends_by_step for cell in cells], axis=0)
    return tuple(float(value) for value in mean)


def _mean(values: Sequence[IntArray]) -> float:
    return float(np.mean([one.mean() for one in values]))
