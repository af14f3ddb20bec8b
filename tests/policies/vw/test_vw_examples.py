"""policies/vw/examples.py and examples.py: golden texts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from engine.catalog import Arm, Catalog, one_axis_catalog
from engine.encoder import fit_encoder
from engine.features import Column, ContextBatch, FeatureSchema, FeatureSpec
from policies.vw.examples import (
    action_lines,
    context_row,
    context_text,
    escape,
    mtr_probability,
    one_action_examples,
    regression_examples,
    whole_set_examples,
)


@given(st.text(), st.text())
def test_escaping_is_collision_free_and_leaves_nothing_reserved(one, other):
    assert not set(escape(one)) & set(" :|\n\r\0\t\v\f")
    assert (escape(one) == escape(other)) == (one == other)


def test_escape_by_hand():
    assert escape("a b:c|d\n%20\r\0") == "a%20b%3Ac%7Cd%0A%2520%0D%00"


def test_action_lines():
    catalog = Catalog(
        name="t", channels=("email", "sms"), hours=(9, 18), arms=(Arm(id="hold"), Arm(id="20% off")), hold_name="none"
    )
    lines = action_lines(catalog)
    assert len(lines) == catalog.k == 9
    assert lines[0] == "|a hold"
    assert lines[catalog.index(0, 0, 0)] == "|c channel=email |h hour=9 |a arm=hold"
    assert lines[catalog.index(1, 1, 1)] == "|c channel=sms |h hour=18 |a arm=20%25%20off"
    assert len(set(lines)) == len(lines)


def test_axes_of_size_one_are_left_out():
    assert action_lines(one_axis_catalog("t", ("Mens E-Mail",))) == ("|a hold", "|a arm=Mens%20E-Mail")


def made_context():
    def spec(name, kind):
        return FeatureSpec(
            name=name, type=kind, unit="u", source="s", collected_where="c", customer_benefit="fewer useless messages"
        )

    schema = FeatureSchema(features=(spec("age", "numeric"), spec("zip code", "categorical")))
    age = Column(np.array([1.0, 3.0, np.nan, 2.0]), np.array([0, 0, 1, 0], dtype=np.uint8))
    zips = Column(
        np.array([0, 1, -1, 1], dtype=np.int32), np.array([0, 0, 2, 0], dtype=np.uint8), ("Urban", "Sur burban")
    )
    context = ContextBatch(schema, {"age": age, "zip code": zips}, 4)
    encoder = fit_encoder(schema, [context])
    return encoder, context


def test_context_text():
    """Mean 2, standard deviation sqrt(2/3): 1 -> -1.2247449, 3 -> 1.2247449, 2 -> 0 and left out."""
    encoder, context = made_context()
    texts = context_text(encoder, context).to_pylist()
    assert texts == [
        "|x age:-1.2247449 zip%20code=Urban",
        "|x age:1.2247449 zip%20code=Sur%20burban",
        "|x age=missing zip%20code=stale",
        "|x zip%20code=Sur%20burban",
    ]
    x = encoder.encode(context)
    assert [context_row(encoder.column_names, row) for row in x] == texts


def test_no_features():
    schema = FeatureSchema(features=())
    empty = ContextBatch(schema, {}, 2)
    assert context_text(fit_encoder(schema, [empty]), empty).to_pylist() == ["|x", "|x"]


LINES = ("|a hold", "|a arm=A", "|a arm=B")
TEXT = pa.array(["|x f", "|x g:2"])
ACTION = np.array([2, 0], dtype=np.int32)


def test_one_action():
    made = one_action_examples(TEXT, LINES, ACTION, np.array([-1.0, 0.25]), np.array([0.5, 1.0]))
    assert made == b"shared |x f\n0:-1:0.5 |a arm=B\n\nshared |x g:2\n0:0.25:1 |a hold\n\n"


def test_whole_set():
    eligible = np.array([[True, False, True], [True, True, True]])
    made = whole_set_examples(TEXT, LINES, ACTION, np.array([-1.0, 0.25]), np.array([0.5, 0.125]), eligible)
    assert made == (
        b"shared |x f\n|a hold\n0:-1:0.5 |a arm=B\n\nshared |x g:2\n0:0.25:0.125 |a hold\n|a arm=A\n|a arm=B\n\n"
    )


def test_regression():
    made = regression_examples(TEXT, LINES, ACTION, np.array([1.5, 0.0]), None)
    assert made == b"1.5 |x f |a arm=B\n0 |x g:2 |a hold\n"
    weighted = regression_examples(TEXT, LINES, ACTION, np.array([1.5, 0.0]), np.array([2.0, 4.0]))
    assert weighted == b"1.5 2 |x f |a arm=B\n0 4 |x g:2 |a hold\n"


def test_empty_and_sliced():
    nothing = one_action_examples(TEXT[:0], LINES, ACTION[:0], np.empty(0), np.empty(0))
    assert nothing == b""
    second = one_action_examples(TEXT[1:], LINES, ACTION[1:], np.array([0.25]), np.array([1.0]))
    assert second == b"shared |x g:2\n0:0.25:1 |a hold\n\n"


def test_mtr_probability():
    """Propensity 0.5 with 6 of 12 actions eligible on average: 0.5 x 6 / 12."""
    np.testing.assert_array_equal(mtr_probability(np.array([0.5, 1.0]), 6.0, 12), [0.25, 0.5])
    assert mtr_probability(np.array([1.0]), 12.0 + 1e-9, 12)[0] == 1.0
