"""engine/numeric/moments.py."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.numeric.moments import Moments


def test_by_hand():
    """1, 2, 3, 6: mean 3, squared deviations 4 + 1 + 0 + 9 = 14, variance 3.5."""
    moments = Moments()
    moments.add(np.array([1.0, 2.0]))
    moments.add(np.array([]))
    moments.add(np.array([3.0, 6.0]))
    assert (moments.n, moments.mean, moments.squares) == (4, 3.0, 14.0)
    assert moments.scale == np.sqrt(3.5)


def test_nothing_varies():
    moments = Moments()
    assert moments.scale == 1.0
    moments.add(np.full(5, 0.1))
    assert moments.scale == 1.0


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40), st.integers(1, 9))
def test_blocks_agree_with_the_whole(values, size):
    array = np.array(values)
    moments = Moments()
    for start in range(0, len(array), size):
        moments.add(array[start : start + size])
    assert moments.n == len(array)
    np.testing.assert_allclose(moments.mean, array.mean(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(moments.squares, ((array - array.mean()) ** 2).sum(), rtol=1e-7, atol=1e-7)
