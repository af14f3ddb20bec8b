"""What a discount does to orders that come without a message: coupons are used on them, and prices are waited for.

Among sends on one channel at one hour of a randomised log, whether the arm held a discount was drawn. So the money of
the decisions that follow is regressed on

    exposure = depth of the discount x chance of a click        (who does not look is not changed)

less its mean over the arms that were eligible there: one slope. It is shrunk by how well it is known, slope x max(0,
1 - error^2 / slope^2) (James & Stein 1961, positive part), and counted where it is a loss. What comes after the
decisions that are looked at, such as a habit of months, is left out: discounts then look cheaper than they are.
"""

from __future__ import annotations

import numpy as np

from engine.catalog import Catalog
from engine.numeric.matmul import matmul
from engine.types import HOLD, FloatArray
from policies.horizon.panel import Panel


def echo_slope(panel: Panel, catalog: Catalog, money: str, own_chance: FloatArray, decisions: int) -> float:
    """USD of the following decisions per unit of exposure; at most 0.

    Args:
        panel: trajectories, decided at random among the arms.
        catalog: of their actions.
        money: metric of all money of a contact.
        own_chance: (n,) chance of a click of the send that was chosen; 0 for hold.
        decisions: that are added up.
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
    for block in panel.blocks:
        own = np.flatnonzero(block.action != HOLD)
        channel, hour, _ = catalog.split(block.action[own])
        sends = block.eligible_dense()[own, 1:].reshape(len(own), *catalog.shape)
        arms = sends[np.arange(len(own)), channel, hour]
        out[start + own] = matmul(arms, depth) / np.maximum(arms.sum(axis=1), 1)
        start += block.n
    return out
