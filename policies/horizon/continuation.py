"""What a message does to all that comes later: fitted evaluation on logged trajectories.

Q(x, a) = gain(x, a) + E[discount^gap V(x') | x, a] with V(x') = the best of Q(x', .) over what is eligible at x'. The
expectation is fitted `look_ahead` times (fitted Q iteration, Ernst, Geurts & Wehenkel, JMLR 2005, figure 1): each time
the policy that is greedy in the Q before is evaluated one decision further. The reward is the modelled gain, not the
drawn money, so that the noise of orders stays out. What a send uses up - caps, attention, readiness - is in x' and in
what is eligible there.

Two things are left out of what a policy sees, and would bias the fit if they were left out of it, too: which channels
a contact ever permits, and whether anything may be sent now. They are features of the regression alone; of the score
tables only the difference between send and hold is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from engine.catalog import Arm, Catalog
from engine.features import PRESENT, Column, ContextBatch, FeatureSchema, FeatureSpec
from engine.numeric.matmul import matmul
from engine.types import HOLD, CodeArray, FloatArray, IntArray
from policies.horizon.config import HorizonConfig
from policies.horizon.panel import Panel
from policies.horizon.regression import Regression

PERMITTED: Final = "tactful permitted"
SENDABLE: Final = "tactful sendable"
_YES: Final = ("no", "yes")


def permission_loss(panel: Panel, gain: FloatArray, catalog: Catalog, config: HorizonConfig) -> FloatArray:
    """(n, C) what losing a channel costs the contact of each decision: later gains with it, less those without.

    The best gain of a decision is compared with the best one without the channel, on average over the contact's
    decisions that had a choice; a contact gets as many messages as the log sends, for half of the horizon.
    """
    channels = len(catalog.channels)
    best = gain.reshape(panel.n, channels, -1).max(axis=2)
    best = np.where(panel.permitted, np.maximum(best, 0.0), 0.0)
    whole = best.max(axis=1)
    others = [np.delete(best, channel, axis=1).max(axis=1, initial=0.0) for channel in range(channels)]
    missed = np.stack([whole - other for other in others], axis=1)
    had = panel.open_channels.any(axis=1)
    counts = np.maximum(np.bincount(panel.contact, weights=had, minlength=panel.contacts), 1.0)
    sums = [np.bincount(panel.contact, weights=missed[:, c] * had, minlength=panel.contacts) for c in range(channels)]
    per_message = np.stack([total / counts for total in sums], axis=1)
    later: FloatArray = per_message[panel.contact] * messages_per_day(panel) * config.horizon_days / 2.0
    return later


def messages_per_day(panel: Panel) -> float:
    """Messages per contact and day of the whole log, also of days on which nothing was to be decided."""
    gaps = panel.gap_days[panel.following >= 0]
    if not len(gaps):
        return 0.0
    days = float(np.nanmax(panel.at_days) - np.nanmin(panel.at_days) + np.median(gaps))
    return float((panel.action != HOLD).sum()) / (days * panel.contacts)


def continuation(panel: Panel, on: Regression, gain: FloatArray, config: HorizonConfig) -> FloatArray:
    """(n, k - 1) what each send does to later gains, over what hold does; usually below 0.

    Args:
        panel: trajectories.
        on: their decisions.
        gain: (n, k - 1) of each send over hold, lost permissions charged.
        config: look-ahead, discount, ridge and share that is counted.

    Raises:
        LearnError: Vowpal Wabbit failed.
    """
    linked = (panel.following >= 0) | panel.ended
    shape = (panel.n, on.catalog.k - 1)
    if not config.look_ahead or not linked.any() or not (panel.action[linked] != HOLD).any():
        return np.zeros(shape)
    small, group = grouped(on.catalog)
    regression = replace(
        on,
        catalog=small,
        schema=_wider(on.schema),
        contexts=_with_state(panel, on),
        action=np.append(HOLD, group)[panel.action],
    )
    eligible = panel.eligible()[:, 1:]
    later = np.zeros((panel.n, small.k))
    for _ in range(config.look_ahead):
        best = np.where(eligible, gain + later[:, group] - later[:, :1], 0.0).max(axis=1, initial=0.0)
        value = later[:, HOLD] + np.maximum(best, 0.0)
        target = np.where(panel.following >= 0, config.discount**panel.gap_days * value[panel.following], 0.0)
        model = regression.fitted(target, linked, config.continuation_ridge, ("xa",))
        later = np.concatenate([model.predict(context) for context in regression.contexts])
    over: FloatArray = (later[:, group] - later[:, :1]) * config.charge
    return over


def grouped(catalog: Catalog) -> tuple[Catalog, IntArray]:
    """Sends that the continuation tells apart: by channel, and by whether there is a discount.

    Returns:
        A catalog of them, and (k - 1,) the action there of each send.
    """
    channel, _, arm = catalog.split(np.arange(1, catalog.k))
    deep = np.array([one.discount_depth > 0.0 for one in catalog.arms])[arm]
    kinds = np.unique(deep)
    arms = tuple(Arm(id="discount" if kind else "full price", approved=True) for kind in kinds)
    small = Catalog(name="continuation", channels=catalog.channels, hours=catalog.hours[:1], arms=arms)
    action: IntArray = 1 + channel * len(kinds) + np.searchsorted(kinds, deep)
    return small, action


def _wider(schema: FeatureSchema) -> FeatureSchema:
    return FeatureSchema(features=(*schema.features, _state(PERMITTED, ()), _state(SENDABLE, _YES)))


def _state(name: str, levels: tuple[str, ...]) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        type="categorical",
        unit="level",
        source="eligible sets of the log",
        collected_where="the log itself",
        customer_benefit="Later messages are weighed too",
        max_age_days=None,
        signal_group="state",
        levels=levels,
    )


def _with_state(panel: Panel, on: Regression) -> Sequence[ContextBatch]:
    channels = len(on.catalog.channels)
    schema = _wider(on.schema)
    permitted = panel.permitted
    open_now: CodeArray = np.asarray(panel.open_channels.any(axis=1), dtype=np.int32)
    mask: IntArray = matmul(permitted.astype(np.int64), 1 << np.arange(channels))
    seen, position = np.unique(mask, return_inverse=True)
    levels = tuple(format(one, f"0{channels}b") for one in seen.tolist())
    codes = np.asarray(position).ravel().astype(np.int32)
    out: list[ContextBatch] = []
    start = 0
    for context in on.contexts:
        rows = slice(start, start + context.n)
        state = np.full(context.n, PRESENT, dtype=np.uint8)
        columns = dict(context.columns) | {
            PERMITTED: Column(codes[rows], state, levels),
            SENDABLE: Column(open_now[rows], state, _YES),
        }
        out.append(ContextBatch(schema, columns, context.n))
        start += context.n
    return out


def echo_slope(panel: Panel, catalog: Catalog, money: str, own_chance: FloatArray, decisions: int) -> float:
    """What a discount does to orders that come without a message, in USD per unit of exposure; at most 0.

    Coupons are used on such orders, and prices are waited for. Among sends on one channel at one hour of a randomised
    log, whether the arm held a discount was drawn. So the money of the decisions that follow is regressed on

        exposure = depth of the discount x chance of a click        (who does not look is not changed)

    less its mean over the arms that were eligible there: one slope. It is shrunk by how well it is known, slope x
    max(0, 1 - error^2 / slope^2) (James & Stein 1961, positive part), and counted where it is a loss. What comes after
    the decisions that are looked at, such as a habit of months, is left out: discounts then look cheaper than they are.

    Args:
        panel: trajectories, decided at random among the arms.
        catalog: the catalog of their actions.
        money: metric of all money of a contact.
        own_chance: (n,) chance of a click of the send that was chosen; 0 for hold.
        decisions: the decisions that are added up.
    """
    depth = np.array([arm.discount_depth for arm in catalog.arms])
    if not decisions or not panel.knows(money) or np.ptp(depth) == 0.0:
        return 0.0
    later = following_money(panel, money, decisions)
    rows = np.flatnonzero((panel.action != HOLD) & np.isfinite(later) & panel.usable)
    if len(rows) < 2:
        return 0.0
    _, _, arm = catalog.split(panel.action[rows])
    exposure = own_chance[rows] * (depth[arm] - _mean_depth(panel, catalog, depth)[rows])
    spread = float((exposure**2).sum())
    if spread <= 0.0:
        return 0.0
    over = later[rows] - later[rows].mean()
    slope = float((exposure * over).sum()) / spread
    error = float(np.sqrt((exposure**2 * over**2).sum())) / spread
    return min(slope * max(0.0, 1.0 - error**2 / slope**2) if slope else 0.0, 0.0)


def following_money(panel: Panel, money: str, decisions: int) -> FloatArray:
    """(n,) money of the contact's next decisions, NaN where there are fewer, or one is not known yet."""
    value, at, total = panel.reward(money), panel.following, np.zeros(panel.n)
    for _ in range(decisions):
        total += np.where(at >= 0, value[at], np.nan)
        at = np.where(at >= 0, panel.following[at], -1)
    return total


def _mean_depth(panel: Panel, catalog: Catalog, depth: FloatArray) -> FloatArray:
    """(n,) mean discount of the eligible arms on the chosen channel and hour; 0 for hold."""
    out, start = np.zeros(panel.n), 0
    for batch in panel.batches:
        own = np.flatnonzero(batch.action != HOLD)
        channel, hour, _ = catalog.split(batch.action[own])
        sends = batch.eligible_dense()[own, 1:].reshape(len(own), *catalog.shape)
        arms = sends[np.arange(len(own)), channel, hour]
        out[start + own] = matmul(arms, depth) / np.maximum(arms.sum(axis=1), 1)
        start += batch.n
    return out
