"""Joining factors early must be the same as joining them in full."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.guardrails.judging import Union

FULL = (3, 2, 4, 5)


def parts(seed: int, many: int, full: tuple[int, ...] = FULL) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = [tuple(int(size) if rng.random() < 0.6 else 1 for size in full) for _ in range(many)]
    return [rng.random(shape) < 0.3 for shape in shapes]


@given(seed=st.integers(0, 10**6), many=st.integers(0, 12))
def test_any_factors_in_any_order(seed: int, many: int) -> None:
    factors = parts(seed, many)
    expected = np.zeros(FULL, dtype=bool)
    for factor in factors:
        expected |= factor
    for order in (factors, factors[::-1]):
        before = [factor.copy() for factor in order]
        union = Union(FULL)
        for factor in (*order, None):
            union.add(factor)
        result = union.result()
        assert result.shape == FULL
        assert np.array_equal(result, expected)
        assert all(np.array_equal(factor, kept) for factor, kept in zip(order, before, strict=True))


def test_the_result_is_the_callers_own() -> None:
    factor = np.zeros(FULL, dtype=bool)
    union = Union(FULL)
    union.add(factor)
    union.result()[:] = True
    assert not factor.any()


@pytest.mark.parametrize("n", [0, 1])
def test_few_rows(n: int) -> None:
    union = Union((n, 2, 3))
    union.add(np.ones((n, 1, 3), dtype=bool))
    union.add(np.zeros((n, 2, 1), dtype=bool))
    assert union.result().all()
    assert Union((n, 2)).result().shape == (n, 2)
