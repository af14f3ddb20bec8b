"""Sequential admission of a batch under set-level limits, computed a stretch at a time.

The contacts of a batch are put in an order that is fixed by a keyed hash of their decision ids. One after the other,
each gets the eligible set E_i: what its guardrails allow, less every send that costs more than what is left of a limit;
its distribution is computed over E_i, its action drawn, its cost subtracted. So no limit is ever exceeded.

Why the propensity stays exact. What is left when contact i's turn comes is a function of the draws of contacts before
it and of what the batch was granted, never of contact i's own uniform: uniforms are independent across decisions, and
the order does not depend on them. Given E_i, which is logged, the probability of the action is the policy's
distribution over E_i, and that is what is logged. Hence for any function f,
    E[ f(x_i, a_i) pi_e(a_i | x_i, E_i) / p_i  |  everything before i ]  =  sum_a pi_e(a | x_i, E_i) f(x_i, a),
and IPS, a mean of such terms, is unbiased for the value of a policy pi_e over the logged eligible sets (the terms'
errors are martingale differences). To cut the sends after sampling and keep the propensity breaks exactly this.

Why stretches give the same. Let T(r) be the set of closed sends when r is left. T changes only where some meter falls
below the dearest send that it still affords. Draw every contact from here on with the present T. Take the first
contact j after whose draw T changes (with the amounts of the contacts in between subtracted). By induction each
contact up to and including j had the very T that its turn has in the sequential process, and the same uniform, so the
same draw; they are kept. The contacts after j are drawn again with the new T, from the same uniforms, of which nothing
has been used for those contacts yet. T can change at most once per distinct price of each meter, so there are at most
that many rounds, usually one or two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.errors import ParameterError
from engine.identity import keyed_hash
from engine.limits.costs import Costs
from engine.sealing import sealed
from engine.types import BoolArray, CodeArray, FloatArray, IntArray, ObjectArray

Draw = Callable[[IntArray, BoolArray], tuple[CodeArray, FloatArray]]


@dataclass(frozen=True)
class Admission:
    """A batch's decisions under its limits.

    Attributes:
        action: (n,) int32.
        propensity: (n,) of the action over the eligible set below.
        eligible: (n, k) bool, what each contact could get on its turn: log it.
        turn: (n,) position of each contact in the order of admission.
        used: (L, D) amounts used.
        earned: (L, D) amounts earned.
        rounds: how often a stretch was drawn.
        remaining: (L, D) what could be used at the first turn.
    """

    action: CodeArray
    propensity: FloatArray
    eligible: BoolArray
    turn: IntArray
    used: IntArray
    earned: IntArray
    rounds: int
    remaining: IntArray


def admission_order(decision_ids: ObjectArray, seed: int) -> IntArray:
    """(n,) rows in the order of a keyed hash of their decision ids, independent of the ids' uniforms.

    Raises:
        DataError: ids that are no non-empty strings.
    """
    keys = keyed_hash(decision_ids, f"admission/{seed}")
    return np.lexsort((np.asarray(decision_ids, dtype=str), keys)).astype(np.int64)


def admit(eligible: BoolArray, costs: Costs, remaining: IntArray, order: IntArray, draw: Draw) -> Admission:
    """Admit a batch.

    Args:
        eligible: (n, k) what the guardrails allow; hold is in every row.
        costs: costs of the batch's sends.
        remaining: (L, D) what may be used, 0 or more.
        order: (n,) a permutation of the rows that does not depend on any draw.
        draw: (rows (r,), eligible (r, k)) -> (action (r,), propensity (r,)); a pure function of each row by itself, as
            a policy's distribution with keyed sampling is.

    Returns:
        What sequential admission in that order gives.

    Raises:
        ParameterError: shapes that do not fit, a negative remainder, an order that is no permutation, or a draw that
            leaves its eligible set or gives a propensity outside (0, 1].
    """
    _check(eligible, costs, remaining, order)
    n = len(eligible)
    eligible = eligible.copy()
    action = np.zeros(n, dtype=np.int32)
    propensity = np.ones(n, dtype=np.float64)
    left = remaining.astype(np.int64)
    used = np.zeros(costs.shape, dtype=np.int64)
    rest = np.asarray(order, dtype=np.int64)
    stale = rest
    rounds = 0
    while len(rest):
        removed = costs.removed(rest, costs.closed(left)) & eligible[rest]
        # Only rows that lose something now, or were never drawn, can draw anything else than before.
        loses = removed.any(axis=1)
        eligible[rest[loses]] &= ~removed[loses]
        stale = rest if rounds == 0 else rest[loses]
        if len(stale):
            action[stale], propensity[stale] = _drawn(draw, stale, eligible[stale])
        rounds += 1
        running = np.cumsum(costs.meters(rest, action[rest], of=costs.amount), axis=0)
        short = (left - running < costs.thresholds(left)).any(axis=(1, 2))
        kept = int(np.argmax(short)) + 1 if short.any() else len(rest)
        left = left - running[kept - 1]
        used = used + running[kept - 1]
        rest = rest[kept:]
    turn = np.empty(n, dtype=np.int64)
    turn[order] = np.arange(n)
    earned = costs.meters(np.arange(n), action, of=costs.earned).sum(axis=0)
    return Admission(action, propensity, eligible, turn, used, earned, rounds, remaining.astype(np.int64))


def _drawn(draw: Draw, rows: IntArray, eligible: BoolArray) -> tuple[CodeArray, FloatArray]:
    # What is drawn is held against the sets that nobody else can write to.
    drawn = draw(sealed(rows), sealed(eligible))
    action, propensity = np.array(drawn[0], dtype=np.int32), np.array(drawn[1], dtype=np.float64)
    if not ((propensity > 0.0) & (propensity <= 1.0)).all():
        raise ParameterError("draw", "admit", allowed="propensities in (0, 1]", got="another number")
    if not eligible[np.arange(len(rows)), action].all():
        raise ParameterError("draw", "admit", allowed="an eligible action for every row", got="a removed action")
    return action, propensity


def _check(eligible: BoolArray, costs: Costs, remaining: IntArray, order: IntArray) -> None:
    n, k = eligible.shape
    _, channels, arms = costs.amount.shape
    if costs.day.shape[0] != n or k != 1 + channels * costs.day.shape[1] * arms:
        raise ParameterError("eligible", "admit", allowed="(n, 1 + C * H * K) as the costs say", got=eligible.shape)
    if remaining.shape != costs.shape or (remaining < 0).any():
        raise ParameterError("remaining", "admit", allowed=f"{costs.shape}, 0 or more", got=remaining.tolist())
    if not np.array_equal(np.sort(order), np.arange(n)):
        raise ParameterError("order", "admit", allowed="a permutation of the rows", got=order[:10].tolist())
