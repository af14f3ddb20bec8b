"""The conformance suite of policies: every policy of ours passes it, and so can a user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from engine.catalog import Catalog
from engine.decide.asking import checked_choice, only_reading
from engine.eligibility import Eligibility
from engine.errors import EligibilityError, ParameterError
from engine.features import MISSING, PRESENT, STALE, Column, ContextBatch, FeatureSchema, FeatureSpec
from engine.protocols import FusedPolicy, Policy
from engine.sampling import check_distribution, draw
from engine.sealing import sealed
from engine.types import PURPOSES, BoolArray, FloatArray, IntArray

ROWS: Final = 96
_PURE: Final = "a pure function: the same input, the same bytes"
_LEAVES: Final = "a function that leaves its inputs as they are"
# Between the propensities of a policy's two paths.
_SAME: Final = 1e-9


def check_policy(policy: Policy, catalog: Catalog, schema: FeatureSchema, seed: int = 0) -> None:
    """Hold a policy against the contract of `engine.protocols.Policy`, and of `FusedPolicy` where it draws itself.

    Random contexts (with missing and stale values, and levels never seen) and random eligible sets (hold alone among
    them): the result is a distribution over the eligible actions, the same bytes for the same input, in any row order
    and batch size; inputs are not changed, whether or not they could be written to; an empty eligible set raises. A
    draw of the policy's own takes the very actions of `engine.sampling.draw`, with their propensities to 1e-9.

    Args:
        seed: the seed of contexts and sets.

    Raises:
        ParameterError: says what failed.
    """
    generator = np.random.default_rng(seed)
    context = random_context(schema, ROWS, generator)
    eligible = random_eligible(catalog, ROWS, generator)
    if not isinstance(policy.name, str) or not policy.name:
        raise _failed(policy, "a non-empty name", policy.name)
    probabilities = _distribution(policy, context, eligible)
    _reads_only(policy, context, eligible, probabilities)
    _pure(policy, context, eligible, probabilities)
    _by_rows(policy, context, eligible, probabilities, generator)
    _refuses_empty(policy, context, eligible)
    if isinstance(policy, FusedPolicy):
        _draws_alike(policy, context, random_factors(catalog, ROWS, generator), generator.random(ROWS))


def random_context(schema: FeatureSchema, n: int, generator: np.random.Generator) -> ContextBatch:
    """n random rows that the schema allows; about a fifth of the values missing or stale."""
    return ContextBatch(schema, {spec.name: _random_column(spec, n, generator) for spec in schema.features}, n)


def random_eligible(catalog: Catalog, n: int, generator: np.random.Generator) -> BoolArray:
    """(n, k) random eligible sets; the first rows are hold alone, everything, and one action alone."""
    eligible: BoolArray = generator.random((n, catalog.k)) < generator.random((n, 1))
    eligible[:, 0] = True
    eligible[:2] = [[False], [True]]
    eligible[0, 0] = True
    eligible[2] = False
    eligible[2, -1] = True
    return eligible


def random_factors(catalog: Catalog, n: int, generator: np.random.Generator) -> Eligibility:
    """Random factored eligible sets of n rows; the first rows are hold alone, and everything."""
    channels, hours, arms = catalog.shape
    by_arm = generator.random((n, channels, arms)) < generator.random((n, 1, 1))
    by_hour = generator.random((n, len(PURPOSES), channels, hours)) < generator.random((n, 1, 1, 1))
    by_arm[:2], by_hour[:2] = [[[False]], [[True]]], [[[[False]]], [[[True]]]]
    return Eligibility(by_arm, by_hour, catalog.purpose_codes)


def _distribution(policy: Policy, context: ContextBatch, eligible: BoolArray) -> FloatArray:
    probabilities = policy.distribution(_copied(context), eligible.copy())
    if not isinstance(probabilities, np.ndarray) or probabilities.dtype != np.float64:
        raise _failed(policy, "a float64 array", getattr(probabilities, "dtype", type(probabilities)))
    check_distribution(probabilities, eligible, policy.name)
    # A policy may answer in one array of its own each time.
    return probabilities.copy()


def _reads_only(policy: Policy, context: ContextBatch, eligible: BoolArray, expected: FloatArray) -> None:
    answer = _untouched(policy, policy.distribution, context, eligible)
    if answer.tobytes() != expected.tobytes():
        raise _failed(policy, _PURE, "two answers")


def _draws_alike(policy: FusedPolicy, context: ContextBatch, factors: Eligibility, uniform: FloatArray) -> None:
    expected, probability = draw(_distribution(policy, context, factors.dense()), uniform)

    def choose(seen: ContextBatch, by_arm: BoolArray, by_hour: BoolArray, codes: IntArray, draws: FloatArray) -> Any:
        return policy.choose(seen, Eligibility(by_arm, by_hour, codes), draws)

    arrays = (factors.channel_arm, factors.channel_hour, factors.purpose_codes, uniform)
    action, propensity = checked_choice(_untouched(policy, choose, context, *arrays), factors, policy.name)
    if not np.array_equal(action, expected):
        raise _failed(policy, "what `choose` draws from", "other actions than those of its distribution")
    if np.abs(propensity - probability).max() > _SAME:
        raise _failed(policy, "what `choose` gives the propensities of", "other propensities")


def _untouched(policy: Policy, ask: Callable[..., Any], context: ContextBatch, *arrays: np.ndarray[Any, Any]) -> Any:
    """The answer to sealed inputs, after one to inputs that can be written to: some look before they write."""
    opened, copies = _copied(context), [array.copy() for array in arrays]
    ask(opened, *copies)
    if _bytes(opened, *copies) != _bytes(context, *arrays):
        raise _failed(policy, _LEAVES, "changed inputs")
    try:
        with only_reading(policy.name):
            return ask(context.sealed(), *map(sealed, arrays))
    except ParameterError as error:
        if error.parameter != "inputs":
            raise
        raise _failed(policy, _LEAVES, f"a write to them ({error.hint})") from error


def _pure(policy: Policy, context: ContextBatch, eligible: BoolArray, expected: FloatArray) -> None:
    again = policy.distribution(context, eligible)
    if again.tobytes() != expected.tobytes():
        raise _failed(policy, _PURE, "two answers")


def _by_rows(
    policy: Policy,
    context: ContextBatch,
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
            raise _failed(policy, "independent of the batch size", f"other probabilities in batches of {size}")
    none = policy.distribution(context.take(slice(0, 0)), eligible[:0])
    if none.shape != (0, eligible.shape[1]):
        raise _failed(policy, f"of shape {(0, eligible.shape[1])} for no rows", none.shape)


def _refuses_empty(policy: Policy, context: ContextBatch, eligible: BoolArray) -> None:
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


def _copied(context: ContextBatch) -> ContextBatch:
    columns = {name: Column(one.values.copy(), one.state.copy(), one.levels) for name, one in context.columns.items()}
    return ContextBatch(context.schema, columns, context.n)


def _bytes(context: ContextBatch, *arrays: np.ndarray[Any, Any]) -> list[Any]:
    held: list[Any] = [(name, one.values.tobytes(), one.state.tobytes()) for name, one in context.columns.items()]
    return held + [array.tobytes() for array in arrays]


def _failed(policy: Policy, allowed: str, got: Any) -> ParameterError:
    return ParameterError(
        "distribution", f"policy {policy.name!r}", allowed=allowed, got=got, hint="see policies/check.py"
    )
