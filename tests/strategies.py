"""Hypothesis strategies: catalogs, schemas, contexts, eligibilities, distributions, logs."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine.catalog import Arm, Catalog
from engine.eligibility import Eligibility
from engine.features import (
    PRESENT,
    Column,
    ContextBatch,
    FeatureSchema,
    FeatureSpec,
    categorical_column,
    numeric_column,
)
from engine.types import PURPOSES, BoolArray, FloatArray

NAMES = st.text("abcdefgh", min_size=1, max_size=6)
BENEFIT = "they get fewer and better messages"


def catalogs(max_channels: int = 3, max_hours: int = 4, max_arms: int = 4) -> st.SearchStrategy[Catalog]:
    """Catalogs with axes of any size from 1 on, arms of both purposes."""
    return st.builds(
        _catalog,
        st.lists(NAMES, min_size=1, max_size=max_channels, unique=True),
        st.lists(st.integers(0, 23), min_size=1, max_size=max_hours, unique=True),
        st.lists(st.tuples(NAMES, st.sampled_from(PURPOSES)), min_size=1, max_size=max_arms, unique_by=lambda a: a[0]),
    )


def _catalog(channels: list[str], hours: list[int], arms: list[tuple[str, str]]) -> Catalog:
    return Catalog(
        name="drawn",
        channels=tuple(channels),
        hours=tuple(hours),
        hold_name="no message",
        arms=tuple(Arm(id=name, purpose=purpose, approved=True) for name, purpose in arms),
    )


def numeric_spec(name: str = "spend", **changes: object) -> FeatureSpec:
    """A valid numeric feature."""
    return _spec(name, "numeric", "usd", changes)


def categorical_spec(name: str = "zip", **changes: object) -> FeatureSpec:
    """A valid categorical feature."""
    return _spec(name, "categorical", "level", changes)


def _spec(name: str, kind: str, unit: str, changes: dict[str, object]) -> FeatureSpec:
    fields = {
        "name": name,
        "type": kind,
        "unit": unit,
        "source": "shop",
        "collected_where": "checkout",
        "customer_benefit": BENEFIT,
    }
    return FeatureSpec(**{**fields, **changes})  # type: ignore[arg-type]


@st.composite
def schemas(draw: st.DrawFn, max_features: int = 4) -> FeatureSchema:
    """Feature schemas of 0 to `max_features` features."""
    names = draw(st.lists(NAMES, max_size=max_features, unique=True))
    specs = [draw(st.sampled_from([numeric_spec, categorical_spec]))(name) for name in names]
    return FeatureSchema(features=tuple(specs))


@st.composite
def contexts(draw: st.DrawFn, schema: FeatureSchema, n: int) -> ContextBatch:
    """Contexts of n rows with every state."""
    columns: dict[str, Column] = {}
    for spec in schema.features:
        state = draw(hnp.arrays(np.uint8, n, elements=st.integers(0, 2)))
        if spec.type == "numeric":
            values = draw(hnp.arrays(np.float64, n, elements=st.floats(-1e6, 1e6)))
            columns[spec.name] = numeric_column(spec, values, state)
        else:
            levels = tuple(draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)))
            codes = draw(hnp.arrays(np.int32, n, elements=st.integers(0, len(levels) - 1)))
            columns[spec.name] = categorical_column(spec, codes, levels, state)
    return ContextBatch(schema, columns, n)


@st.composite
def eligibilities(draw: st.DrawFn, catalog: Catalog, n: int) -> Eligibility:
    """Factored eligibilities of n contacts over a catalog."""
    channels, hours, arms = catalog.shape
    return Eligibility(
        channel_arm=draw(hnp.arrays(np.bool_, (n, channels, arms))),
        channel_hour=draw(hnp.arrays(np.bool_, (n, len(PURPOSES), channels, hours))),
        purpose_codes=catalog.purpose_codes,
    )


@st.composite
def distributions(draw: st.DrawFn, eligible: BoolArray) -> FloatArray:
    """Distributions over the eligible set, some entries 0 although eligible; rows need a true entry."""
    raw = draw(hnp.arrays(np.float64, eligible.shape, elements=st.sampled_from([0.0, 1e-12, 0.1, 1.0, 3.0])))
    raw = np.where(eligible, raw, 0.0)
    empty = raw.sum(axis=1) == 0
    raw[empty] = eligible[empty]
    normalised: FloatArray = raw / raw.sum(axis=1, keepdims=True)
    return normalised


def all_present(n: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """(n,) states, all PRESENT."""
    return np.full(n, PRESENT, dtype=np.uint8)
