"""engine/encoder.py: smooth curves of numbers."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.encoder import CLIP, Encoder, NumericCoding, SmoothCoding, fit_encoder, smooth_encoder
from engine.errors import DataError, ParameterError
from engine.features import MISSING, PRESENT, STALE, Column, ContextBatch, FeatureSchema, FeatureSpec
from policies.vw.examples import context_text
from policies.vw.scoring.compiler import random_contexts


def spec(name: str) -> FeatureSpec:
    return FeatureSpec(
        name=name, type="numeric", unit="u", source="s", collected_where="c", customer_benefit="fewer useless messages"
    )


SCHEMA = FeatureSchema(features=(spec("age"),))


def ages(values: np.ndarray, state: np.ndarray | None = None) -> ContextBatch:
    shown = np.full(len(values), PRESENT, dtype=np.uint8) if state is None else state
    return ContextBatch(SCHEMA, {"age": Column(np.asarray(values, dtype=np.float64), shown)}, len(values))


def smooth(values: np.ndarray, pieces: int = 6) -> Encoder:
    batch = ages(values)
    return smooth_encoder(fit_encoder(SCHEMA, [batch]), [batch], pieces)


def coding_of(values: np.ndarray, pieces: int = 6) -> SmoothCoding:
    (coding,) = smooth(values, pieces).codings
    assert isinstance(coding, SmoothCoding)
    return coding


UNIFORM = np.linspace(18.0, 80.0, 400)
LONG_TAIL = np.exp(np.random.default_rng(1).normal(3.0, 1.5, 500))


def test_by_hand() -> None:
    """Knots 0, 1, 3, 5 of an uncentred, unscaled value: the hats of 1 and 3 rise and fall between their neighbours."""
    coding = SmoothCoding("age", 0.0, 1.0, False, 0.0, (0.0, 1.0, 3.0, 5.0))
    assert coding.columns == ("age", "age~1", "age~2", "age=missing", "age=stale")
    found = coding.basis(np.array([-2.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0]))
    hats = [[0, 0], [0, 0], [0.5, 0], [1, 0], [0.5, 0.5], [0, 1], [0, 0.5], [0, 0], [0, 0]]
    np.testing.assert_allclose(found[:, 0], [-2, 0, 0.5, 1, 2, 3, 4, 5, 7])
    np.testing.assert_allclose(found[:, 1:], hats)
    logged = SmoothCoding("age", 0.0, 1.0, True, 10.0, (0.0, 1.0, 2.0))
    np.testing.assert_allclose(logged.basis(np.array([10.0, 9.0, 9.0 + np.e]))[:, 0], [0.0, 0.0, 1.0], atol=1e-6)


@pytest.mark.parametrize("values", [UNIFORM, LONG_TAIL], ids=["uniform", "long tail"])
@given(seed=st.integers(0, 1000), pieces=st.integers(2, 12))
@settings(max_examples=20)
def test_hats_are_a_partition_between_the_inner_knots(values: np.ndarray, seed: int, pieces: int) -> None:
    """They are in [0, 1], sum to 1 from the first inner knot to the last, and at most two are open at once."""
    coding = coding_of(values, pieces)
    drawn = np.random.default_rng(seed).choice(values, 50)
    found = coding.basis(drawn).astype(np.float64)
    own, hats = found[:, 0], found[:, 1:]
    assert ((hats >= 0.0) & (hats <= 1.0)).all()
    assert ((hats > 0.0).sum(axis=1) <= 2).all()
    inside = (own >= coding.knots[1]) & (own <= coding.knots[-2])
    np.testing.assert_allclose(hats[inside].sum(axis=1), 1.0, atol=1e-5)
    assert (hats.sum(axis=1) <= 1.0 + 1e-6).all()


@pytest.mark.parametrize("values", [UNIFORM, LONG_TAIL], ids=["uniform", "long tail"])
def test_the_value_itself_rises(values: np.ndarray) -> None:
    """Its column keeps the order of values, within the clip, and never falls."""
    coding = coding_of(values)
    shown = np.sort(np.concatenate([values, [-1e9, 1e9]]))
    own = coding.basis(shown)[:, 0]
    assert (np.diff(own) >= 0.0).all()
    assert np.abs(own).max() <= CLIP


def test_counts_and_money_are_logged_and_ages_are_not() -> None:
    assert coding_of(LONG_TAIL).logged
    assert not coding_of(UNIFORM).logged
    assert not coding_of(-LONG_TAIL).logged


def test_a_curve_is_followed() -> None:
    """A U in age: a line explains next to nothing, the hats nearly all."""
    target = ((UNIFORM - 49.0) / 31.0) ** 2
    left = []
    for encoder in (fit_encoder(SCHEMA, [ages(UNIFORM)]), smooth(UNIFORM)):
        x = np.column_stack([encoder.encode(ages(UNIFORM)), np.ones(len(UNIFORM))]).astype(np.float64)
        fit = x @ np.linalg.lstsq(x, target, rcond=None)[0]
        left.append(float(((target - fit) ** 2).mean() / target.var()))
    assert left[0] > 0.99
    assert left[1] < 0.02


@pytest.mark.parametrize("values", [np.arange(300.0) % 6, np.zeros(50), np.array([1.0, 2.0])])
def test_few_values_keep_their_line(values: np.ndarray) -> None:
    assert isinstance(smooth(values).codings[0], NumericCoding)


def test_missing_and_stale_have_columns_of_their_own() -> None:
    encoder = smooth(UNIFORM)
    state = np.array([PRESENT, MISSING, STALE], dtype=np.uint8)
    x = encoder.encode(ages(np.array([50.0, np.nan, 50.0]), state))
    assert encoder.column_names[-2:] == ("age=missing", "age=stale")
    assert (x[1:, :-2] == 0.0).all()
    assert x[:, -2:].tolist() == [[0, 0], [1, 0], [0, 1]]
    assert (x[0, :-2] != 0.0).any()
    with pytest.raises(DataError, match="not finite"):
        encoder.encode(ages(np.array([np.inf])))


def test_the_text_is_the_columns() -> None:
    """What Vowpal Wabbit reads are the names and values of the encoded columns that are not 0."""
    encoder = smooth(UNIFORM)
    state = np.array([PRESENT] * 5 + [MISSING, STALE], dtype=np.uint8)
    batch = ages(np.array([18.0, 30.0, 49.0, 61.5, 80.0, 0.0, 0.0]), state)
    for line, row in zip(context_text(encoder, batch).to_pylist(), encoder.encode(batch), strict=True):
        words = [word.partition(":") for word in line.removeprefix("|x").split()]
        read = {name: float(value or 1.0) for name, _, value in words}
        expected = {name: float(value) for name, value in zip(encoder.column_names, row, strict=True) if value}
        assert read == pytest.approx(expected, abs=1e-7)


def test_random_contexts_are_of_the_kind_that_is_encoded() -> None:
    """Numbers or one mark of absence, never both, and all of them occur."""
    encoder = smooth(UNIFORM)
    x = random_contexts(encoder, 500, seed=2)
    absent = x[:, -2:].sum(axis=1)
    assert set(np.unique(absent)) == {0.0, 1.0}
    assert (x[absent == 1.0, :-2] == 0.0).all()
    assert (x[absent == 0.0, :-2] != 0.0).all()


def test_it_is_kept_as_it_is() -> None:
    encoder = smooth(LONG_TAIL)
    again = msgspec.convert(encoder.to_builtins(), Encoder)
    assert again == encoder
    assert again.encode(ages(LONG_TAIL)).tobytes() == encoder.encode(ages(LONG_TAIL)).tobytes()


def test_fewer_than_two_pieces_are_refused() -> None:
    with pytest.raises(ParameterError, match="pieces"):
        smooth(UNIFORM, 1)
