"""Sealed arrays cannot be written to, by any way that numpy has, and are the same values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from engine.catalog import Arm, Catalog
from engine.features import Column, ContextBatch, FeatureSchema, FeatureSpec
from engine.sealing import sealed

WAYS = {
    "assignment": lambda a: a.__setitem__(Ellipsis, 1),
    "flags": lambda a: a.setflags(write=True),
    "flags of a view": lambda a: a[:1].setflags(write=True),
    "flags of the owner": lambda a: a.base.setflags(write=True),
    "another type": lambda a: a.view(np.uint8).setflags(write=True),
    "out": lambda a: np.add(a, a, out=a),
    "in place": lambda a: a.sort(),
    "buffer": lambda a: memoryview(a).cast("B").__setitem__(0, 1),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_in(way: str) -> None:
    array = sealed(np.arange(6.0))
    with pytest.raises((ValueError, TypeError, AttributeError)):
        WAYS[way](array)
    assert array.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


@given(hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
def test_the_same_values(array: np.ndarray[Any, Any]) -> None:
    found = sealed(array)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()


def test_later_writes_to_the_original_do_not_show() -> None:
    original = np.arange(4)
    for source in (original, original[::2], original.reshape(2, 2).T):
        found = sealed(source)
        kept = found.tolist()
        original += 1
        assert found.tolist() == kept


def test_what_only_looks_sealed_is_copied() -> None:
    """A read-only view of an open array, and a read-only owner, can both be opened again."""
    original = np.arange(4)
    view, owner = original[:], original.copy()
    view.flags.writeable = owner.flags.writeable = False
    for source in (view, owner):
        assert not np.shares_memory(sealed(source), source)
    once = sealed(original)
    assert np.shares_memory(sealed(once), once)


def test_objects_are_a_copy() -> None:
    original = np.array(["a", None], dtype=object)
    found = sealed(original)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = "b"
    found.setflags(write=True)
    found[0] = "b"
    assert original.tolist() == ["a", None]


def test_a_subclass_comes_out_plain() -> None:
    masked = np.ma.masked_array([1, 2], mask=[True, False])
    assert type(sealed(masked)) is np.ndarray


def test_a_context_is_a_mapping_of_its_own() -> None:
    spec = FeatureSpec(
        name="x",
        type="numeric",
        unit="count",
        source="a test",
        collected_where="a test",
        customer_benefit="fewer and better messages",
    )
    column = Column(np.zeros(2), np.zeros(2, dtype=np.uint8))
    context = ContextBatch(FeatureSchema(features=(spec,)), {"x": column}, 2)
    found = context.sealed()
    found.columns.clear()  # type: ignore[attr-defined]
    assert list(context.columns) == ["x"]
    with pytest.raises(ValueError, match="read-only"):
        context.sealed().columns["x"].values[0] = 1.0


def test_a_catalogs_cached_purposes_cannot_be_changed_for_the_rules() -> None:
    catalog = Catalog(name="c", channels=("email",), hours=("now",), arms=(Arm(id="a", approved=True),))
    with pytest.raises(ValueError, match="read-only"):
        catalog.purpose_codes[0] = 1
    twin = catalog.handed_out
    assert twin.version == catalog.version
    twin.aliases["a"] = "b"
    twin.arms[0].attributes["topic"] = "other"
    assert (catalog.aliases, catalog.arms[0].attributes) == ({}, {})
