"""What every action is worth in the present step, in expectation, to whoever knows the latents.

For an action of contact i, with delivered, seen, clicked, ordered, unsubscribed and complained its chances, b_i the
contact's mean order value, d the deeper of the arm's discount and a coupon in hand, and r the chance of a refund:

    message  = delivered [seen clicked ordered b_i keep(d) - c_u unsubscribed - c_c complained] - cost of the send
    organic  = chance of an order without a message, times b_i keep(coupon in hand)
    keep(d)  = margin (1 - r(d) max(1 - d / margin)) - d        what is left of one dollar of an order, refunds included

The reward of a step is organic + message; hold is organic alone. What a message does to later steps (fatigue, lost
permissions beyond c_u, a coupon used on an organic order of the next days) is in no immediate reward, nor here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from engine.types import HOLD, CodeArray, FloatArray, IntArray
from simulator.world.response import Cells, Chances
from simulator.world.world import World

# Cells (a contact and an action) that are judged at once: a few dozen arrays of 4 MiB.
_CELLS = 1 << 19


def expected_rewards(world: World, rows: IntArray) -> FloatArray:
    """(m, k) expected reward of the step under each action, eligible or not, in usd.

    Args:
        world: before the step.
        rows: (m,) rows of the batch.
    """
    out = np.empty((len(rows), world.catalog.k))
    out[:] = organic_rewards(world, rows)[:, None]
    for part in row_parts(len(rows), world.catalog.k):
        out[part, HOLD + 1 :] += message_gains(world, rows[part])
    return out


def message_gains(world: World, rows: IntArray) -> FloatArray:
    """(m, k - 1) expected reward of each send over that of hold in this step; call it on batches of rows."""
    return message_outlook(world, rows)[0]


def message_outlook(world: World, rows: IntArray) -> tuple[FloatArray, FloatArray]:
    """(m, k - 1) expected reward of each send over that of hold, and its chance of a click; call it on batches."""
    catalog = world.catalog
    shape = (len(rows), len(catalog.channels), len(catalog.hours), len(catalog.arms))
    actions = np.arange(1, catalog.k).reshape(shape[1:])
    if not world.hour_moves_seen_only:
        cells = _cells(world, rows, actions)
        chances = world.chances(cells)
        clicked = chances.delivered * chances.seen * chances.clicked
        gains = clicked * chances.ordered * _kept_of_messages(world, cells) - _price(world, chances, cells)
        return gains.reshape(len(rows), -1), clicked.reshape(len(rows), -1)
    by_hour = world.chances(_cells(world, rows, actions[:, :, 0])).seen.reshape(*shape[:3], 1)
    cells = _cells(world, rows, actions[:, 0])
    chances = world.chances(cells)
    clicked = chances.delivered * chances.clicked
    bought = clicked * chances.ordered * _kept_of_messages(world, cells)
    by_arm = (shape[0], shape[1], 1, shape[3])
    gains = by_hour * bought.reshape(by_arm) - _price(world, chances, cells).reshape(by_arm)
    return gains.reshape(len(rows), -1), (by_hour * clicked.reshape(by_arm)).reshape(len(rows), -1)


def gains_of(world: World, rows: IntArray, actions: IntArray | CodeArray) -> FloatArray:
    """(m,) expected reward of one action a row over that of hold in this step; 0 for hold."""
    gains = np.zeros(len(rows))
    sent = np.flatnonzero(actions != HOLD)
    cells = world.cells(rows[sent], actions[sent])
    chances = world.chances(cells)
    gains[sent] = chances.orders * _kept_of_messages(world, cells) - _price(world, chances, cells)
    return gains


def organic_rewards(world: World, rows: IntArray) -> FloatArray:
    """(m,) expected reward of the step under hold: orders without a message, less coupons that are used on them."""
    chance = world.organic()[rows]
    worth: FloatArray = chance * world.people.basket_usd[rows] * kept(world, _coupon(world, rows))
    return worth


def kept(world: World, depth: FloatArray) -> FloatArray:
    """What is left of one dollar of an order at a discount `depth`, refunds included."""
    money = world.scenario.spec.money
    share = np.where(depth > 0.0, money.discount_refund_share, money.refund_share)
    left: FloatArray = money.margin_share * (1.0 - share * (1.0 - depth / max(money.margin_share, 1e-9))) - depth
    return left


def row_parts(m: int, k: int) -> Iterator[slice]:
    """Slices of m rows that hold a bounded number of (row, action) cells."""
    size = max(1, _CELLS // k)
    return (slice(start, min(start + size, m)) for start in range(0, m, size))


def _cells(world: World, rows: IntArray, actions: IntArray) -> Cells:
    flat = actions.ravel()
    return world.cells(np.repeat(rows, len(flat)), np.tile(flat, len(rows)))


def _coupon(world: World, rows: IntArray) -> FloatArray:
    state = world.state
    return np.where(state.coupon_until[rows] >= state.step, state.coupon_depth[rows], 0.0)


def _kept_of_messages(world: World, cells: Cells) -> FloatArray:
    depth = np.array([one.discount_depth for one in world.catalog.arms])[cells.arm]
    coupon = _coupon(world, cells.rows)
    worth: FloatArray = world.people.basket_usd[cells.rows] * kept(world, np.maximum(depth, coupon))
    return worth


def _price(world: World, chances: Chances, cells: Cells) -> FloatArray:
    """(m,) cost of the send and of the permissions and goodwill that it loses."""
    money = world.scenario.spec.money
    cost = np.array([money.send_cost_usd.get(name, 0.0) for name in world.catalog.channels])[cells.channel]
    harm = money.unsubscribe_usd * chances.unsubscribed + money.complaint_usd * chances.complained
    price: FloatArray = cost + chances.delivered * harm
    return price
