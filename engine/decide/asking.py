"""Asking a policy: it is handed sealed copies, and its answer is held against what the rules said.

What the rules said stays with the asker. A policy can neither write to it (what it is handed are sealed copies, see
`engine.sealing`) nor is it asked what is eligible: actions and probabilities are checked against the arrays that were
never handed out, and those are what the log records.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, Self

import numpy as np

from engine.eligibility import Eligibility
from engine.errors import ParameterError, TactfulError
from engine.features import ContextBatch
from engine.protocols import FusedPolicy, Policy
from engine.sampling import check_distribution
from engine.sealing import sealed
from engine.types import BoolArray, CodeArray, FloatArray, IntArray

# What numpy says of a write to a sealed array, and of an attempt to open it.
_WRITES = ("read-only", "WRITEABLE")


class EligibleSets(Protocol):
    """Eligible sets of n contacts among k actions: factored, dense or of batches."""

    @property
    def n(self) -> int: ...
    @property
    def k(self) -> int: ...

    def contains(self, action: CodeArray) -> BoolArray: ...
    def counts(self) -> IntArray: ...
    def take(self, rows: slice | np.ndarray[Any, Any]) -> Self: ...


def distribution_of(policy: Policy, context: ContextBatch, eligible: BoolArray, owner: str = "") -> FloatArray:
    """A policy's distribution, checked.

    Args:
        policy: is handed copies.
        context: features of n rows.
        eligible: (n, k) what the rules left.
        owner: named in errors; the policy's own name where empty.

    Raises:
        ParameterError: the answer is no distribution over the eligible set, or the policy writes to what it is given.
    """
    answer = unchecked_distribution(policy, context, eligible, owner)
    check_distribution(answer, eligible, owner or policy.name)
    return answer


def unchecked_distribution(policy: Policy, context: ContextBatch, eligible: BoolArray, owner: str = "") -> FloatArray:
    """`distribution_of` for callers that check the answer themselves.

    Raises:
        ParameterError: the answer is no array of floats, or the policy writes to what it is given.
    """
    name = owner or policy.name
    with only_reading(name):
        answer = policy.distribution(context.sealed(), sealed(eligible))
    # A subclass of an array could answer the checks otherwise than the draw.
    plain: FloatArray = np.asarray(answer)
    if plain.dtype.kind != "f":
        raise ParameterError("distribution", name, allowed="an array of floats", got=plain.dtype.name)
    return plain


def choice_of(
    policy: FusedPolicy, context: ContextBatch, eligibility: Eligibility, uniform: FloatArray
) -> tuple[CodeArray, FloatArray]:
    """A fused policy's draw, checked: action (n,) and its propensity (n,).

    Raises:
        ParameterError: an action that the rules removed, a propensity outside (0, 1], or a policy that writes to what
            it is given.
    """
    with only_reading(policy.name):
        answer = policy.choose(context.sealed(), eligibility.sealed(), sealed(uniform))
    return checked_choice(answer, eligibility, policy.name)


def checked_choice(
    answer: tuple[Any, Any], eligibility: EligibleSets, owner: str, *, may_be_unknown: bool = False
) -> tuple[CodeArray, FloatArray]:
    """Actions and propensities in arrays of the asker's own, held against the eligible sets.

    Args:
        answer: action (n,) and propensity (n,).
        eligibility: what the rules left of n rows.
        owner: named in errors.
        may_be_unknown: whether a propensity may be NaN, for what is played and never logged as exact.

    Raises:
        ParameterError: see `choice_of`.
    """
    action, propensity = (np.array(part) for part in answer)
    n, k = eligibility.n, eligibility.k
    for name, part, kinds, what in (
        ("action", action, "iu", "whole numbers"),
        ("propensity", propensity, "f", "floats"),
    ):
        if part.shape != (n,) or part.dtype.kind not in kinds:
            raise ParameterError(name, owner, allowed=f"({n},) {what}", got=(part.shape, part.dtype.name))
    outside = (action < 0) | (action >= k)
    if outside.any():
        raise ParameterError("action", owner, allowed=f"in [0, {k})", got=int(action[outside][0]))
    impossible = ~((propensity > 0.0) & (propensity <= 1.0))
    if may_be_unknown:
        impossible &= ~np.isnan(propensity)
    if impossible.any():
        raise ParameterError("propensity", owner, allowed="in (0, 1]", got=float(propensity[impossible][0]))
    own = action.astype(np.int32)
    removed = ~eligibility.contains(own)
    if removed.any():
        raise ParameterError(
            "action",
            owner,
            allowed="an eligible action of every row",
            got=f"a removed one, {int(own[removed][0])}, in row {int(np.flatnonzero(removed)[0])} "
            f"({int(removed.sum())} such rows)",
        )
    return own, propensity.astype(np.float64)


def checked_probability(answer: Any, n: int, owner: str) -> FloatArray:
    """(n,) probabilities of given actions in an array of the asker's own.

    Raises:
        ParameterError: another shape or type, or a value outside [0, 1].
    """
    probability = np.array(answer)
    if probability.shape != (n,) or probability.dtype.kind != "f":
        got = (probability.shape, probability.dtype.name)
        raise ParameterError("probability", owner, allowed=f"({n},) floats", got=got)
    impossible = ~((probability >= 0.0) & (probability <= 1.0))
    if impossible.any():
        raise ParameterError("probability", owner, allowed="in [0, 1]", got=float(probability[impossible][0]))
    return probability.astype(np.float64)


@contextmanager
def only_reading(owner: str) -> Iterator[None]:
    """Say of a write to sealed arrays, which numpy refuses, who wrote.

    Raises:
        ParameterError: a write.
    """
    try:
        yield
    except TactfulError:
        raise
    except (ValueError, TypeError) as error:
        if not any(word in str(error) for word in _WRITES):
            raise
        raise ParameterError(
            "inputs", owner, allowed="left as they are", got="a write", hint=f"work on a copy ({error})"
        ) from error
