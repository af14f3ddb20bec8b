"""The conformance suite of policies: every policy of ours passes it, and so can a user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from engine.catalog import Catalog
from engine.errors import EligibilityError, ParameterError
from engine.features import MISSING, PRESENT, STALE, Column, ContextBlock, FeatureSchema, FeatureSpec
from engine.protocols import Policy
from engine.sampling import check_distribution
from engine.types import BoolArray, FloatArray

ROWS: Final = 96


def check_policy(policy: Policy, catalog: Catalog, schema: FeatureSchema, seed: int = 0) -> None:
    """Hold a policy against the contract of `engine.protocols.Policy`.

    Random contexts (with missing and stale values, and levels never seen) and random eligible sets (hold alone among
    them): the result is a distribution over the eligible actions, the same bytes for the same input, in any row order
    and block size; inputs are not changed; an empty eligible set raises.

    Args:
        seed: of contexts and sets.

    Raises:
        ParameterError: says what failed.
    """
    generator = np.random.default_rng(seed)
    context = random_context(schema, ROWS, generator)
    eligible = random_eligible(catalog, ROWS, generator)
    if not isinstance(policy.name, str) or not policy.name:
        raise _failed(policy, "a non-empty name", policy.name)
    before = _bytes(context, eligible)
    probabilities = _distribution(policy, context, eligible)
    if _bytes(context, eligible) != before:
        raise _failed(policy, "a function that leaves its inputs as they are", "changed inputs")
    _pure(policy, context, eligible, probabilities)
    _by_rows(policy, context, eligible, probabilities, generator)
    _refuses_empty(policy, context, eligible)


def random_context(schema: FeatureSchema, n: int, generator: np.random.Generator) -> ContextBlock:
    """n random rows that the schema allows; about a fifth of the values missing or stale."""
    return ContextBlock(schema, {spec.name: _random_column(spec, n, generator) for spec in schema.features}, n)


def random_eligible(catalog: Catalog, n: int, generator: np.random.Generator) -> BoolArray:
    """(n, k) random eligible sets; the first rows are hold alone, everything, and one action alone."""
    eligible: BoolArray = generator.random((n, catalog.k)) < generator.random((n, 1))
    eligible[:, 0] = True
    eligible[:2] = [[False], [True]]
    eligible[0, 0] = True
    eligible[2] = False
    eligible[2, -1] = True
    return eligible


def _distribution(policy: Policy, context: ContextBlock, eligible: BoolArray) -> FloatArray:
    probabilities = policy.distribution(context, eligible)
    if not isinstance(probabilities, np.ndarray) or probabilities.dtype != np.float64:
        raise _failed(policy, "a float64 array", getattr(probabilities, "dtype", type(probabilities)))
    check_distribution(probabilities, eligible, policy.name)
    return probabilities


def _pure(policy: Policy, context: ContextBlock, eligible: BoolArray, expected: FloatArray) -> None:
    again = policy.distribution(context, eligible)
    if again.tobytes() != expected.tobytes():
        raise _failed(policy, "a pure function: the same input, the same bytes", "two answers")


def _by_rows(
    policy: Policy,
    context: ContextBlock,
    eligible: BoolArray,
    expected: FloatArray,
    generator: np.random.Generator,
) -> None:
    order = generator.permutation(context.n)
    shuffled = policy.distribution(context.take(order), eligible[order])
    if shuffled.tobytes() != expected[order].tobytes():
        raise _failed(policy, "independent of the order of rows", "other probabilities after a shuffle")
    for size in (1, 7, 50):
        starts = range(0, context.n, size)
        rows = [slice(start, min(start + size, context.n)) for start in starts]
        parts = [policy.distribution(context.take(part), eligible[part]) for part in rows]
        if np.concatenate(parts).tobytes() != expected.tobytes():
            raise _failed(policy, "independent of the block size", f"other probabilities in blocks of {size}")
    none = policy.distribution(context.take(slice(0, 0)), eligible[:0])
    if none.shape != (0, eligible.shape[1]):
        raise _failed(policy, f"of shape {(0, eligible.shape[1])} for no rows", none.shape)


def _refuses_empty(policy: Policy, context: ContextBlock, eligible: BoolArray) -> None:
    empty = eligible.copy()
    empty[3] = False
    try:
        policy.distribution(context, empty)
    except EligibilityError:
        return
    raise _failed(policy, "refusing an empty eligible set with EligibilityError", "an answer")


def _random_column(spec: FeatureSpec, n: int, generator: np.random.Generator) -> Column:
    state = generator.choice([PRESENT, MISSING, STALE], size=n, p=[0.8, 0.1, 0.1]).astype(np.uint8)
    if spec.type == "numeric":
        low = -50.0 if spec.low is None else spec.low
        high = low + 100.0 if spec.high is None else spec.high
        values = generator.uniform(min(low, high), high, size=n)
        return Column(np.where(state == PRESENT, values, np.nan), state)
    levels = spec.levels or ("never seen before", "a", "b|c :d")
    codes = generator.integers(len(levels), size=n).astype(np.int32)
    return Column(np.where(state == PRESENT, codes, -1).astype(np.int32), state, tuple(levels))


def _bytes(context: ContextBlock, eligible: BoolArray) -> list[bytes]:
    arrays: list[np.ndarray[Any, Any]] = [eligible]
    for column in context.columns.values():
        arrays += [column.values, column.state]
    to_bytes: Callable[[np.ndarray[Any, Any]], bytes] = np.ndarray.tobytes
    return [to_bytes(array) for array in arrays]


def _failed(policy: Policy, allowed: str, got: Any) -> ParameterError:
    return ParameterError(
        "distribution", f"policy {policy.name!r}", allowed=allowed, got=got, hint="see policies/check.py"
    )
