"""Any partition, any order, any number of merges: the same bytes."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DataError
from engine.identity import keyed_hash
from engine.ope.evaluate import finish
from engine.ope.models.crossfit import cross_fit
from engine.ope.setup import Setup
from engine.ope.state import EvaluationState
from engine.ope.sums.clusters import ClusterSums
from engine.ope.sums.exact import group_sums
from engine.ope.target import LoggedTarget, PolicyTarget
from tests.engine.ope.asking import setup_of

CHUNKS = 7


def random_log(ope, n=700, rows_per_chunk=100, seed=5, **options):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(3), size=n)
    action = np.array([rng.choice(3, p=row) for row in weights])
    return ope.batches(
        action,
        weights[np.arange(n), action],
        {"r": rng.lognormal(size=n).clip(0, 50) * 1e3 ** rng.normal(size=n).clip(-1, 1) / 50},
        k=3,
        cluster=rng.integers(120, size=n),
        features={"x": rng.normal(size=n)},
        rows_per_chunk=rows_per_chunk,
        **options,
    )


@pytest.fixture(scope="module")
def log(ope):
    return random_log(ope)


@pytest.fixture(scope="module", params=[("delta", True), ("delta", False), ("bootstrap", True), ("bootstrap", False)])
def setup(request, ope, log):
    interval, clustered = request.param
    return setup_of(
        targets=(
            PolicyTarget(ope.TablePolicy("a", [0.2, 0.3, 0.5])),
            PolicyTarget(ope.TablePolicy("b", [0.0, 0.9, 0.1])),
        ),
        metric="r",
        reward_range=(0, 1e6),
        estimators=("ips", "clipped", "snips", "dm", "dr"),
        interval=interval,
        clustered=clustered,
        clip=5.0,
        replicates=100,
        models=cross_fit(log, lambda: ope.Ridge("r", 3), folds=3, seed=1),
    )


def answer(state: EvaluationState) -> str:
    return msgspec.json.encode(finish(state)).decode()


def whole(setup: Setup, batches) -> EvaluationState:
    state = EvaluationState(setup)
    for batch in batches:
        state.add(batch)
    return state


@settings(max_examples=15, deadline=None)
@given(
    order=st.permutations(range(CHUNKS)),
    owner=st.lists(st.integers(0, 3), min_size=CHUNKS, max_size=CHUNKS),
    merge_order=st.permutations(range(4)),
)
def test_every_partition_gives_the_same_bytes(setup, log, order, owner, merge_order) -> None:
    states = [EvaluationState(setup) for _ in range(4)]
    for chunk in order:
        states[owner[chunk]].add(log[chunk])
    first, *others = (states[i] for i in merge_order)
    for other in others:
        first.merge(other)
    assert answer(first) == answer(whole(setup, log))


def test_permuted_rows_within_chunks_change_nothing_but_rounding(setup, log) -> None:
    rng = np.random.default_rng(0)
    shuffled = [batch.take(rng.permutation(batch.n)) for batch in log]
    before, after = finish(whole(setup, log)), finish(whole(setup, shuffled))
    for a, b in zip(before.results, after.results, strict=True):
        assert b.value == pytest.approx(a.value, rel=1e-12)
        assert b.difference.value == pytest.approx(a.difference.value, rel=1e-10, abs=1e-12)
        if a.stderr is not None:
            assert b.stderr == pytest.approx(a.stderr, rel=1e-10)
            assert b.low == pytest.approx(a.low, rel=1e-9)


def test_a_chunk_that_comes_twice_is_refused_and_changes_nothing(setup, log) -> None:
    state = whole(setup, log)
    before = answer(state)
    with pytest.raises(DataError, match="chunk 2 of the log came twice"):
        state.add(log[2])
    with pytest.raises(DataError, match="came twice"):
        state.merge(whole(setup, log[5:6]))
    assert answer(state) == before


def test_clustered_by_row_equals_unclustered(ope) -> None:
    """Two different code paths, the sums by cluster and the second moments, on the same rows."""
    batches = random_log(ope, seed=8)
    targets = (PolicyTarget(ope.TablePolicy("a", [0.1, 0.6, 0.3])),)
    names = ("ips", "snips")
    rows = [replace(batch, cluster=keyed_hash(batch.decision_id, "row")) for batch in batches]
    found = [
        finish(
            whole(
                setup_of(
                    targets=targets,
                    metric="r",
                    reward_range=(0, 1e6),
                    estimators=names,
                    clustered=clustered,
                ),
                rows,
            )
        )
        for clustered in (True, False)
    ]
    for a, b in zip(found[0].results, found[1].results, strict=True):
        assert a.value == b.value
        assert a.stderr == pytest.approx(b.stderr, rel=1e-10)
        assert a.difference.stderr == pytest.approx(b.difference.stderr, rel=1e-10)


MAGNITUDES = st.floats(2.0**-15, 2.0**15)
SIGNED = st.one_of(MAGNITUDES, MAGNITUDES.map(lambda x: -x), st.just(0.0))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), SIGNED, SIGNED), min_size=1, max_size=80),
    st.randoms(use_true_random=False),
)
def test_sums_by_key_are_rounded_exactly_in_any_order(rows, random) -> None:
    """Terms that span 2^30 need 53 + 30 + 7 bits: a double-double holds their sum without error."""

    def columns(entries):
        return np.array([e[0] for e in entries], dtype=np.uint64), np.array([e[1:] for e in entries])

    keys, high, _ = group_sums(*columns(rows))
    for key, sums in zip(keys, high, strict=True):
        for column in (0, 1):
            assert sums[column] == math.fsum(e[1 + column] for e in rows if e[0] == key)
    shuffled = random.sample(rows, len(rows))
    pieces = ClusterSums(2)
    for start in range(0, len(rows), 7):
        pieces.add(*columns(shuffled[start : start + 7]))
    found_keys, found = pieces.totals()
    assert (found_keys == keys).all()
    assert found.tobytes() == high.tobytes()


def test_a_state_travels_between_processes(ope, log) -> None:
    setup = setup_of(targets=(LoggedTarget(),), metric="r", reward_range=(0, 1e6), estimators=("ips", "snips"))
    sent = pickle.loads(pickle.dumps(whole(setup, log[3:])))
    first = whole(setup, log[:3])
    first.merge(sent)
    assert answer(first) == answer(whole(setup, log))


def test_memory_of_clusters_follows_their_number_not_the_rows() -> None:
    sums = ClusterSums(2)
    rng = np.random.default_rng(0)
    for _ in range(60):
        sums.add(rng.integers(50, size=4096).astype(np.uint64), np.ones((4096, 2)))
    assert sum(len(run.keys) for run in sums._runs) <= 100
    keys, totals = sums.totals()
    assert len(keys) == 50
    assert totals[:, 0].sum() == 60 * 4096
