"""Can the best action of each group of contacts be learnt from the decisions to come, and by when.

The values of k arms in a group are drawn around the group's centre with one spread, which the log tells by the method
of moments (DerSimonian & Laird 1986): the variance of the arms' means less that of their errors. Given the log, an
arm's value is normal around its shrunk mean (Efron & Morris 1975). Truths are drawn from there, the weeks to come are
simulated on each, and the arm with the highest mean is taken: what that brings of all that the best arms would bring is
the share of the gain, the expected value of sample information (Raiffa & Schlaifer 1961).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from engine.types import FloatArray, IntArray

_CELLS = 2_000_000


@dataclass(frozen=True)
class Cells:
    """What is known of g groups and k arms.

    Attributes:
        mean / stderr: (g, k) of an arm's value; NaN and infinite where the log never took the arm.
        sd: (g, k) standard deviation of the reward of one decision, clusters included.
        weight: (g,) shares of the decisions; sums to 1.
        practice: (g, k) how often the log took the arm; rows sum to 1.
        spread: standard deviation of the arms' values around their group's centre.
        p_value: of all arms of a group being alike; NaN where the spread was given.
    """

    mean: FloatArray
    stderr: FloatArray
    sd: FloatArray
    weight: FloatArray
    practice: FloatArray
    spread: float
    p_value: float

    @property
    def arms(self) -> int:
        return int(self.mean.shape[1])


def cells_of(mean: FloatArray, stderr: FloatArray, sd: FloatArray, rows: FloatArray) -> Cells:
    """Cells of a log.

    Args:
        mean / stderr: (g, k) by inverse propensities; NaN and infinite where there are too few rows.
        sd: (g, k) of the reward; NaN there too.
        rows: (g, k) decisions.
    """
    weight = rows.sum(axis=1) / rows.sum()
    seen = np.isfinite(mean) & np.isfinite(stderr) & (stderr > 0)
    q, freedom, excess, scale = 0.0, 0, 0.0, 0.0
    for g in range(len(mean)):
        if seen[g].sum() < 2:
            continue
        precision = 1.0 / stderr[g, seen[g]] ** 2
        centre = (precision * mean[g, seen[g]]).sum() / precision.sum()
        own = float((precision * (mean[g, seen[g]] - centre) ** 2).sum())
        q, freedom = q + own, freedom + len(precision) - 1
        excess += own - (len(precision) - 1)
        scale += float(precision.sum() - (precision**2).sum() / precision.sum())
    spread = float(np.sqrt(max(excess, 0.0) / scale)) if scale > 0 else 0.0
    p_value = float(chi2.sf(q, freedom)) if freedom else 1.0
    typical = float(np.sqrt(np.nanmean(sd**2)))
    return Cells(mean, stderr, np.where(np.isfinite(sd) & (sd > 0), sd, typical), weight,
                 rows / np.maximum(rows.sum(axis=1, keepdims=True), 1.0), spread, p_value)  # fmt: skip


def cells_of_rates(mean: float, sd: float, arms: int, spread: float) -> Cells:
    """Cells of a team that has no log: k arms around one mean, none of them known.

    Args:
        mean / sd: of the reward of one decision.
        arms: k.
        spread: standard deviation of the arms' values.
    """
    shape = (1, arms)
    alike, unknown = np.full(shape, 1.0 / arms), np.full(shape, np.inf)
    return Cells(np.full(shape, mean), unknown, np.full(shape, sd), np.ones(1), alike, spread, float("nan"))


def believed(cells: Cells) -> tuple[FloatArray, FloatArray]:
    """(g, k) mean and standard deviation of each arm's value, given the log and the spread."""
    known = np.isfinite(cells.stderr)
    total = cells.stderr**2 + cells.spread**2
    precision = np.where(known & (total > 0), 1.0 / np.where(total > 0, total, 1.0), 0.0)
    values = np.nan_to_num(cells.mean)
    over = precision.sum(axis=1, keepdims=True)
    # A group, or a team, without any known arm has its arms' common mean.
    centre = np.where(over > 0, (precision * values).sum(axis=1, keepdims=True) / np.maximum(over, 1e-300),
                      values.mean(axis=1, keepdims=True))  # fmt: skip
    trust = np.where(known, cells.spread**2 / np.where(total > 0, total, 1.0), 0.0)
    return centre + trust * (values - centre), cells.spread * np.sqrt(1.0 - trust)


@dataclass(frozen=True)
class Learning:
    """What is learnt at one exploration.

    Attributes:
        shares: (weeks + 1,) expected share of the gain after each week; the first is what the log tells today.
        gain: expected gain of the best arms over what the log did, per decision.
        uniform_loss: what a uniform choice loses against the best arms, per decision.
        best: (g, k) chance to be the best arm of the group.
    """

    shares: FloatArray
    gain: float
    uniform_loss: float
    best: FloatArray


def learning(
    cells: Cells,
    *,
    exploration: float,
    per_week: float,
    weeks: Sequence[int],
    kept: Sequence[int] | None = None,
    seed: int = 0,
) -> Learning:
    """Simulate the weeks to come.

    A share `exploration` of the decisions is drawn alike from the kept arms; the others take the arm that is believed
    to be the best today.

    Args:
        cells: what is known.
        exploration: share of uniform decisions, in (0, 1].
        per_week: decisions.
        weeks: numbers of weeks to look at, 0 for today.
        kept: arms to go on with; None for all. The gain is always that of all arms.
        seed: of the simulation; the same draws for every exploration.
    """
    chosen: IntArray = np.arange(cells.arms) if kept is None else np.asarray(kept, dtype=np.int64)
    mean, sd = believed(cells)
    draws = int(np.clip(_CELLS // mean.size, 200, 4000))
    generator = np.random.default_rng(seed)
    truth = mean + sd * generator.standard_normal((draws, *mean.shape))
    noise = generator.standard_normal((draws, *mean.shape))[:, :, chosen]
    top = truth.max(axis=2)
    practice = (truth * cells.practice).sum(axis=2)
    gain = float(((top - practice) * cells.weight).sum(axis=1).mean()) if cells.spread > 0 else 0.0
    share = np.full((len(mean), len(chosen)), exploration / len(chosen))
    share[np.arange(len(mean)), mean[:, chosen].argmax(axis=1)] += 1.0 - exploration
    prior, found = np.maximum(sd[:, chosen], 1e-100) ** -2.0, []
    for week in weeks:
        decisions = per_week * week * cells.weight[:, None] * share
        told = decisions / cells.sd[:, chosen] ** 2
        observed = truth[:, :, chosen] + noise / np.sqrt(np.maximum(told, 1e-300))
        guess = (prior * mean[:, chosen] + told * observed) / (prior + told)
        taken = np.take_along_axis(truth[:, :, chosen], guess.argmax(axis=2)[:, :, None], axis=2)[:, :, 0]
        found.append(float(((taken - practice) * cells.weight).sum(axis=1).mean()))
    best = np.stack([(truth.argmax(axis=2) == arm).mean(axis=0) for arm in range(cells.arms)], axis=1)
    loss = float(((top - truth.mean(axis=2)) * cells.weight).sum(axis=1).mean())
    shares = np.array(found) / gain if gain > 0 else np.full(len(found), np.nan)
    return Learning(shares, gain, loss, best)


def to_drop(best: FloatArray) -> IntArray:
    """Arms that are hardly ever the best, in any group: less than a fifth of an even chance, and below 5 %."""
    arms = best.shape[1]
    return np.flatnonzero(best.max(axis=0) < min(0.05, 0.2 / arms))
