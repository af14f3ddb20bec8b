"""The compact set of keys equals a Python set."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.mapping.seen import Seen


@given(st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=12))
def test_it_answers_as_a_set_does(blocks: list[list[int]]) -> None:
    seen, known = Seen(), set()
    for block in blocks:
        expected = []
        for key in block:
            expected.append(key in known)
            known.add(key)
        assert seen.add(np.array(block, dtype=np.uint64)).tolist() == expected
    assert sorted(np.concatenate([*seen.runs, np.empty(0, np.uint64)]).tolist()) == sorted(known)


def test_runs_stay_few() -> None:
    seen = Seen()
    for start in range(0, 64_000, 1_000):
        seen.add(np.arange(start, start + 1_000, dtype=np.uint64))
    assert len(seen.runs) <= 8
