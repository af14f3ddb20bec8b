"""Factored eligibility against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine.eligibility import Eligibility, pack, require_eligible, unpack
from engine.errors import EligibilityError
from engine.types import BoolArray
from tests.strategies import catalogs, eligibilities


@given(st.data())
def test_dense_equals_the_loop(data: st.DataObject) -> None:
    catalog = data.draw(catalogs())
    eligible = data.draw(eligibilities(catalog, data.draw(st.integers(0, 3))))
    dense = eligible.dense()
    assert dense.shape == (eligible.n, eligible.k) == (eligible.n, catalog.k)
    channels, hours, arms = catalog.shape
    for row in range(eligible.n):
        assert dense[row, 0]
        for c in range(channels):
            for h in range(hours):
                for a in range(arms):
                    purpose = int(catalog.purpose_codes[a])
                    expected = eligible.channel_arm[row, c, a] and eligible.channel_hour[row, purpose, c, h]
                    assert dense[row, catalog.index(c, h, a)] == expected
    assert (unpack(eligible.packed(), eligible.k) == dense).all()
    for action in range(eligible.k):
        everybody = np.full(eligible.n, action, dtype=np.int32)
        assert eligible.contains(everybody).tolist() == dense[:, action].tolist()
    assert eligible.sendable().tolist() == dense[:, 1:].any(axis=1).tolist()


@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20)))
def test_bits_are_little_endian(dense: BoolArray) -> None:
    packed = pack(dense)
    assert packed.shape == (len(dense), -(-dense.shape[1] // 8))
    for row in range(len(dense)):
        for action in range(dense.shape[1]):
            assert bool(packed[row, action // 8] >> (action % 8) & 1) == dense[row, action]
    assert (unpack(packed, dense.shape[1]) == dense).all()


def test_the_bits_by_hand() -> None:
    """Actions 0, 2 and 9 of 10: 1 + 4 = 5 in the first byte, 2 in the second."""
    dense = np.zeros((1, 10), dtype=np.bool_)
    dense[0, [0, 2, 9]] = True
    assert pack(dense).tolist() == [[5, 2]]


@given(st.data())
def test_take_is_dense_of_the_rows(data: st.DataObject) -> None:
    eligible: Eligibility = data.draw(eligibilities(data.draw(catalogs()), 4))
    rows = np.array([3, 1, 1])
    assert (eligible.take(rows).dense() == eligible.dense()[rows]).all()


def test_an_empty_set_is_an_error() -> None:
    dense = np.array([[True, False], [False, False], [False, False]])
    require_eligible(dense[:1])
    with pytest.raises(EligibilityError, match=r"row 1 has an empty eligible set \(2 such rows\)"):
        require_eligible(dense)
