"""engine/encoder.py."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.encoder import CLIP, Encoder, fit_encoder
from engine.errors import DataError, ParameterError
from engine.features import MISSING, PRESENT, STALE, Column, ContextBatch, FeatureSchema, FeatureSpec


def spec(name: str, kind: str) -> FeatureSpec:
    return FeatureSpec(
        name=name, type=kind, unit="u", source="s", collected_where="c", customer_benefit="fewer useless messages"
    )


SCHEMA = FeatureSchema(features=(spec("recency", "numeric"), spec("zip_code", "categorical")))


def block(values, levels) -> ContextBatch:
    """Values with None for missing; levels as strings with None for missing, "!stale" for stale."""
    n = len(values)
    numeric = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    number_state = np.array([MISSING if v is None else PRESENT for v in values], dtype=np.uint8)
    names = tuple(sorted({level for level in levels if level not in (None, "!stale")}))
    level_state = np.array([{None: MISSING, "!stale": STALE}.get(level, PRESENT) for level in levels], dtype=np.uint8)
    level_codes = np.array([names.index(level) if level in names else -1 for level in levels], dtype=np.int32)
    columns = {"recency": Column(numeric, number_state), "zip_code": Column(level_codes, level_state, names)}
    return ContextBatch(SCHEMA, columns, n)


def test_by_hand():
    """Present values 1, 3: mean 2, standard deviation 1. Rural twice, Urban once: Rural first."""
    context = block([1.0, 3.0, None], ["Rural", "Urban", "Rural"])
    encoder = fit_encoder(SCHEMA, [context])
    assert encoder.column_names == (
        "recency",
        "recency=missing",
        "recency=stale",
        "zip_code=Rural",
        "zip_code=Urban",
        "zip_code=other",
        "zip_code=missing",
        "zip_code=stale",
    )
    x = encoder.encode(context)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, [[-1, 0, 0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 1, 0, 0, 0], [0, 1, 0, 1, 0, 0, 0, 0]])


def test_unseen_missing_and_stale_levels_have_columns_of_their_own():
    encoder = fit_encoder(SCHEMA, [block([1.0], ["Urban"])])
    x = encoder.encode(block([1.0, 1.0, 1.0], ["Nowhere", None, "!stale"]))
    assert encoder.column_names[4:] == ("zip_code=other", "zip_code=missing", "zip_code=stale")
    np.testing.assert_array_equal(x[:, 4:], np.eye(3))


def test_rare_levels_become_other_ties_by_name():
    encoder = fit_encoder(SCHEMA, [block([1.0] * 4, ["b", "a", "c", "c"])], max_levels=2)
    assert encoder.codings[1].levels == ("c", "a")
    assert encoder.encode(block([1.0], ["b"]))[0, -3] == 1.0


def test_a_level_named_like_a_special_one_does_not_collide():
    encoder = fit_encoder(SCHEMA, [block([1.0] * 4, ["missing", "other", "stale", "'missing"])])
    assert len(set(encoder.column_names)) == encoder.d


def test_constant_and_absent_numeric_columns_have_scale_one():
    assert fit_encoder(SCHEMA, [block([7.0, 7.0], ["a", "a"])]).codings[0].scale == 1.0
    empty = fit_encoder(SCHEMA, [block([None], ["a"])]).codings[0]
    assert (empty.centre, empty.scale) == (0.0, 1.0)


def test_values_far_out_are_clipped():
    encoder = fit_encoder(SCHEMA, [block([0.0, 1.0], ["a", "a"])])
    np.testing.assert_array_equal(encoder.encode(block([1e9, -1e9], ["a", "a"]))[:, 0], [CLIP, -CLIP])


@given(
    st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=2, max_size=30),
    st.integers(1, 7),
)
def test_fit_hardly_depends_on_the_block_size(values, size):
    levels = [["a", "b", None][i % 3] for i in range(len(values))]
    whole = block(values, levels)
    parts = [whole.take(slice(i, i + size)) for i in range(0, len(values), size)]
    one, many = fit_encoder(SCHEMA, [whole]), fit_encoder(SCHEMA, parts)
    assert one.codings[1] == many.codings[1]
    np.testing.assert_allclose(many.codings[0].centre, one.codings[0].centre, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(many.codings[0].scale, one.codings[0].scale, rtol=1e-5, atol=1e-6)


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=20))
def test_every_row_has_one_indicator_per_categorical_and_is_finite(values):
    levels = [["a", None, "!stale"][i % 3] for i in range(len(values))]
    context = block(values, levels)
    encoder = fit_encoder(SCHEMA, [context])
    x = encoder.encode(context)
    assert np.isfinite(x).all()
    assert np.abs(x).max() <= CLIP
    np.testing.assert_array_equal(x[:, 3:].sum(axis=1), 1.0)
    for size in (1, 3):
        again = [encoder.encode(context.take(slice(i, i + size))) for i in range(0, len(values), size)]
        assert np.concatenate(again).tobytes() == x.tobytes()


def test_plain_data_round_trip():
    encoder = fit_encoder(SCHEMA, [block([1.0, 2.5], ["a", "b"])])
    assert msgspec.convert(json.loads(json.dumps(encoder.to_builtins())), Encoder) == encoder


@pytest.mark.parametrize("data", [None, {}, {"schema_version": "x", "codings": [{"type": "odd"}]}, {"codings": 1}])
def test_no_encoder(data):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(data, Encoder)


def test_refusals():
    good = block([1.0], ["a"])
    with pytest.raises(ParameterError):
        fit_encoder(SCHEMA, [good], max_levels=0)
    bad = ContextBatch(SCHEMA, {**good.columns, "recency": Column(np.array([np.inf]), np.zeros(1, np.uint8))}, 1)
    with pytest.raises(DataError, match="recency"):
        fit_encoder(SCHEMA, [bad])
    encoder = fit_encoder(SCHEMA, [good])
    with pytest.raises(DataError, match="recency"):
        encoder.encode(bad)
    other = FeatureSchema(features=(spec("recency", "numeric"),))
    foreign = ContextBatch(other, {"recency": good.columns["recency"]}, 1)
    with pytest.raises(DataError, match="schema"):
        encoder.encode(foreign)
    with pytest.raises(DataError, match="schema"):
        fit_encoder(SCHEMA, [foreign])


def test_no_features():
    schema = FeatureSchema(features=())
    encoder = fit_encoder(schema, [ContextBatch(schema, {}, 3)])
    assert encoder == Encoder(schema.version, ())
    assert encoder.encode(ContextBatch(schema, {}, 3)).shape == (3, 0)
